//! One difference between two registries, and how a reader is told of it.

use std::fmt;

use crate::method::MethodKind;
use crate::method_id::MethodId;
use crate::pair::{Pair, Side};
use crate::service::Provider;
use crate::type_changes::TypeChanges;
use crate::version::Version;

/// One difference between two registries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// One side alone has this service.
    Service {
        /// The side that has it.
        side: Side,
        /// The service.
        service: String,
        /// Its version.
        version: Version,
    },
    /// One side alone has this method, in a service that both have.
    Method {
        /// The side that has it.
        side: Side,
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// Its id.
        id: MethodId,
    },
    /// A service has two versions.
    Version {
        /// The service.
        service: String,
        /// Its versions.
        versions: Pair<Version>,
    },
    /// A service is served by another peer.
    Provider {
        /// The service.
        service: String,
        /// The peers that serve it.
        providers: Pair<Provider>,
    },
    /// A method has two ids.
    Id {
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// Its ids.
        ids: Pair<MethodId>,
    },
    /// A method is of two kinds.
    Kind {
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// Its ids.
        ids: Pair<MethodId>,
        /// Its kinds.
        kinds: Pair<MethodKind>,
    },
    /// The argument or the result of a method is of two types.
    Type {
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// Its ids.
        ids: Pair<MethodId>,
        /// Which of its types.
        role: Role,
        /// Where the types differ, and how.
        changes: TypeChanges,
    },
    /// An id means two methods.
    SharedId {
        /// The id.
        id: MethodId,
        /// What it means, as `method of service`.
        methods: Pair<String>,
    },
}

/// Which of a method's two types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What the caller sends.
    Argument,
    /// What the caller receives.
    Result,
}

impl Difference {
    /// Whether methods are refused for this.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        match self {
            Self::Service { .. } | Self::Method { .. } => false,
            Self::Version { versions, .. } => versions.ours.major != versions.theirs.major,
            _ => true,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { side, service, version } => write!(f, "service {service} v{version}: {side}"),
            Self::Method { side, service, method, id } => write!(f, "{service}.{method} ({id}): {side}"),
            Self::Version { service, versions } => {
                write!(f, "service {service}: version {versions}")
            }
            Self::Provider { service, providers } => {
                write!(f, "service {service}: served by {providers}")
            }
            Self::Id { service, method, ids } => write!(f, "{service}.{method}: id {ids}"),
            Self::Kind { service, method, ids, kinds } => write!(f, "{service}.{method} ({}): {kinds}", shown(ids)),
            Self::Type { service, method, ids, role, changes } => {
                let head = format!("{service}.{method} ({}): {role}", shown(ids));
                for (index, item) in changes.listed.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "\n" };
                    write!(f, "{gap}{head}{}: {}", item.path, item.change)?;
                }
                match changes.more {
                    0 => Ok(()),
                    more => write!(f, "\n{head}: and {more} more"),
                }
            }
            Self::SharedId { id, methods } => write!(f, "id {id}: {methods}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argument => "argument",
            Self::Result => "result",
        })
    }
}

fn shown(ids: &Pair<MethodId>) -> String {
    if ids.ours == ids.theirs { ids.ours.to_string() } else { ids.to_string() }
}
