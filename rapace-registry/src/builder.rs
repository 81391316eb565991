//! Building a registry, from Rust types or from schemas at hand.
//!
//! Nothing is checked until [`RegistryBuilder::build`], so that a description reads as one chain.

use postcard_schema::Schema;
use postcard_schema::schema::owned::OwnedNamedType;

use crate::conflict::Conflict;
use crate::encode;
use crate::limits::RegistryLimits;
use crate::measure::{SchemaError, measure};
use crate::method::{Method, MethodHash, MethodKind};
use crate::method_id::{MethodId, MethodIdError};
use crate::name::{self, NameError};
use crate::registry::Registry;
use crate::service::{Provider, Service};
use crate::version::Version;

/// The services of a registry that is being built.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RegistryBuilder {
    services: Vec<ServiceBuilder>,
}

/// The methods of a service that is being built.
#[derive(Debug, Clone)]
#[must_use]
pub struct ServiceBuilder {
    name: String,
    version: Version,
    provider: Provider,
    methods: Vec<Draft>,
}

/// A method before it is checked; without an id, the id is derived.
#[derive(Debug, Clone)]
struct Draft {
    name: String,
    id: Option<u32>,
    kind: MethodKind,
    argument: OwnedNamedType,
    result: OwnedNamedType,
}

/// Why a registry could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The name of a service is not one.
    #[error("service name {service:?} {reason}")]
    ServiceName {
        /// The name.
        service: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A method cannot be described like this.
    #[error("method {method:?} of {service}: {reason}")]
    Method {
        /// The service.
        service: String,
        /// The name of the method.
        method: String,
        /// What is wrong with it.
        reason: MethodError,
    },
    /// Two services or methods cannot stand in one registry.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The registry has too much of something.
    #[error("the registry has {found} {what}, allowed are {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is allowed.
        limit: usize,
    },
}

/// What is wrong with the description of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// Its name is not one.
    #[error("the name {0}")]
    Name(#[from] NameError),
    /// It has an id that its author may not choose.
    #[error(transparent)]
    Id(#[from] MethodIdError),
    /// Its argument or its result has a schema that no registry may hold.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl RegistryBuilder {
    /// Adds a service. The order does not matter.
    pub fn service(mut self, service: ServiceBuilder) -> Self {
        self.services.push(service);
        self
    }

    /// Checks everything and puts it together.
    ///
    /// # Errors
    ///
    /// When a name, an id or a schema is not allowed, when two things have one name or one id, or
    /// when the whole is larger than [`RegistryLimits`] allow.
    pub fn build(self) -> Result<Registry, BuildError> {
        let methods = self.services.iter().map(|service| service.methods.len()).sum();
        at_most("services", self.services.len(), RegistryLimits::SERVICES_MAX)?;
        at_most("methods", methods, RegistryLimits::METHODS_MAX)?;
        let mut nodes = 0;
        let services = self.services.into_iter().map(|service| service.build(&mut nodes));
        let services = services.collect::<Result<_, _>>()?;
        at_most("schema nodes", nodes, RegistryLimits::NODES_MAX)?;
        let registry = Registry::assemble(services)?;
        at_most("bytes", registry.to_bytes().len(), RegistryLimits::BYTES_MAX)?;
        Ok(registry)
    }
}

impl ServiceBuilder {
    pub(crate) fn new(name: String, version: Version, provider: Provider) -> Self {
        let methods = Vec::new();
        Self { name, version, provider, methods }
    }

    /// Adds a method with one argument and one result.
    pub fn unary<A: Schema + ?Sized, R: Schema + ?Sized>(self, name: impl Into<String>, id: u32) -> Self {
        self.method::<A, R>(name, Some(id), MethodKind::Unary)
    }

    /// Adds a method with a stream of arguments and one result.
    pub fn client_streaming<A: Schema + ?Sized, R: Schema + ?Sized>(self, name: impl Into<String>, id: u32) -> Self {
        self.method::<A, R>(name, Some(id), MethodKind::ClientStreaming)
    }

    /// Adds a method with one argument and a stream of results.
    pub fn server_streaming<A: Schema + ?Sized, R: Schema + ?Sized>(self, name: impl Into<String>, id: u32) -> Self {
        self.method::<A, R>(name, Some(id), MethodKind::ServerStreaming)
    }

    /// Adds a method with a stream each way.
    pub fn bidirectional_streaming<A: Schema + ?Sized, R: Schema + ?Sized>(
        self,
        name: impl Into<String>,
        id: u32,
    ) -> Self {
        self.method::<A, R>(name, Some(id), MethodKind::BidirectionalStreaming)
    }

    /// Adds a method whose id is [derived](MethodId::derived) from the names of the service and of
    /// the method.
    pub fn method_derived<A: Schema + ?Sized, R: Schema + ?Sized>(
        self,
        name: impl Into<String>,
        kind: MethodKind,
    ) -> Self {
        self.method::<A, R>(name, None, kind)
    }

    /// Adds a method whose types are at hand as schemas; without an id, the id is
    /// [derived](MethodId::derived).
    pub fn method_with(
        mut self,
        name: impl Into<String>,
        id: Option<u32>,
        kind: MethodKind,
        argument: OwnedNamedType,
        result: OwnedNamedType,
    ) -> Self {
        let name = name.into();
        self.methods.push(Draft { name, id, kind, argument, result });
        self
    }

    fn method<A: Schema + ?Sized, R: Schema + ?Sized>(
        self,
        name: impl Into<String>,
        id: Option<u32>,
        kind: MethodKind,
    ) -> Self {
        self.method_with(name, id, kind, A::SCHEMA.into(), R::SCHEMA.into())
    }

    fn build(self, nodes: &mut usize) -> Result<Service, BuildError> {
        if let Err(reason) = name::check(&self.name) {
            let service = self.name;
            return Err(BuildError::ServiceName { service, reason });
        }
        let mut methods = Vec::new();
        for draft in self.methods {
            let name = draft.name.clone();
            let method = draft.build(&self.name, nodes);
            methods.push(method.map_err(|reason| BuildError::Method {
                service: self.name.clone(),
                method: name,
                reason,
            })?);
        }
        Ok(Service::assemble(self.name, self.version, self.provider, methods)?)
    }
}

impl Draft {
    fn build(self, service: &str, nodes: &mut usize) -> Result<Method, MethodError> {
        name::check(&self.name)?;
        let id = match self.id {
            Some(id) => MethodId::explicit(id)?,
            None => MethodId::derived(service, &self.name),
        };
        *nodes += measure(&self.argument)? + measure(&self.result)?;
        let types = encode::types(self.kind, &self.argument, &self.result);
        let hash = MethodHash::of(&types);
        Ok(Method::new(self.name, id, self.kind, self.argument, self.result, hash))
    }
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), BuildError> {
    if found > limit {
        return Err(BuildError::TooMany { what, found, limit });
    }
    Ok(())
}
