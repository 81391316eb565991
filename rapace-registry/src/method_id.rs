//! The number by which a frame names its method.
//!
//! A frame carries nothing else, so an id is unique in a whole registry. Bit 31 tells the two kinds
//! apart: without it the author chose the id, with it the id is a hash of the names, and the two
//! can never meet.

use std::fmt;
use std::num::NonZeroU32;

const DERIVED: u32 = 1 << 31;

/// The id of a method: never 0, and unique in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId(NonZeroU32);

/// A number that its author may not choose as a method's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("method id {found} is not between 1 and {limit}")]
pub struct MethodIdError {
    /// The number.
    pub found: u32,
    /// The largest id that may be chosen.
    pub limit: u32,
}

impl MethodId {
    /// The largest id that an author may choose: the ids above it are derived from names.
    pub const EXPLICIT_MAX: u32 = DERIVED - 1;

    /// Any id that a frame can carry: every number but 0.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// An id chosen by its author.
    ///
    /// # Errors
    ///
    /// When `id` is 0 or above [`EXPLICIT_MAX`](Self::EXPLICIT_MAX).
    pub const fn explicit(id: u32) -> Result<Self, MethodIdError> {
        match Self::new(id) {
            Some(checked) if !checked.is_derived() => Ok(checked),
            _ => Err(MethodIdError { found: id, limit: Self::EXPLICIT_MAX }),
        }
    }

    /// The id that follows from the names: the 32-bit FNV-1a hash of the bytes `service`, `.`,
    /// `method`, with bit 31 set.
    ///
    /// The [hash](http://www.isthe.com/chongo/tech/comp/fnv/) starts at `0x811c9dc5`; each byte is
    /// xored in, then the whole is multiplied by `0x01000193`.
    #[must_use]
    pub const fn derived(service: &str, method: &str) -> Self {
        let mut hash = 0x811c_9dc5;
        hash = fnv_1a(hash, service.as_bytes());
        hash = fnv_1a(hash, b".");
        hash = fnv_1a(hash, method.as_bytes());
        match Self::new(hash | DERIVED) {
            Some(id) => id,
            None => panic!("bit 31 is set"),
        }
    }

    /// Whether this id is a hash of the names, not a choice of the author.
    #[must_use]
    pub const fn is_derived(self) -> bool {
        self.get() & DERIVED != 0
    }

    /// The number, as a frame carries it.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const fn fnv_1a(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_id_is_at_least_one_and_below_bit_31() {
        for id in [1, 1000, MethodId::EXPLICIT_MAX] {
            assert_eq!(MethodId::explicit(id).map(MethodId::get), Ok(id));
        }
        for found in [0, 1 << 31, u32::MAX] {
            let limit = 0x7fff_ffff;
            assert_eq!(MethodId::explicit(found), Err(MethodIdError { found, limit }));
        }
    }

    #[test]
    fn a_derived_id_is_the_fnv_1a_hash_with_bit_31_set() {
        // The published hash of "foobar" is 0xbf9cf968; bit 31 is set already.
        assert_eq!(fnv_1a(0x811c_9dc5, b"foobar"), 0xbf9c_f968);
        let whole = fnv_1a(0x811c_9dc5, b"rapace.Plugin.process");
        let id = MethodId::derived("rapace.Plugin", "process");
        assert_eq!(id.get(), whole | 0x8000_0000);
        assert!(id.is_derived());
    }

    #[test]
    fn a_derived_id_is_known_at_compile_time() {
        const ID: MethodId = MethodId::derived("a", "b");
        assert_eq!(ID, MethodId::derived("a", "b"));
    }
}
