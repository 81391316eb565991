//! A service: methods that one peer serves together, under a name and a version.

use std::fmt;

use crate::builder::ServiceBuilder;
use crate::conflict::Conflict;
use crate::method::Method;
use crate::method_id::MethodId;
use crate::version::Version;

/// Which peer serves a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// The host, for its plugins to call.
    Host,
    /// The plugin, for its host to call.
    Plugin,
    /// Either of them, or both.
    Either,
}

/// A service of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    name: String,
    version: Version,
    provider: Provider,
    /// In the order of their ids.
    methods: Vec<Method>,
    /// Indices into `methods`, in the order of the names.
    by_name: Vec<usize>,
}

impl Provider {
    /// All providers, in the order of their codes on the wire.
    pub(crate) const ALL: [Self; 3] = [Self::Host, Self::Plugin, Self::Either];

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Plugin => "plugin",
            Self::Either => "either",
        })
    }
}

impl Service {
    /// Starts the description of a service;
    /// [`RegistryBuilder::build`](crate::RegistryBuilder::build) checks it.
    pub fn builder(name: impl Into<String>, version: Version, provider: Provider) -> ServiceBuilder {
        ServiceBuilder::new(name.into(), version, provider)
    }

    /// The description of this service again, to be added to.
    pub fn to_builder(&self) -> ServiceBuilder {
        let described = Self::builder(self.name.clone(), self.version, self.provider);
        self.methods.iter().fold(described, |described, method| {
            let id = (method.id() != MethodId::derived(&self.name, method.name())).then(|| method.id().get());
            let (argument, result) = (method.argument().clone(), method.result().clone());
            described.method_with(method.name(), id, method.kind(), argument, result)
        })
    }

    /// The name, unique in the registry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Which peer serves it.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The methods, in the order of their ids.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The method of that name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&Method> {
        let found = self.by_name.binary_search_by(|index| self.methods[*index].name().cmp(name));
        found.ok().map(|place| &self.methods[self.by_name[place]])
    }

    /// Puts checked methods together.
    pub(crate) fn assemble(
        name: String,
        version: Version,
        provider: Provider,
        mut methods: Vec<Method>,
    ) -> Result<Self, Conflict> {
        methods.sort_by_key(Method::id);
        let mut by_name: Vec<usize> = (0..methods.len()).collect();
        by_name.sort_by_key(|index| methods[*index].name());
        for pair in by_name.windows(2) {
            if methods[pair[0]].name() == methods[pair[1]].name() {
                let method = methods[pair[0]].name().to_owned();
                return Err(Conflict::MethodName { service: name, method });
            }
        }
        Ok(Self { name, version, provider, methods, by_name })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service {} v{} ({})", self.name, self.version, self.provider)?;
        for method in &self.methods {
            write!(f, "\n  - {} ({}): {}", method.name(), method.id(), method.kind())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_provider_is_its_place_in_the_list() {
        for (code, provider) in (0..).zip(Provider::ALL) {
            assert_eq!(provider.code(), code);
        }
    }
}
