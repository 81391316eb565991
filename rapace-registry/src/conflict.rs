//! Two things in one registry that only one may be: what the builder and the parser both refuse.

use crate::method_id::MethodId;

/// Two services or two methods that cannot stand in one registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// Two services have one name.
    #[error("two services are named {service}")]
    ServiceName {
        /// The name.
        service: String,
    },
    /// Two methods of a service have one name.
    #[error("two methods of {service} are named {method}")]
    MethodName {
        /// The service.
        service: String,
        /// The name.
        method: String,
    },
    /// Two methods have one id. Either both ids were chosen or both were derived from the names.
    #[error("method id {id} ({}) names both {first} and {second}", origin(*id))]
    MethodId {
        /// The id.
        id: MethodId,
        /// One method, as `method of service`.
        first: String,
        /// The other method.
        second: String,
    },
}

fn origin(id: MethodId) -> &'static str {
    if id.is_derived() { "derived" } else { "explicit" }
}
