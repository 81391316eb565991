//! Reading a serialised registry that a peer may have made up.

use crate::conflict::Conflict;
use crate::encode::{FORMAT_VERSION, MAGIC};
use crate::limits::RegistryLimits;
use crate::method::{Method, MethodHash, MethodKind};
use crate::method_id::MethodId;
use crate::name::{self, NameError};
use crate::reader::Reader;
use crate::registry::Registry;
use crate::schema_reader::SchemaReader;
use crate::service::{Provider, Service};
use crate::version::Version;

/// Why bytes are not a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// There are too many bytes to even look at.
    #[error("the registry has {found} bytes, allowed are {limit}")]
    TooLong {
        /// The bytes there are.
        found: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// The bytes are something else.
    #[error("the bytes start with {found:02x?}, a registry starts with {MAGIC:02x?} (\"RPRG\")")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The registry is of a form that this version does not know.
    #[error("the registry is of format {found}, supported is {supported}")]
    FormatVersion {
        /// The format of the registry.
        found: u16,
        /// The format that this version reads.
        supported: u16,
    },
    /// The bytes end too early.
    #[error("byte {at}: {needed} bytes are needed, {left} are left")]
    Truncated {
        /// The offset at which they are needed.
        at: usize,
        /// The bytes that are needed.
        needed: usize,
        /// The bytes that are left.
        left: usize,
    },
    /// A number has more than 64 bits, or is not in its shortest form.
    #[error("byte {at}: a number has more than 64 bits or more bytes than it needs")]
    Number {
        /// The offset of the number.
        at: usize,
    },
    /// A number is larger than what it stands for may be.
    #[error("byte {at}: {what}: {found}, allowed are at most {limit}")]
    OverLimit {
        /// The offset of the number, or of what it counts.
        at: usize,
        /// What it stands for.
        what: &'static str,
        /// The number.
        found: u64,
        /// The largest that is allowed.
        limit: u64,
    },
    /// A name is not UTF-8.
    #[error("byte {at}: not UTF-8")]
    NotUtf8 {
        /// The offset of the first byte that is not.
        at: usize,
    },
    /// The name of a service or of a method is not one.
    #[error("byte {at}: the name of a service or method {reason}")]
    Name {
        /// The offset of the name.
        at: usize,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A method has the id 0.
    #[error("byte {at}: method id 0, the smallest is 1")]
    MethodIdZero {
        /// The offset of the id.
        at: usize,
    },
    /// A method's id says that it follows from the names, and does not.
    #[error("the id of {service}.{method} is {found}, derived from the names it is {expected}")]
    DerivedId {
        /// The service.
        service: String,
        /// The method.
        method: String,
        /// The id that it has.
        found: MethodId,
        /// The id that follows from the names.
        expected: MethodId,
    },
    /// Services are not in the order of their names, or methods not in the order of their ids; or
    /// one stands twice.
    #[error("byte {at}: {found} does not come after {previous}")]
    Order {
        /// The offset behind the name or id.
        at: usize,
        /// The name or id.
        found: String,
        /// The one before it.
        previous: String,
    },
    /// Two services or methods cannot stand in one registry.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Bytes follow the registry.
    #[error("byte {at}: the registry ends, {left} more bytes follow")]
    Trailing {
        /// The offset of the first byte that follows.
        at: usize,
        /// How many follow.
        left: usize,
    },
}

/// Reads the one form of a registry; [`Registry::from_bytes`] says more.
pub(crate) fn registry(bytes: &[u8]) -> Result<Registry, ParseError> {
    let (found, limit) = (bytes.len(), RegistryLimits::BYTES_MAX);
    if found > limit {
        return Err(ParseError::TooLong { found, limit });
    }
    let mut from = Reader::new(bytes);
    header(&mut from)?;
    let mut parser = Parser { from, schemas: SchemaReader::default(), methods_left: RegistryLimits::METHODS_MAX };
    let services = parser.services()?;
    let (at, left) = (parser.from.at(), parser.from.left());
    if left > 0 {
        return Err(ParseError::Trailing { at, left });
    }
    Ok(Registry::assemble(services)?)
}

/// What the parts of a registry share.
struct Parser<'a> {
    from: Reader<'a>,
    schemas: SchemaReader,
    methods_left: usize,
}

impl<'a> Parser<'a> {
    fn services(&mut self) -> Result<Vec<Service>, ParseError> {
        let count = self.from.number::<usize>("services", RegistryLimits::SERVICES_MAX as u64)?;
        let mut services: Vec<Service> = Vec::new();
        for _ in 0..count {
            let name = self.name()?;
            if let Some(last) = services.last().filter(|last| last.name() >= name) {
                return Err(ParseError::Order {
                    at: self.from.at(),
                    found: name.to_owned(),
                    previous: last.name().to_owned(),
                });
            }
            services.push(self.service(name)?);
        }
        Ok(services)
    }

    /// A service behind its name.
    fn service(&mut self, name: &str) -> Result<Service, ParseError> {
        let major = self.from.number("the major version", u16::MAX.into())?;
        let minor = self.from.number("the minor version", u16::MAX.into())?;
        let provider = Provider::ALL[self.from.number::<usize>("the code of a provider", 2)?];
        let count = self.from.number::<usize>("methods", self.methods_left as u64)?;
        self.methods_left -= count;
        let mut methods: Vec<Method> = Vec::new();
        for _ in 0..count {
            let method = self.method(name, methods.last().map(Method::id))?;
            methods.push(method);
        }
        Ok(Service::assemble(name.to_owned(), Version::new(major, minor), provider, methods)?)
    }

    fn method(&mut self, service: &str, previous: Option<MethodId>) -> Result<Method, ParseError> {
        let name = self.name()?;
        let id = self.method_id(service, name)?;
        if let Some(previous) = previous.filter(|previous| *previous >= id) {
            return Err(ParseError::Order {
                at: self.from.at(),
                found: id.to_string(),
                previous: previous.to_string(),
            });
        }
        let start = self.from.at();
        let kind = MethodKind::ALL[self.from.number::<usize>("the code of a kind", 3)?];
        let argument = self.schemas.schema(&mut self.from)?;
        let result = self.schemas.schema(&mut self.from)?;
        let hash = MethodHash::of(self.from.since(start));
        Ok(Method::new(name.to_owned(), id, kind, argument, result, hash))
    }

    fn method_id(&mut self, service: &str, method: &str) -> Result<MethodId, ParseError> {
        let at = self.from.at();
        let number = self.from.number("a method id", u32::MAX.into())?;
        let id = MethodId::new(number).ok_or(ParseError::MethodIdZero { at })?;
        let expected = MethodId::derived(service, method);
        if id.is_derived() && id != expected {
            return Err(ParseError::DerivedId {
                service: service.to_owned(),
                method: method.to_owned(),
                found: id,
                expected,
            });
        }
        Ok(id)
    }

    /// The name of a service or of a method.
    fn name(&mut self) -> Result<&'a str, ParseError> {
        let at = self.from.at();
        let name = self.from.text()?;
        name::check(name).map_err(|reason| ParseError::Name { at, reason })?;
        Ok(name)
    }
}

fn header(from: &mut Reader<'_>) -> Result<(), ParseError> {
    let found = from.array()?;
    if found != MAGIC {
        return Err(ParseError::Magic { found });
    }
    let (found, supported) = (u16::from_le_bytes(from.array()?), FORMAT_VERSION);
    if found != supported {
        return Err(ParseError::FormatVersion { found, supported });
    }
    Ok(())
}
