//! A method: its name, its id, and the types that go in and come out.

use std::fmt;

use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use sha2::{Digest as _, Sha256};

use crate::method_id::MethodId;
use crate::type_name::{escaped, type_name};

/// Which side of a call is a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MethodKind {
    /// One argument, one result.
    Unary,
    /// A stream of arguments, one result.
    ClientStreaming,
    /// One argument, a stream of results.
    ServerStreaming,
    /// A stream each way.
    BidirectionalStreaming,
}

/// What a method takes and gives, in 64 bits: equal exactly where two peers mean the same by it.
///
/// It covers the kind, the argument's schema and the result's schema, with all the names in them;
/// not the name nor the id of the method, nor its service. See the [crate
/// documentation](crate#the-hash-of-a-method) for how it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodHash(u64);

/// A method of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    name: String,
    id: MethodId,
    kind: MethodKind,
    argument: OwnedNamedType,
    result: OwnedNamedType,
    hash: MethodHash,
}

impl MethodKind {
    /// All kinds, in the order of their codes on the wire.
    pub(crate) const ALL: [Self; 4] =
        [Self::Unary, Self::ClientStreaming, Self::ServerStreaming, Self::BidirectionalStreaming];

    /// Whether the caller sends a stream of arguments.
    #[must_use]
    pub const fn streams_arguments(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::BidirectionalStreaming)
    }

    /// Whether the caller receives a stream of results.
    #[must_use]
    pub const fn streams_results(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::BidirectionalStreaming)
    }

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "Unary",
            Self::ClientStreaming => "ClientStreaming",
            Self::ServerStreaming => "ServerStreaming",
            Self::BidirectionalStreaming => "BidirectionalStreaming",
        })
    }
}

impl MethodHash {
    /// The hash as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The hash of a method whose kind and types have this encoding, that of
    /// [`encode::types`](crate::encode::types).
    pub(crate) fn of(types: &[u8]) -> Self {
        let digest = Sha256::digest(types);
        Self(digest.iter().take(8).rev().fold(0, |hash, byte| hash << 8 | u64::from(*byte)))
    }
}

impl fmt::Display for MethodHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Method {
    /// The builder and the parser have checked name and types and made the hash.
    pub(crate) fn new(
        name: String,
        id: MethodId,
        kind: MethodKind,
        argument: OwnedNamedType,
        result: OwnedNamedType,
        hash: MethodHash,
    ) -> Self {
        Self { name, id, kind, argument, result, hash }
    }

    /// The name, unique in the service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id, unique in the registry.
    #[must_use]
    pub fn id(&self) -> MethodId {
        self.id
    }

    /// Which side of a call is a stream.
    #[must_use]
    pub fn kind(&self) -> MethodKind {
        self.kind
    }

    /// The type of the argument, or of each argument of the stream.
    #[must_use]
    pub fn argument(&self) -> &OwnedNamedType {
        &self.argument
    }

    /// The type of the result, or of each result of the stream.
    #[must_use]
    pub fn result(&self) -> &OwnedNamedType {
        &self.result
    }

    /// The hash of kind and types, made once.
    #[must_use]
    pub fn hash(&self) -> MethodHash {
        self.hash
    }

    /// The method as a reader would write it: `subscribe() -> stream HostEvent`.
    ///
    /// Several arguments are described by a struct that has the method's name, and shown one by one:
    /// `add(a: i64, b: i64) -> i64`. The last of them is what the caller streams, if it does:
    /// `sum(scale: f64, numbers: stream f64) -> f64`.
    #[must_use]
    pub fn signature(&self) -> String {
        let stream = |streams| if streams { "stream " } else { "" };
        let streams = self.kind.streams_arguments();
        let arguments = match &self.argument.ty {
            Type::Struct(fields) if self.argument.name == self.name && !fields.is_empty() => {
                let shown = fields.iter().zip((0..fields.len()).rev()).map(|(field, behind)| {
                    let stream = stream(streams && behind == 0);
                    format!("{}: {stream}{}", escaped(&field.name), type_name(&field.ty))
                });
                shown.collect::<Vec<_>>().join(", ")
            }
            // No argument, rather than one that says nothing.
            Type::Unit if !streams => String::new(),
            _ => format!("{}{}", stream(streams), type_name(&self.argument)),
        };
        let result = format!("{}{}", stream(self.kind.streams_results()), type_name(&self.result));
        format!("{}({arguments}) -> {result}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use postcard_schema::Schema;

    use super::*;

    #[test]
    fn a_signature_shows_types_and_streams() {
        let signature = |kind| {
            let (id, hash) = (MethodId::derived("s", "m"), MethodHash::of(&[]));
            Method::new("m".into(), id, kind, <()>::SCHEMA.into(), u8::SCHEMA.into(), hash).signature()
        };
        assert_eq!(signature(MethodKind::Unary), "m() -> u8");
        assert_eq!(signature(MethodKind::ClientStreaming), "m(stream ()) -> u8");
        assert_eq!(signature(MethodKind::ServerStreaming), "m() -> stream u8");
        assert_eq!(signature(MethodKind::BidirectionalStreaming), "m(stream ()) -> stream u8");
    }

    #[test]
    fn several_arguments_show_their_names() {
        #[derive(Schema)]
        #[allow(dead_code, reason = "only its schema is looked at")]
        struct Add {
            a: i64,
            b: Vec<u8>,
        }
        let signature = |argument_name: &str, kind| {
            let (id, hash) = (MethodId::derived("s", "add"), MethodHash::of(&[]));
            let argument = OwnedNamedType { name: argument_name.into(), ..Add::SCHEMA.into() };
            Method::new("add".into(), id, kind, argument, u8::SCHEMA.into(), hash).signature()
        };
        assert_eq!(signature("add", MethodKind::Unary), "add(a: i64, b: Vec<u8>) -> u8");
        assert_eq!(signature("add", MethodKind::ServerStreaming), "add(a: i64, b: Vec<u8>) -> stream u8");
        assert_eq!(signature("add", MethodKind::ClientStreaming), "add(a: i64, b: stream Vec<u8>) -> u8");
        assert_eq!(signature("Add", MethodKind::Unary), "add(Add) -> u8");
    }

    #[test]
    fn the_code_of_a_kind_is_its_place_in_the_list() {
        for (code, kind) in (0..).zip(MethodKind::ALL) {
            assert_eq!(kind.code(), code);
        }
    }
}
