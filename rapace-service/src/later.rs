//! A service that is made when the session is already open.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// Where a service will be, for [`Services::add_later`](crate::Services::add_later). Cheap to clone.
pub struct Later<S>(Arc<OnceLock<S>>);

impl<S> Later<S> {
    /// There is none yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this is served.
    ///
    /// # Errors
    ///
    /// Gives the service back when there is one already.
    pub fn set(&self, service: S) -> Result<(), S> {
        self.0.set(service)
    }

    pub(crate) fn get(&self) -> Option<&S> {
        self.0.get()
    }
}

impl<S> Default for Later<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Clone for Later<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Later<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("is_there", &self.0.get().is_some()).finish()
    }
}
