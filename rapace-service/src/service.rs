//! What `#[rapace::service]` implements.

use rapace_registry::ServiceBuilder;

use crate::call::Call;
use crate::direct::DirectService;
use crate::method_info::MethodInfo;

/// A service that is known when the program is compiled: its clients and its servers.
pub trait Described {
    /// Its methods, in the order of the trait.
    const METHODS: &'static [MethodInfo];

    /// What a registry holds of it.
    fn describe() -> ServiceBuilder;
}

/// Serves the methods of one service.
pub trait Service: Described + Send + Sync + 'static {
    /// Takes a call of one of its methods.
    fn serve(&self, call: Call);

    /// What clients in the same process call instead.
    #[doc(hidden)]
    fn direct(&self) -> Option<DirectService> {
        None
    }
}
