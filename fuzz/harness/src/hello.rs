//! Target `hello`: what peers tell each other before they trust each other's words: offer, hello, status.

use rapace_core::Side;
use rapace_core::layout::{PROTOCOL_MAJOR, SLOT_COUNT_MIN};
use rapace_core::offer::{Backing, OFFER_BYTES, Offer};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{Code, Hello, Status};

/// The longest text with which anything is refused, in bytes.
const REFUSAL_BYTES_MAX: usize = 8 << 10;

/// Decodes the bytes as an offer, as a hello and as a status.
///
/// What is accepted is within all bounds, and comes back when it is encoded and decoded again; what is refused is refused
/// with a code that SPEC names, and a text of bounded length.
pub fn hello(data: &[u8]) {
    check_hello(data);
    check_offer(data);
    check_status(data);
}

fn check_hello(data: &[u8]) {
    let hello = match Hello::decode(data) {
        Ok(hello) => hello,
        Err(status) => return assert_refusal(&status),
    };
    assert_eq!(hello.major, PROTOCOL_MAJOR);
    let bytes = hello.encode().expect("what was decoded is not too large");
    assert!(bytes.len() <= data.len(), "{} bytes became {}", data.len(), bytes.len());
    assert_eq!(Hello::decode(&bytes).as_ref(), Ok(&hello));
    for (ours, role) in [(Side::A, 1), (Side::B, 0)] {
        for registry in [Registry::default(), our_registry()] {
            match hello.clone().check(ours, &registry) {
                Err(status) => assert_refusal(&status),
                Ok(info) => {
                    assert_eq!(hello.role, role);
                    assert!((1..=4096).contains(&info.calls_max) && info.calls_max == hello.max_calls);
                    assert!(info.depth_max >= 1 && info.message_bytes_max >= 1);
                    assert!(info.name.len() <= 128 && info.version.len() <= 128);
                    assert!(hello.registry.is_empty() || info.registry.to_bytes() == hello.registry);
                    let agree = rapace_registry::compare(&registry, &info.registry).is_compatible();
                    assert_eq!(info.refused.is_empty(), agree);
                    assert!(info.refused.values().all(|text| (1..=4096).contains(&text.len())));
                }
            }
        }
    }
}

fn assert_refusal(status: &Status) {
    assert!(matches!(status.code, Code::InvalidArgument | Code::FailedPrecondition), "{status}");
    assert!(!status.message.is_empty() && status.message.len() <= REFUSAL_BYTES_MAX);
}

/// A registry that a fuzzed one can contradict.
fn our_registry() -> Registry {
    let service = Service::builder("a", Version::new(1, 0), Provider::Plugin)
        .unary::<u8, ()>("m", 1000)
        .unary::<(), u32>("n", 1001);
    Registry::builder().service(service).build().expect("the example is well formed")
}

fn check_offer(data: &[u8]) {
    match Offer::decode(data) {
        Err(error) => assert!(error.to_string().len() <= REFUSAL_BYTES_MAX),
        Ok(offer) => {
            let geometry = &offer.geometry;
            assert!(geometry.slot_count() >= SLOT_COUNT_MIN && geometry.slot_count() <= geometry.return_capacity());
            assert!(geometry.slots_offset() + geometry.pool_bytes() <= geometry.half_bytes());
            let again = offer.encode();
            let (reserved, from) = (40..OFFER_BYTES, OFFER_BYTES.min(data.len()));
            assert_eq!((&again[..reserved.start], &again[from..]), (&data[..reserved.start], &data[from..]));
            assert_eq!(offer.backing == Backing::Sealed, again.len() == OFFER_BYTES);
            assert_eq!(Offer::decode(&again), Ok(offer));
        }
    }
}

fn check_status(data: &[u8]) {
    let status = Status::decode(data);
    let again = Status::decode(&status.encode());
    assert_eq!(again, status);
    let known = data.first_chunk().map(|code| u32::from_le_bytes(*code)).filter(|code| (1..=16).contains(code));
    if known.is_some_and(|code| code != 2) && status.code != Code::Unknown {
        assert_eq!((status.encode(), known), (data.to_vec(), Some(status.code.raw())));
    }
    assert!(status.details.len() + status.message.len() <= data.len().max(128));
}
