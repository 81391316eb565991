//! Channel ids: parity, index and generation in one number (SPEC C1).

use std::fmt;

use crate::side::Side;

/// Bits of a channel's index.
pub const CHANNEL_INDEX_BITS: u32 = 12;
/// The most calls that can be in flight in one direction.
pub const CHANNELS_MAX: u32 = 1 << CHANNEL_INDEX_BITS;

const GENERATION_SHIFT: u32 = CHANNEL_INDEX_BITS + 1;
const GENERATION_MAX: u32 = u32::MAX >> GENERATION_SHIFT;

/// The number that ties the frames of a call together.
///
/// Bit 0 tells who opened the channel, the next 12 bits are an index into the opener's call table, and the rest is a
/// generation that makes a reused index a new channel. So a frame finds its call without hashing, and 2^31 calls
/// later no call meets an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId(u32);

impl ChannelId {
    /// Channel 0: control, and the lifecycle calls.
    pub const CONTROL: Self = Self(0);

    /// The channel that `opener` opens with an index below [`CHANNELS_MAX`] and a generation from
    /// [`ChannelGeneration`].
    pub fn new(opener: Side, index: u32, generation: ChannelGeneration) -> Self {
        debug_assert!(index < CHANNELS_MAX, "channel index {index} of {CHANNELS_MAX}");
        Self(generation.0 << GENERATION_SHIFT | (index & (CHANNELS_MAX - 1)) << 1 | opener.parity())
    }

    /// A number from a frame.
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number that goes into a frame.
    pub fn raw(self) -> u32 {
        self.0
    }

    /// Whether this is channel 0.
    pub fn is_control(self) -> bool {
        self.0 == 0
    }

    /// Bit 0.
    pub fn parity(self) -> u32 {
        self.0 & 1
    }

    /// The index in the opener's call table.
    pub fn index(self) -> usize {
        (self.0 >> 1 & (CHANNELS_MAX - 1)) as usize
    }

    /// The generation bits: 0 is no generation that a peer may use.
    pub fn generation_bits(self) -> u32 {
        self.0 >> GENERATION_SHIFT
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How often a channel index has been used: never 0, and wrapping past 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelGeneration(u32);

impl ChannelGeneration {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// The number in a channel id.
    pub fn raw(self) -> u32 {
        self.0
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(if self.0 == GENERATION_MAX { 1 } else { self.0 + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let id = ChannelId::new(Side::A, 4095, ChannelGeneration(77));
        assert_eq!((id.parity(), id.index(), id.generation_bits()), (1, 4095, 77));
        let id = ChannelId::new(Side::B, 0, ChannelGeneration::FIRST);
        assert_eq!((id.parity(), id.index(), id.generation_bits(), id.is_control()), (0, 0, 1, false));
    }

    #[test]
    fn generations_wrap_past_zero() {
        assert_eq!(ChannelGeneration(GENERATION_MAX).next(), ChannelGeneration::FIRST);
        let last = ChannelId::new(Side::B, 4095, ChannelGeneration(GENERATION_MAX));
        assert_eq!((last.index(), last.generation_bits()), (4095, GENERATION_MAX));
    }
}
