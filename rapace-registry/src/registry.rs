//! A registry: all the services of one peer, found by name and by method id.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::builder::RegistryBuilder;
use crate::conflict::Conflict;
use crate::encode;
use crate::method::Method;
use crate::method_id::MethodId;
use crate::parse::{self, ParseError};
use crate::service::Service;

/// Services, described as data.
///
/// The same services make the same registry and the same bytes, in whatever order they were added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// In the order of their names.
    services: Vec<Service>,
    /// Every method in the order of the ids.
    by_id: Vec<Place>,
}

/// Where a method stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    id: MethodId,
    service: usize,
    method: usize,
}

/// The SHA-256 of a registry's bytes: equal exactly where the registries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Registry {
    /// Starts a registry without services.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, here or in another process.
    ///
    /// The bytes may come from a peer that lies: the time, the memory and the stack that this takes
    /// are bounded by [`RegistryLimits`](crate::RegistryLimits), whatever they claim. Of the bytes
    /// that mean the same registry only one form is accepted.
    ///
    /// # Errors
    ///
    /// When the bytes are anything but a whole registry in its one form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        parse::registry(bytes)
    }

    /// The registry in its one serialised form; the [crate
    /// documentation](crate#the-bytes-of-a-registry) describes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::registry(&self.services)
    }

    /// The SHA-256 of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.to_bytes()).into())
    }

    /// The services, in the order of their names.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        let found = self.services.binary_search_by(|service| service.name().cmp(name));
        found.ok().map(|index| &self.services[index])
    }

    /// The method of that id, and its service.
    #[must_use]
    pub fn method(&self, id: MethodId) -> Option<(&Service, &Method)> {
        let found = self.by_id.binary_search_by_key(&id, |place| place.id);
        let place = self.by_id[found.ok()?];
        let service = &self.services[place.service];
        Some((service, &service.methods()[place.method]))
    }

    /// The method of that name in the service of that name.
    #[must_use]
    pub fn method_by_name(&self, service: &str, method: &str) -> Option<&Method> {
        self.service(service)?.method(method)
    }

    /// Puts checked services together.
    pub(crate) fn assemble(mut services: Vec<Service>) -> Result<Self, Conflict> {
        services.sort_by(|one, other| one.name().cmp(other.name()));
        for pair in services.windows(2) {
            if pair[0].name() == pair[1].name() {
                let service = pair[0].name().to_owned();
                return Err(Conflict::ServiceName { service });
            }
        }
        let mut by_id = Vec::new();
        for (index, service) in services.iter().enumerate() {
            let ids = service.methods().iter().map(Method::id).enumerate();
            by_id.extend(ids.map(|(method, id)| Place { id, service: index, method }));
        }
        by_id.sort_by_key(|place| place.id);
        for pair in by_id.windows(2) {
            if pair[0].id == pair[1].id {
                let named = |place: Place| {
                    let service = &services[place.service];
                    full_name(service, &service.methods()[place.method])
                };
                return Err(Conflict::MethodId { id: pair[0].id, first: named(pair[0]), second: named(pair[1]) });
            }
        }
        Ok(Self { services, by_id })
    }
}

/// Both names, apart from each other: `a.b` and `c` with a dot between them would read like `a` and
/// `b.c`.
pub(crate) fn full_name(service: &Service, method: &Method) -> String {
    format!("{} of {}", method.name(), service.name())
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, service) in self.services.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{service}")?;
        }
        Ok(())
    }
}

impl Digest {
    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
