//! The fields of a descriptor, read and written by their offsets in SPEC section 5, apart from the code that is tested.

use rapace_core::Side;
use rapace_core::descriptor::BODY_WORDS;

pub(crate) const CONTROL: u32 = 0;
pub(crate) const REQUEST: u32 = 1;
pub(crate) const REPLY: u32 = 2;
pub(crate) const ERROR: u32 = 3;
pub(crate) const ITEM: u32 = 4;
pub(crate) const END: u32 = 5;

pub(crate) const MORE: u32 = 1 << 3;
pub(crate) const DEADLINE: u32 = 1 << 4;
pub(crate) const METADATA: u32 = 1 << 5;
pub(crate) const CREDIT: u32 = 1 << 6;
pub(crate) const ITEMS: u32 = 1 << 7;

/// The `payload_slot` that says inline.
pub(crate) const INLINE: u32 = 0xFFFF_FFFF;

/// All of a descriptor behind its sequence word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) channel: u32,
    pub(crate) method: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) flags: u32,
    pub(crate) credit: u32,
    pub(crate) inline: [u64; 3],
}

impl Fields {
    /// The header of a frame on a channel; the payload is inline and empty.
    pub(crate) fn header(kind: u32, channel: u32, method: u32) -> Self {
        Self { channel, method, slot: INLINE, flags: kind, ..Self::default() }
    }

    pub(crate) fn from_words(words: &[u64; BODY_WORDS]) -> Self {
        let [low, high] = [0, 4].map(|at| words.map(|word| half(word, at)));
        Self {
            channel: low[0],
            method: high[0],
            slot: low[1],
            generation: high[1],
            offset: low[2],
            length: high[2],
            flags: low[3],
            credit: high[3],
            inline: [words[4], words[5], words[6]],
        }
    }

    pub(crate) fn words(&self) -> [u64; BODY_WORDS] {
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let [a, b, c] = self.inline;
        [
            join(self.channel, self.method),
            join(self.slot, self.generation),
            join(self.offset, self.length),
            join(self.flags, self.credit),
            a,
            b,
            c,
        ]
    }

    pub(crate) fn kind(&self) -> u32 {
        self.flags & 7
    }

    pub(crate) fn depth(&self) -> u32 {
        self.flags >> 24
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.slot == INLINE
    }

    /// The bytes of an inline payload.
    pub(crate) fn inline_bytes(&self) -> Vec<u8> {
        self.inline.iter().flat_map(|word| word.to_le_bytes()).take(self.length as usize).collect()
    }

    /// The same frame with the payload in the descriptor.
    pub(crate) fn with_inline(mut self, bytes: &[u8]) -> Self {
        assert!(bytes.len() <= 24, "{} bytes are not inline", bytes.len());
        let mut padded = [0; 24];
        padded[..bytes.len()].copy_from_slice(bytes);
        for (word, chunk) in self.inline.iter_mut().zip(padded.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        (self.slot, self.generation, self.offset, self.length) = (INLINE, 0, 0, number(bytes.len()));
        self
    }
}

/// Bit 0 of the channels that a side opens.
pub(crate) fn parity(side: Side) -> u32 {
    match side {
        Side::A => 1,
        Side::B => 0,
    }
}

/// A count of this process that is known to be small.
pub(crate) fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a count of the harness")
}

fn half(word: u64, at: usize) -> u32 {
    let bytes = word.to_le_bytes();
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
