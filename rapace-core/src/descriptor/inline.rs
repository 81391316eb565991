//! Payloads that lie in the descriptor itself.

use std::fmt;
use std::ops::Deref;

use super::{INLINE_BYTES, INLINE_WORDS};
use crate::layout::WORD_BYTES;

/// A payload of at most [`INLINE_BYTES`] bytes.
///
/// It is kept as the words that travel: a processor that is to load a word where bytes were stored a moment ago waits until
/// these have reached the cache.
#[derive(Clone, Copy, Eq)]
pub struct Inline {
    /// The bytes, as they lie in memory, and zeros or anything behind their end.
    words: [u64; INLINE_WORDS],
    /// At most [`INLINE_BYTES`].
    length: usize,
}

impl Inline {
    /// No bytes.
    pub const EMPTY: Self = Self { words: [0; INLINE_WORDS], length: 0 };

    /// These bytes, if they fit.
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > INLINE_BYTES {
            return None;
        }
        // Each by itself, so that they are made in registers.
        let word = |at: usize| {
            let rest = bytes.get(at * WORD_BYTES..).unwrap_or_default();
            match rest.first_chunk() {
                Some(chunk) => u64::from_ne_bytes(*chunk),
                // At most seven: by hand, for a copy of so few would be a call.
                None => rest.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte)).to_le(),
            }
        };
        Some(Self { words: [word(0), word(1), word(2)], length: bytes.len() })
    }

    /// The parts in a row, if they fit.
    #[inline]
    pub fn concat(parts: &[&[u8]]) -> Option<Self> {
        match parts {
            [part] | [[], part] => Self::new(part),
            _ => Self::concat_all(parts),
        }
    }

    fn concat_all(parts: &[&[u8]]) -> Option<Self> {
        let mut bytes = [0; INLINE_BYTES];
        let mut length = 0;
        for part in parts {
            let end = length + part.len();
            bytes.get_mut(length..end)?.copy_from_slice(part);
            length = end;
        }
        Self::new(&bytes[..length])
    }

    /// Bytes of the payload.
    #[inline]
    pub(super) fn length(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 24")]
        let length = self.length as u32;
        length
    }

    /// The words as they travel.
    #[inline]
    pub(super) fn to_words(self) -> [u64; INLINE_WORDS] {
        self.words.map(u64::to_le)
    }

    /// `length` bytes, at most [`INLINE_BYTES`], of words that have travelled.
    #[inline]
    pub(super) fn from_words(words: [u64; INLINE_WORDS], length: usize) -> Self {
        debug_assert!(length <= INLINE_BYTES);
        Self { words: words.map(u64::from_le), length }
    }
}

impl Deref for Inline {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

impl PartialEq for Inline {
    /// By the bytes alone: a peer may send anything behind them.
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inline").field(&&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_at_every_length() {
        let bytes: Vec<u8> = (1..=25).collect();
        for length in 0..=INLINE_BYTES {
            let inline = Inline::new(&bytes[..length]).unwrap();
            assert_eq!(*inline, bytes[..length]);
            assert_eq!(Inline::from_words(inline.to_words(), length), inline);
            let at = length / 2;
            for parts in [&[&bytes[..at], &bytes[at..length]][..], &[b"", &bytes[..length]], &[&bytes[..length], b""]] {
                assert_eq!(Inline::concat(parts), Some(inline), "{parts:?}");
            }
        }
        assert_eq!(Inline::new(&bytes), None);
        assert_eq!(Inline::concat(&[&bytes[..20], &bytes[20..]]), None);
    }

    #[test]
    fn what_a_peer_sends_behind_the_bytes_is_no_part_of_them() {
        let (sent, received) = (Inline::new(&[1, 2]).unwrap(), Inline::from_words([0x7777_0201, 7, 7], 2));
        assert_eq!((sent, format!("{received:?}").as_str()), (received, "Inline([1, 2])"));
    }

    #[test]
    fn the_first_byte_travels_lowest() {
        assert_eq!(Inline::new(&[1, 2]).unwrap().to_words(), [0x0201, 0, 0]);
    }
}
