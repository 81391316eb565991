//! The offer: A's first message, which says what the session's memory is (SPEC section 3).
//!
//! ```text
//! 0      1         2            4       6       8       16          24          28          32     36        40         64
//! | 0x02 | backing | name bytes | major | minor | nonce | half size | ring size | slot size | slots | returns | reserved | name
//! ```

use thiserror::Error;

use crate::layout::{Geometry, GeometryConfig, GeometryError, PROTOCOL_MAJOR, PROTOCOL_MINOR};

/// The first byte of an offer.
pub const OFFER_KIND: u8 = 0x02;
/// Bytes of an offer before the name.
pub const OFFER_BYTES: usize = 64;
/// The longest name of a segment, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest offer, in bytes.
pub const OFFER_BYTES_MAX: usize = OFFER_BYTES + NAME_BYTES_MAX;

/// Up to here every major version has the same fields, so that a refusal can name both versions.
const VERSION_END: usize = 8;

/// What the memory is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Two sealed memfds, which come with the offer.
    Sealed,
    /// A named segment, for peers that trust each other: its name, of 1 to 255 bytes.
    Named(String),
}

/// A checked offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What the memory is made of.
    pub backing: Backing,
    /// Major version of A's protocol.
    pub major: u16,
    /// Minor version of A's protocol.
    pub minor: u16,
    /// Tells the sessions of a host apart; not 0.
    pub nonce: u64,
    /// The layout of both halves.
    pub geometry: Geometry,
}

/// Bytes that are no offer, or one that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferError {
    /// K6: another message came in its place.
    #[error("K6: first message is of kind {found:#04x}, but an offer is {OFFER_KIND:#04x}")]
    Kind {
        /// The first byte.
        found: u8,
    },
    /// K6: too short or too long.
    #[error("K6: offer has {found} bytes, but must have {expected}")]
    Length {
        /// Its length.
        found: usize,
        /// The length that its fields demand.
        expected: usize,
    },
    /// O4: another major version.
    #[error("O4: offer is of protocol {major}.{minor}, but this peer speaks {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}")]
    Version {
        /// Major version of the offer.
        major: u16,
        /// Minor version of the offer.
        minor: u16,
    },
    /// K6: no such backing.
    #[error("K6: backing is {found}, but the last is 1")]
    Backing {
        /// The backing.
        found: u8,
    },
    /// K6: a name where there is none, none where there is one, or too long a name.
    #[error("K6: name has {found} bytes, but must have {least} to {most}")]
    NameLength {
        /// Its length.
        found: usize,
        /// The shortest for this backing.
        least: usize,
        /// The longest for this backing.
        most: usize,
    },
    /// K6: the name is not UTF-8.
    #[error("K6: name of {bytes} bytes is not UTF-8 from byte {valid}")]
    NameEncoding {
        /// Its length.
        bytes: usize,
        /// How many bytes are valid.
        valid: usize,
    },
    /// K6: the nonce is 0.
    #[error("K6: session nonce is 0")]
    Nonce,
    /// O3: a size that is out of its bounds.
    #[error("O3: {0}")]
    Geometry(GeometryError),
    /// O3: a count that does not follow from the sizes.
    #[error("O3: {field} is {found}, but the sizes give {expected}")]
    Count {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
        /// What follows from the sizes.
        expected: u32,
    },
}

impl Offer {
    /// An offer of this protocol version.
    pub fn new(backing: Backing, nonce: u64, geometry: Geometry) -> Self {
        Self { backing, major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, nonce, geometry }
    }

    /// The message.
    ///
    /// # Panics
    ///
    /// When the nonce is 0, or the name does not have 1 to 255 bytes.
    pub fn encode(&self) -> Vec<u8> {
        assert_ne!(self.nonce, 0, "session nonce is 0");
        let (backing, name) = match &self.backing {
            Backing::Sealed => (0, ""),
            Backing::Named(name) => (1, name.as_str()),
        };
        let name_bytes = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let (least, most) = name_bounds(backing);
        assert!((least..=most).contains(&name.len()), "name has {} bytes, but must have {least} to {most}", name.len());
        let mut message = Vec::with_capacity(OFFER_BYTES + name.len());
        message.extend([OFFER_KIND, backing]);
        for field in [name_bytes, self.major, self.minor] {
            message.extend(field.to_le_bytes());
        }
        for field in [self.nonce, self.geometry.half_bytes() as u64] {
            message.extend(field.to_le_bytes());
        }
        let geometry = &self.geometry;
        let [slots, returns] = [geometry.slot_count(), geometry.return_capacity()];
        for field in [geometry.ring_capacity(), geometry.slot_bytes(), slots, returns] {
            message.extend(field.to_le_bytes());
        }
        message.resize(OFFER_BYTES, 0);
        message.extend(name.as_bytes());
        message
    }

    /// Checks a message that should be an offer.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong. The version is looked at before all else that another version may change.
    pub fn decode(message: &[u8]) -> Result<Self, OfferError> {
        let kind = message.first().copied().unwrap_or(0);
        if kind != OFFER_KIND {
            return Err(OfferError::Kind { found: kind });
        }
        if message.len() < VERSION_END {
            return Err(OfferError::Length { found: message.len(), expected: OFFER_BYTES });
        }
        let [major, minor] = [4, 6].map(|at| u16::from_le_bytes(field(message, at)));
        if major != PROTOCOL_MAJOR {
            return Err(OfferError::Version { major, minor });
        }
        let name_bytes = usize::from(u16::from_le_bytes(field(message, 2)));
        if message.len() != OFFER_BYTES + name_bytes {
            return Err(OfferError::Length { found: message.len(), expected: OFFER_BYTES + name_bytes });
        }
        let backing = message[1];
        if backing > 1 {
            return Err(OfferError::Backing { found: backing });
        }
        let (least, most) = name_bounds(backing);
        if !(least..=most).contains(&name_bytes) {
            return Err(OfferError::NameLength { found: name_bytes, least, most });
        }
        let name = std::str::from_utf8(&message[OFFER_BYTES..])
            .map_err(|error| OfferError::NameEncoding { bytes: name_bytes, valid: error.valid_up_to() })?;
        let backing = if backing == 0 { Backing::Sealed } else { Backing::Named(name.to_owned()) };
        let nonce = u64::from_le_bytes(field(message, 8));
        if nonce == 0 {
            return Err(OfferError::Nonce);
        }
        Ok(Self { backing, major, minor, nonce, geometry: geometry(message)? })
    }
}

/// Computes the layout anew from the three sizes, and compares the counts with it (O3).
fn geometry(message: &[u8]) -> Result<Geometry, OfferError> {
    let half_bytes = u64::from_le_bytes(field(message, 16));
    // A size that saturates is far out of bounds anyway.
    let segment_bytes = usize::try_from(half_bytes.saturating_mul(2)).unwrap_or(usize::MAX);
    let [ring_capacity, slot_bytes, slot_count, return_capacity] =
        [24, 28, 32, 36].map(|at| u32::from_le_bytes(field(message, at)));
    let geometry =
        Geometry::new(GeometryConfig { segment_bytes, ring_capacity, slot_bytes }).map_err(OfferError::Geometry)?;
    for (field, found, expected) in [
        ("slot_count", slot_count, geometry.slot_count()),
        ("return_capacity", return_capacity, geometry.return_capacity()),
    ] {
        if found != expected {
            return Err(OfferError::Count { field, found, expected });
        }
    }
    Ok(geometry)
}

fn name_bounds(backing: u8) -> (usize, usize) {
    if backing == 0 { (0, 0) } else { (1, NAME_BYTES_MAX) }
}

/// The `N` bytes at `at`, which the caller knows to be there.
fn field<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&message[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(backing: Backing) -> Offer {
        Offer::new(backing, 0x1122_3344_5566_7788, Geometry::new(GeometryConfig::default()).unwrap())
    }

    /// Decodes the default offer after `change`.
    fn check(change: impl FnOnce(&mut Vec<u8>)) -> Result<Offer, OfferError> {
        let mut message = sample(Backing::Sealed).encode();
        change(&mut message);
        Offer::decode(&message)
    }

    #[test]
    fn fields_lie_where_the_spec_says() {
        let message = sample(Backing::Named("/n".to_owned())).encode();
        let expected: [&[u8]; 13] = [
            &[2, 1],
            &2u16.to_le_bytes(),
            &1u16.to_le_bytes(),
            &0u16.to_le_bytes(),
            &0x1122_3344_5566_7788u64.to_le_bytes(),
            &0x20_0000u64.to_le_bytes(),
            &64u32.to_le_bytes(),
            &4096u32.to_le_bytes(),
            &509u32.to_le_bytes(),
            &512u32.to_le_bytes(),
            &[0; 24],
            b"/",
            b"n",
        ];
        assert_eq!(message, expected.concat());
    }

    #[test]
    fn reserved_bytes_and_the_minor_version_are_free() {
        let offer = check(|m| {
            m[40..64].fill(0xff);
            m[6] = 3;
        });
        assert_eq!(offer, Ok(Offer { minor: 3, ..sample(Backing::Sealed) }));
    }

    #[test]
    fn each_broken_field_is_named() {
        let geometry = |field: &str, m: Result<Offer, OfferError>| match m {
            Err(OfferError::Geometry(error)) => assert_eq!(error.field, field),
            other => panic!("{other:?}"),
        };
        assert_eq!(check(Vec::clear), Err(OfferError::Kind { found: 0 }));
        assert_eq!(check(|m| m[0] = 1), Err(OfferError::Kind { found: 1 }));
        assert_eq!(check(|m| m.truncate(7)), Err(OfferError::Length { found: 7, expected: 64 }));
        assert_eq!(check(|m| m.truncate(63)), Err(OfferError::Length { found: 63, expected: 64 }));
        assert_eq!(check(|m| m.push(0)), Err(OfferError::Length { found: 65, expected: 64 }));
        assert_eq!(check(|m| m[2] = 3), Err(OfferError::Length { found: 64, expected: 67 }));
        assert_eq!(check(|m| m[1] = 2), Err(OfferError::Backing { found: 2 }));
        assert_eq!(check(|m| m[8..16].fill(0)), Err(OfferError::Nonce));
        assert_eq!(check(|m| m[32] = 0), Err(OfferError::Count { field: "slot_count", found: 0x100, expected: 509 }));
        assert_eq!(
            check(|m| m[37] = 1),
            Err(OfferError::Count { field: "return_capacity", found: 256, expected: 512 })
        );
        geometry("segment_bytes", check(|m| m[16..24].fill(0xff)));
        geometry("segment_bytes", check(|m| m[16] = 1));
        geometry("ring_capacity", check(|m| m[24] = 63));
        geometry("slot_bytes", check(|m| m[28] = 1));
    }

    #[test]
    fn another_major_version_is_told_even_if_all_else_differs() {
        let error = OfferError::Version { major: 2, minor: 9 };
        let change = |m: &mut Vec<u8>| m[1..8].copy_from_slice(&[77, 77, 77, 2, 0, 9, 0]);
        assert_eq!(check(change), Err(error.clone()));
        assert_eq!(
            check(|m| {
                change(m);
                m.truncate(8);
            }),
            Err(error.clone())
        );
        assert_eq!(error.to_string(), "O4: offer is of protocol 2.9, but this peer speaks 1.0");
    }

    #[test]
    fn a_name_belongs_to_a_named_segment_alone() {
        let named = |name: &[u8], backing: u8| {
            check(|m| {
                m[1] = backing;
                m[2..4].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
                m.extend(name);
            })
        };
        assert_eq!(named(b"/n", 1), Ok(sample(Backing::Named("/n".to_owned()))));
        assert_eq!(named(b"/n", 0), Err(OfferError::NameLength { found: 2, least: 0, most: 0 }));
        assert_eq!(named(b"", 1), Err(OfferError::NameLength { found: 0, least: 1, most: 255 }));
        assert_eq!(named(&[b'n'; 256], 1), Err(OfferError::NameLength { found: 256, least: 1, most: 255 }));
        assert_eq!(named(b"/\xff", 1), Err(OfferError::NameEncoding { bytes: 2, valid: 1 }));
    }

    #[test]
    #[should_panic(expected = "name has 256 bytes, but must have 1 to 255")]
    fn too_long_a_name_is_our_own_bug() {
        sample(Backing::Named("n".repeat(256))).encode();
    }

    proptest! {
        #[test]
        fn every_offer_survives_the_wire(
            nonce in 1u64..,
            minor in any::<u16>(),
            name in proptest::option::of("\\PC{1,60}"),
            half_pages in 4usize..4096,
            ring_bits in 4u32..13,
            slot_lines in 1u32..1024,
        ) {
            let config = GeometryConfig {
                segment_bytes: 2 * 4096 * half_pages,
                ring_capacity: 1 << ring_bits,
                slot_bytes: 64 * slot_lines,
            };
            if let Ok(geometry) = Geometry::new(config) {
                let backing = name.map_or(Backing::Sealed, Backing::Named);
                let offer = Offer { minor, ..Offer::new(backing, nonce, geometry) };
                prop_assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..330),
            keep in 0usize..64,
        ) {
            // With a sound beginning, so that the checks behind it are reached too.
            let mut message = sample(Backing::Sealed).encode();
            message.truncate(keep);
            message.extend(noise);
            if let Ok(offer) = Offer::decode(&message) {
                prop_assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
            }
        }
    }
}
