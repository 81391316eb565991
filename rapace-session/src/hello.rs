//! Who a peer is and what it takes (SPEC section 10.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use rapace_core::Side;
use rapace_core::channel::CHANNELS_MAX;
use rapace_core::layout::{PROTOCOL_MAJOR, PROTOCOL_MINOR};
use rapace_registry::Registry;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::status::{Code, Status};

/// The largest hello, in bytes.
pub const HELLO_BYTES_MAX: usize = 1 << 20;
/// The longest name or version, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The features of a session: those that both peers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(u64);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);
    /// Streams (SPEC feature bit 0).
    pub const STREAMS: Self = Self(1);
    /// What this implementation has.
    pub const SUPPORTED: Self = Self::STREAMS;

    /// What both have.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` is there.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Why a hello, or an offer, is refused: the first byte of the details of the refusal's status (SPEC X7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Another major version of the protocol.
    Version = 1,
    /// Both peers have the same role.
    Role = 2,
}

impl RefusalReason {
    /// The reason of a refusal, if it is one of these.
    pub fn of(status: &Status) -> Option<Self> {
        match status.details.first()? {
            1 => Some(Self::Version),
            2 => Some(Self::Role),
            _ => None,
        }
    }

    /// A refusal for this reason.
    pub(crate) fn status(self, message: impl Into<String>) -> Status {
        Status { details: vec![self as u8], ..Status::new(Code::FailedPrecondition, message) }
    }
}

/// A hello as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol major version.
    pub major: u16,
    /// Protocol minor version.
    pub minor: u16,
    /// 0 for A, 1 for B.
    pub role: u8,
    /// Feature bits.
    pub features: Features,
    /// Largest message body that its sender takes.
    pub max_message_bytes: u64,
    /// Largest metadata that its sender takes.
    pub max_metadata_bytes: u32,
    /// Calls that the other peer may have in flight.
    pub max_calls: u32,
    /// Deepest nested call that its sender takes.
    pub max_depth: u8,
    /// Its sender's name.
    pub name: String,
    /// Its sender's version.
    pub version: String,
    /// Its sender's registry, or nothing.
    pub registry: Vec<u8>,
}

/// What is known of the peer once its hello was accepted.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its protocol version, major and minor.
    pub protocol: (u16, u16),
    /// What both peers can do.
    pub features: Features,
    /// Largest message body that it takes.
    pub message_bytes_max: usize,
    /// Largest metadata that it takes.
    pub metadata_bytes_max: usize,
    /// Calls that may be in flight to it.
    pub calls_max: u32,
    /// Deepest nested call that it takes.
    pub depth_max: u8,
    /// The services that it offers and expects.
    pub registry: Registry,
    /// The methods that neither side calls, by their ids, because the registries differ in them: where, beginning with
    /// the full name of the method, and what stands there on this side ("here") and on the peer's ("there").
    pub refused: BTreeMap<u32, Arc<str>>,
}

fn role(side: Side) -> u8 {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

impl Hello {
    /// The hello of a peer of this implementation.
    pub(crate) fn new(side: Side, limits: &Limits, name: &str, version: &str, registry: &Registry) -> Self {
        Self {
            major: PROTOCOL_MAJOR,
            minor: PROTOCOL_MINOR,
            role: role(side),
            features: Features::SUPPORTED,
            max_message_bytes: limits.message_bytes_max as u64,
            max_metadata_bytes: u32::try_from(limits.metadata_bytes_max).unwrap_or(u32::MAX),
            max_calls: limits.calls_max,
            max_depth: limits.depth_max,
            name: name.to_owned(),
            version: version.to_owned(),
            registry: if registry.services().is_empty() { Vec::new() } else { registry.to_bytes() },
        }
    }

    /// The bytes that travel.
    ///
    /// # Errors
    ///
    /// When they would be more than a peer takes.
    pub fn encode(&self) -> Result<Vec<u8>, Status> {
        let bytes = postcard::to_stdvec(self).map_err(|error| Status::new(Code::Internal, error.to_string()))?;
        if bytes.len() > HELLO_BYTES_MAX {
            return Err(too_large(bytes.len()));
        }
        Ok(bytes)
    }

    /// The hello in the bytes of a peer.
    ///
    /// # Errors
    ///
    /// The status with which to refuse it: bytes that are no hello, or are left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, Status> {
        if bytes.len() > HELLO_BYTES_MAX {
            return Err(too_large(bytes.len()));
        }
        // The version comes first, so that a peer of another one is told so whatever else has changed.
        let refuse = |error: postcard::Error| {
            Status::new(Code::InvalidArgument, format!("{} bytes are no hello: {error}", bytes.len()))
        };
        let (major, _) = postcard::take_from_bytes::<u16>(bytes).map_err(refuse)?;
        if major != PROTOCOL_MAJOR {
            return Err(other_version(major));
        }
        let (hello, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(refuse)?;
        if !rest.is_empty() {
            let message = format!("{} bytes are left behind the last field of the hello", rest.len());
            return Err(Status::new(Code::InvalidArgument, message));
        }
        Ok(hello)
    }

    /// Checks a peer's hello against what this side expects (SPEC X7). Registries that differ are no reason to refuse it:
    /// the methods in which they do are [refused](PeerInfo::refused) (SPEC G4).
    ///
    /// # Errors
    ///
    /// The status with which to refuse it: it names the field and both values.
    pub fn check(self, ours: Side, our_registry: &Registry) -> Result<PeerInfo, Status> {
        if self.major != PROTOCOL_MAJOR {
            return Err(other_version(self.major));
        }
        let expected = role(ours.peer());
        if self.role != expected {
            let message = format!("role is {}, but {expected} (peer {}) was expected", self.role, ours.peer());
            return Err(RefusalReason::Role.status(message));
        }
        let bound = |field: &str, found: u64, ok: bool, bound: &str| {
            if ok {
                Ok(())
            } else {
                let message = format!("{field} of the hello is {found}, but must be {bound}");
                Err(Status::new(Code::InvalidArgument, message))
            }
        };
        bound("max_message_bytes", self.max_message_bytes, self.max_message_bytes >= 1, "at least 1")?;
        bound("max_calls", self.max_calls.into(), (1..=CHANNELS_MAX).contains(&self.max_calls), "1 to 4096")?;
        bound("max_depth", self.max_depth.into(), self.max_depth >= 1, "at least 1")?;
        bound("length of name", self.name.len() as u64, self.name.len() <= NAME_BYTES_MAX, "at most 128")?;
        bound("length of version", self.version.len() as u64, self.version.len() <= NAME_BYTES_MAX, "at most 128")?;
        let registry = if self.registry.is_empty() {
            Registry::default()
        } else {
            Registry::from_bytes(&self.registry)
                .map_err(|error| Status::new(Code::InvalidArgument, format!("registry of the hello: {error}")))?
        };
        let comparison = rapace_registry::compare(our_registry, &registry);
        let refused = comparison.refusals().iter().map(|(id, text)| (id.get(), Arc::from(text.as_str()))).collect();
        Ok(PeerInfo {
            name: self.name,
            version: self.version,
            protocol: (self.major, self.minor),
            features: self.features.common(Features::SUPPORTED),
            message_bytes_max: usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX),
            metadata_bytes_max: self.max_metadata_bytes as usize,
            calls_max: self.max_calls,
            depth_max: self.max_depth,
            registry,
            refused,
        })
    }
}

fn too_large(found: usize) -> Status {
    Status::new(Code::InvalidArgument, format!("hello has {found} bytes, but at most {HELLO_BYTES_MAX} are taken"))
}

fn other_version(major: u16) -> Status {
    let message = format!("protocol major version is {major}, but {PROTOCOL_MAJOR} is spoken here");
    RefusalReason::Version.status(message)
}

#[cfg(test)]
mod tests {
    use rapace_registry::{Provider, Service, ServiceBuilder, Version};

    use super::*;

    fn hello() -> Hello {
        Hello::new(Side::B, &Limits::default(), "analytics", "1.2.3", &Registry::default())
    }

    #[test]
    fn what_is_encoded_is_decoded_and_accepted() {
        let back = Hello::decode(&hello().encode().unwrap()).unwrap();
        assert_eq!(back, hello());
        let info = back.check(Side::A, &Registry::default()).unwrap();
        assert_eq!((info.name.as_str(), info.version.as_str(), info.calls_max), ("analytics", "1.2.3", 1024));
    }

    #[test]
    fn a_refusal_names_what_differs() {
        let check = |change: fn(&mut Hello)| {
            let mut bad = hello();
            change(&mut bad);
            let status = bad.check(Side::A, &Registry::default()).unwrap_err();
            status.to_string()
        };
        assert_eq!(check(|h| h.major = 2), "FailedPrecondition: protocol major version is 2, but 1 is spoken here");
        assert_eq!(check(|h| h.role = 0), "FailedPrecondition: role is 0, but 1 (peer B) was expected");
        assert_eq!(
            check(|h| h.max_calls = 4097),
            "InvalidArgument: max_calls of the hello is 4097, but must be 1 to 4096"
        );
        assert!(check(|h| h.max_depth = 0).contains("max_depth of the hello is 0"));
        assert!(check(|h| h.max_message_bytes = 0).contains("max_message_bytes of the hello is 0"));
        assert!(check(|h| h.name = "x".repeat(129)).contains("length of name of the hello is 129"));
        assert!(check(|h| h.version = "x".repeat(129)).contains("length of version of the hello is 129"));
        assert!(check(|h| h.registry = vec![1, 2, 3]).contains("registry of the hello"));
    }

    #[test]
    fn figures_at_their_bounds_are_accepted() {
        for max_calls in [1, 4096] {
            let (name, version) = ("x".repeat(128), "y".repeat(128));
            let at_bounds = Hello { max_calls, max_depth: 1, max_message_bytes: 1, name, version, ..hello() };
            at_bounds.check(Side::A, &Registry::default()).unwrap();
        }
    }

    #[test]
    fn a_peer_of_the_same_side_is_refused_by_either_side() {
        for side in [Side::A, Side::B] {
            let hello = |of| Hello::new(of, &Limits::default(), "analytics", "1.2.3", &Registry::default());
            let status = hello(side).check(side, &Registry::default()).unwrap_err();
            assert_eq!(RefusalReason::of(&status), Some(RefusalReason::Role));
            hello(side.peer()).check(side, &Registry::default()).unwrap();
        }
    }

    #[test]
    fn a_refusal_says_to_programs_whether_version_or_role_differs() {
        let refusal = |bad: Hello| bad.check(Side::A, &Registry::default()).unwrap_err();
        let (version, role) = (refusal(Hello { major: 2, ..hello() }), refusal(Hello { role: 0, ..hello() }));
        assert_eq!((version.details.as_slice(), role.details.as_slice()), (&[1][..], &[2][..]));
        assert_eq!(RefusalReason::of(&version), Some(RefusalReason::Version));
        assert_eq!(RefusalReason::of(&role), Some(RefusalReason::Role));
        assert_eq!(RefusalReason::of(&refusal(Hello { max_depth: 0, ..hello() })), None);
        let unknown = Status { details: vec![3], ..version };
        assert_eq!(RefusalReason::of(&unknown), None);
    }

    #[test]
    fn a_hello_is_as_large_as_its_bound_and_no_larger() {
        let sized = |bytes: usize| {
            let empty = postcard::to_stdvec(&hello()).unwrap().len();
            // The length of so long a registry takes two bytes more.
            let hello = Hello { registry: vec![0; bytes - empty - 2], ..hello() };
            let encoded = postcard::to_stdvec(&hello).unwrap();
            assert_eq!(encoded.len(), bytes);
            (hello, encoded)
        };
        let (largest, bytes) = sized(HELLO_BYTES_MAX);
        assert_eq!(largest.encode().as_ref(), Ok(&bytes));
        assert_eq!(Hello::decode(&bytes), Ok(largest));
        let (larger, bytes) = sized(HELLO_BYTES_MAX + 1);
        for refused in [larger.encode().unwrap_err(), Hello::decode(&bytes).unwrap_err()] {
            assert_eq!(refused.message, "hello has 1048577 bytes, but at most 1048576 are taken");
        }
    }

    #[test]
    fn methods_that_differ_are_refused_and_the_hello_is_not() {
        let service = |ty: fn(ServiceBuilder) -> ServiceBuilder| {
            let service = Service::builder("s", Version::new(1, 0), Provider::Plugin).unary::<u8, u8>("same", 1);
            Registry::builder().service(ty(service)).build().unwrap()
        };
        let ours = service(|service| service.unary::<u8, u16>("other", 2));
        let theirs = service(|service| service.unary::<u8, u32>("other", 2));
        let check = |hello: &Registry, ours: &Registry| {
            let hello = Hello::new(Side::B, &Limits::default(), "analytics", "1.2.3", hello);
            hello.check(Side::A, ours).unwrap().refused
        };
        let difference = Arc::from("s.other (2): result: u16 here, u32 there");
        assert_eq!(check(&theirs, &ours), BTreeMap::from([(2, difference)]));
        assert!(check(&ours, &ours).is_empty());
        assert!(check(&Registry::default(), &ours).is_empty());
    }

    #[test]
    fn bytes_that_are_no_hello_are_refused() {
        let good = hello().encode().unwrap();
        for cut in 0..good.len() {
            assert!(Hello::decode(&good[..cut]).is_err(), "{cut} bytes");
        }
        assert!(Hello::decode(&[&good[..], &[0]].concat()).unwrap_err().message.contains("1 bytes are left"));
        assert!(Hello::decode(&vec![0; HELLO_BYTES_MAX + 1]).is_err());
        let mut newer = good;
        newer[0] = 3;
        assert!(Hello::decode(&newer[..2]).unwrap_err().message.contains("major version is 3"));
    }
}
