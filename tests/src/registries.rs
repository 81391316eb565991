//! Two registries that contradict each other in one field of one result.
#![allow(dead_code, reason = "only the schemas of these types are looked at")]

use postcard_schema::Schema;
use rapace_registry::{BuildError, Provider, Registry, Service, ServiceBuilder, Version};

#[derive(Schema)]
struct ProcessRequest {
    request_id: u64,
}

mod ours {
    use super::Schema;

    #[derive(Schema)]
    pub(super) struct ProcessResponse {
        request_id: u64,
        success: bool,
    }
}

mod theirs {
    use super::Schema;

    #[derive(Schema)]
    pub(super) struct ProcessResponse {
        request_id: u64,
        success: u32,
    }
}

/// That of the tests.
///
/// # Errors
///
/// None: its ids do not conflict.
pub fn ours() -> Result<Registry, BuildError> {
    with_result::<ours::ProcessResponse>()
}

/// One with another type in the result of its method.
///
/// # Errors
///
/// None: its ids do not conflict.
pub fn theirs() -> Result<Registry, BuildError> {
    with_result::<theirs::ProcessResponse>()
}

/// One of which a hello has more bytes than a small segment.
///
/// # Errors
///
/// None: its ids do not conflict.
pub fn large() -> Result<Registry, BuildError> {
    let service = Service::builder("rapace.Large", Version::new(1, 0), Provider::Plugin);
    let with_more = |service: ServiceBuilder, id: u32| {
        service.unary::<ProcessRequest, ours::ProcessResponse>(format!("method_number_{id}"), id)
    };
    Registry::builder().service((3000..3200).fold(service, with_more)).build()
}

fn with_result<T: Schema>() -> Result<Registry, BuildError> {
    let plugin = Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin);
    Registry::builder().service(plugin.unary::<ProcessRequest, T>("process", 2001)).build()
}
