//! The serialised form: it comes back as it was, and no other bytes mean the same.

use postcard_schema::schema::owned::OwnedNamedType;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rapace_registry::{Provider, Registry, Service, Version};
use serde::Deserialize;

use crate::{example, strategies};

/// The documented form, for postcard itself to read.
type Body = Vec<WireService>;

#[derive(Debug, Deserialize)]
struct WireService {
    name: String,
    version: (u16, u16),
    provider: u8,
    methods: Vec<WireMethod>,
}

#[derive(Debug, Deserialize)]
struct WireMethod {
    name: String,
    id: u32,
    kind: u8,
    argument: OwnedNamedType,
    result: OwnedNamedType,
}

#[test]
fn the_smallest_registries_have_these_bytes() {
    let empty = Registry::builder().build().unwrap();
    assert_eq!(empty.to_bytes(), b"RPRG\x01\x00\x00");
    let service = Service::builder("a", Version::new(1, 300), Provider::Plugin).unary::<u8, ()>("m", 1000);
    let one = Registry::builder().service(service).build().unwrap();
    assert_eq!(one.to_bytes(), b"RPRG\x01\x00\x01\x01a\x01\xac\x02\x01\x01\x01m\xe8\x07\x00\x02u8\x02\x02()\x13");
}

#[test]
fn the_example_has_this_size_and_digest() {
    let registry = example::registry();
    assert_eq!(registry.to_bytes().len(), 589);
    let digest = "9ad4fc383b0d1804119a1eeec34fa42f86267e0eb1efd1c102a2a27fceb463e5";
    assert_eq!(registry.digest().to_string(), digest);
}

#[test]
fn an_empty_registry_comes_back() {
    let empty = Registry::builder().build().unwrap();
    assert_eq!(Registry::from_bytes(&empty.to_bytes()), Ok(empty));
}

/// Puts the bytes to the parser; what it accepts is the one form of what it made of them.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(registry) = Registry::from_bytes(bytes) {
        prop_assert_eq!(registry.to_bytes(), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_registry_comes_back_from_its_bytes(registry in strategies::registry()) {
        let bytes = registry.to_bytes();
        prop_assert_eq!(Registry::from_bytes(&bytes).unwrap(), registry);
    }

    #[test]
    fn postcard_reads_the_documented_form(registry in strategies::registry()) {
        let bytes = registry.to_bytes();
        let body: Body = postcard::from_bytes(&bytes[6..]).unwrap();
        prop_assert_eq!(body.len(), registry.services().len());
        for (wire, service) in body.iter().zip(registry.services()) {
            let version = (service.version().major, service.version().minor);
            prop_assert_eq!((wire.name.as_str(), wire.version), (service.name(), version));
            prop_assert_eq!(wire.provider, service.provider() as u8);
            prop_assert_eq!(wire.methods.len(), service.methods().len());
            for (wire, method) in wire.methods.iter().zip(service.methods()) {
                prop_assert_eq!((wire.name.as_str(), wire.id), (method.name(), method.id().get()));
                prop_assert_eq!(wire.kind, method.kind() as u8);
                prop_assert_eq!(&wire.argument, method.argument());
                prop_assert_eq!(&wire.result, method.result());
            }
        }
    }

    #[test]
    fn registries_have_one_digest_exactly_when_they_are_equal(
        one in strategies::registry(),
        other in strategies::registry(),
    ) {
        prop_assert_eq!(one.digest() == other.digest(), one == other);
        prop_assert_eq!(one.digest(), one.clone().digest());
    }

    #[test]
    fn changed_bytes_are_refused_or_mean_what_they_say(
        registry in strategies::registry(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = registry.to_bytes();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        check(&bytes)?;
    }

    #[test]
    fn spliced_bytes_are_refused_or_mean_what_they_say(
        registry in strategies::registry(),
        (start, end) in any::<(Index, Index)>(),
        new in vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = registry.to_bytes();
        let (start, end) = (start.index(bytes.len()), end.index(bytes.len()));
        bytes.splice(start.min(end)..start.max(end), new);
        check(&bytes)?;
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_mean_what_they_say(tail in vec(any::<u8>(), 0..256)) {
        check(&tail)?;
        check(&[b"RPRG\x01\x00", tail.as_slice()].concat())?;
    }

    #[test]
    fn bytes_cut_short_are_refused(registry in strategies::registry(), cut in any::<Index>()) {
        let bytes = registry.to_bytes();
        prop_assert!(Registry::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
