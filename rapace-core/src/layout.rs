//! Where everything lies in a half (SPEC section 4).
//!
//! ```text
//! 0        4096                4096 + 64 N        slots_offset
//! +--------+-------------------+------------------+-----------------------------+
//! | header | descriptor ring   | return ring      | slot 0 | slot 1 | ...       |
//! | page   | N x 64 bytes      | R x 8 bytes      | S bytes each                |
//! +--------+-------------------+------------------+-----------------------------+
//! ```
//!
//! [`GeometryConfig`] is what a user chooses, [`Geometry`] what follows from it: checked once, kept privately, and never
//! read back from shared memory.

use thiserror::Error;

use crate::descriptor::DESCRIPTOR_BYTES;

/// The protocol's major version: peers of different ones do not talk.
pub const PROTOCOL_MAJOR: u16 = 1;
/// The protocol's minor version.
pub const PROTOCOL_MINOR: u16 = 0;

/// Bytes of the header page, and the granularity of a half.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of a cache line, as the layout assumes it.
pub const LINE_BYTES: usize = 64;
/// Bytes of a word.
pub const WORD_BYTES: usize = 8;
/// Words in a cache line.
pub const LINE_WORDS: usize = LINE_BYTES / WORD_BYTES;

/// The magic word at the start of A's half.
pub const MAGIC_A: u64 = u64::from_le_bytes(*b"rapace-A");
/// The magic word at the start of B's half.
pub const MAGIC_B: u64 = u64::from_le_bytes(*b"rapace-B");

/// Byte offsets in the header page.
pub mod header {
    /// Magic, versions, geometry and nonce: one line, written once.
    pub const IDENTITY: usize = 0;
    /// State word.
    pub const STATE: usize = 64;
    /// Heartbeat: a counter of progress.
    pub const HEARTBEAT: usize = 72;
    /// How many descriptors of the other's ring have been taken.
    pub const CONSUMED: usize = 128;
    /// The sleep word.
    pub const SLEEP: usize = 192;
}

const _: () = {
    assert!(header::STATE == header::IDENTITY + LINE_BYTES);
    assert!(header::HEARTBEAT / LINE_BYTES == header::STATE / LINE_BYTES);
    assert!(header::CONSUMED / LINE_BYTES > header::HEARTBEAT / LINE_BYTES);
    assert!(header::SLEEP / LINE_BYTES > header::CONSUMED / LINE_BYTES);
    assert!(header::SLEEP + LINE_BYTES <= PAGE_BYTES);
    assert!(PAGE_BYTES.is_multiple_of(LINE_BYTES));
};

/// The smallest and the largest half, in bytes.
pub const HALF_BYTES_MIN: usize = 16 << 10;
/// The largest half, in bytes.
pub const HALF_BYTES_MAX: usize = 1 << 30;
/// The fewest descriptors in a ring.
pub const RING_CAPACITY_MIN: u32 = 16;
/// The most descriptors in a ring.
pub const RING_CAPACITY_MAX: u32 = 4096;
/// The smallest slot, in bytes.
pub const SLOT_BYTES_MIN: u32 = 64;
/// The largest slot, in bytes.
pub const SLOT_BYTES_MAX: u32 = 1 << 20;
/// The fewest slots in a half.
pub const SLOT_COUNT_MIN: u32 = 16;
/// The most slots in a half: a return names a slot in 24 bits.
pub const SLOT_COUNT_MAX: u32 = 1 << 24;

/// What a user chooses of a segment.
///
/// The defaults make a segment of 4 MiB with 64 descriptors in each ring and 509 slots of 4 KiB in each half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryConfig {
    /// Bytes of both halves together: a multiple of 8192, from 32 KiB to 2 GiB. Memory is touched lazily, so this is
    /// an upper bound of what is used. Default 4 MiB.
    pub segment_bytes: usize,
    /// Descriptors in each ring: a power of two from 16 to 4096, at 64 bytes. Default 64.
    pub ring_capacity: u32,
    /// Bytes of a slot: a multiple of 64, from 64 to 1 MiB. A payload takes as many neighbouring slots as it needs.
    /// Default 4096.
    pub slot_bytes: u32,
}

impl Default for GeometryConfig {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, ring_capacity: 64, slot_bytes: 4096 }
    }
}

/// A figure of a segment that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("{field} is {found}, but must be {bound}")]
pub struct GeometryError {
    /// The field's name.
    pub field: &'static str,
    /// Its value.
    pub found: u64,
    /// What it must be.
    pub bound: &'static str,
}

/// The layout of both halves of a segment: checked, and the same for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    half_bytes: usize,
    ring_capacity: u32,
    slot_bytes: u32,
    slot_count: u32,
    return_capacity: u32,
    slots_offset: usize,
}

impl Geometry {
    /// Computes the layout (SPEC H1, H2).
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its bounds.
    pub fn new(config: GeometryConfig) -> Result<Self, GeometryError> {
        if !config.segment_bytes.is_multiple_of(2 * PAGE_BYTES)
            || !(2 * HALF_BYTES_MIN..=2 * HALF_BYTES_MAX).contains(&config.segment_bytes)
        {
            return Err(GeometryError {
                field: "segment_bytes",
                found: config.segment_bytes as u64,
                bound: "a multiple of 8192 from 32768 to 2147483648",
            });
        }
        if !config.ring_capacity.is_power_of_two()
            || !(RING_CAPACITY_MIN..=RING_CAPACITY_MAX).contains(&config.ring_capacity)
        {
            return Err(GeometryError {
                field: "ring_capacity",
                found: config.ring_capacity.into(),
                bound: "a power of two from 16 to 4096",
            });
        }
        if !config.slot_bytes.is_multiple_of(64) || !(SLOT_BYTES_MIN..=SLOT_BYTES_MAX).contains(&config.slot_bytes) {
            return Err(GeometryError {
                field: "slot_bytes",
                found: config.slot_bytes.into(),
                bound: "a multiple of 64 from 64 to 1048576",
            });
        }
        let half_bytes = config.segment_bytes / 2;
        let slot_bytes = config.slot_bytes as usize;
        let returns_offset = PAGE_BYTES + config.ring_capacity as usize * DESCRIPTOR_BYTES;
        let too_small = GeometryError {
            field: "segment_bytes",
            found: config.segment_bytes as u64,
            bound: "large enough for 16 slots in each half behind the rings",
        };
        let upper = half_bytes.checked_sub(returns_offset).ok_or_else(|| too_small.clone())? / slot_bytes;
        let return_capacity = upper.max(1).next_power_of_two();
        let slots_offset = (returns_offset + return_capacity * WORD_BYTES).next_multiple_of(PAGE_BYTES);
        let slot_count = half_bytes.checked_sub(slots_offset).ok_or_else(|| too_small.clone())? / slot_bytes;
        if slot_count < SLOT_COUNT_MIN as usize {
            return Err(too_small);
        }
        // A half has at most 2^30 bytes and a slot at least 64, so both counts fit 24 bits.
        let (Ok(slot_count), Ok(return_capacity)) = (u32::try_from(slot_count), u32::try_from(return_capacity)) else {
            return Err(too_small);
        };
        Ok(Self {
            half_bytes,
            ring_capacity: config.ring_capacity,
            slot_bytes: config.slot_bytes,
            slot_count,
            return_capacity,
            slots_offset,
        })
    }

    /// The choice that makes this layout.
    pub fn config(&self) -> GeometryConfig {
        GeometryConfig {
            segment_bytes: 2 * self.half_bytes,
            ring_capacity: self.ring_capacity,
            slot_bytes: self.slot_bytes,
        }
    }

    /// Bytes of one half.
    pub fn half_bytes(&self) -> usize {
        self.half_bytes
    }

    /// Descriptors in each ring.
    pub fn ring_capacity(&self) -> u32 {
        self.ring_capacity
    }

    /// Bytes of a slot.
    pub fn slot_bytes(&self) -> u32 {
        self.slot_bytes
    }

    /// Slots in each half.
    pub fn slot_count(&self) -> u32 {
        self.slot_count
    }

    /// Bytes of all slots of a half together.
    pub fn pool_bytes(&self) -> usize {
        self.slot_count as usize * self.slot_bytes as usize
    }

    /// Entries in each return ring.
    pub fn return_capacity(&self) -> u32 {
        self.return_capacity
    }

    /// Byte offset of the descriptor ring.
    pub fn ring_offset(&self) -> usize {
        PAGE_BYTES
    }

    /// Words in the descriptor ring.
    pub fn ring_words(&self) -> usize {
        self.ring_capacity as usize * LINE_WORDS
    }

    /// Byte offset of the return ring.
    pub fn returns_offset(&self) -> usize {
        PAGE_BYTES + self.ring_capacity as usize * DESCRIPTOR_BYTES
    }

    /// Byte offset of slot 0.
    pub fn slots_offset(&self) -> usize {
        self.slots_offset
    }

    /// Slots that a payload touches which begins `offset` bytes into its first slot.
    #[inline]
    pub fn run_slots(&self, offset: u32, payload_bytes: u32) -> u64 {
        let (end, slot_bytes) = (u64::from(offset) + u64::from(payload_bytes), u64::from(self.slot_bytes));
        // Most fit one, and a division takes as long as all else that is checked.
        if end > slot_bytes { end.div_ceil(slot_bytes) } else { u64::from(end > 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(segment_bytes: usize, ring_capacity: u32, slot_bytes: u32) -> Result<Geometry, &'static str> {
        Geometry::new(GeometryConfig { segment_bytes, ring_capacity, slot_bytes }).map_err(|e| e.field)
    }

    #[test]
    fn defaults_give_509_slots() {
        let g = Geometry::new(GeometryConfig::default()).unwrap();
        assert_eq!((g.half_bytes(), g.returns_offset(), g.return_capacity()), (2 << 20, 8192, 512));
        assert_eq!((g.slots_offset(), g.slot_count()), (12288, 509));
        assert_eq!((g.pool_bytes(), g.config()), (509 * 4096, GeometryConfig::default()));
        let other = GeometryConfig { segment_bytes: 1 << 20, ring_capacity: 16, slot_bytes: 192 };
        assert_eq!(Geometry::new(other).unwrap().config(), other);
    }

    #[test]
    fn figures_out_of_bounds_name_their_field() {
        assert_eq!(check(4 << 20, 48, 4096), Err("ring_capacity"));
        assert_eq!(check(4 << 20, 8, 4096), Err("ring_capacity"));
        assert_eq!(check(4 << 20, 8192, 4096), Err("ring_capacity"));
        assert_eq!(check(4 << 20, 64, 0), Err("slot_bytes"));
        assert_eq!(check(4 << 20, 64, 100), Err("slot_bytes"));
        assert_eq!(check(4 << 20, 64, 2 << 20), Err("slot_bytes"));
        assert_eq!(check(0, 64, 4096), Err("segment_bytes"));
        assert_eq!(check((4 << 20) + 1, 64, 4096), Err("segment_bytes"));
        assert_eq!(check(4 << 30, 64, 4096), Err("segment_bytes"));
        // It would have room for 64 slots.
        assert_eq!(check(24 << 10, 16, 64), Err("segment_bytes"));
        assert!(check(32 << 10, 16, 64).is_ok());
        assert_eq!(check(64 << 10, 64, 4096), Err("segment_bytes"));
        assert_eq!(check(32 << 10, 4096, 64), Err("segment_bytes"));
    }

    #[test]
    fn an_error_names_field_value_and_bound() {
        let error = Geometry::new(GeometryConfig { slot_bytes: 0, ..GeometryConfig::default() }).unwrap_err();
        assert_eq!(error.to_string(), "slot_bytes is 0, but must be a multiple of 64 from 64 to 1048576");
    }

    #[test]
    fn a_payload_touches_the_slots_up_to_its_last_byte() {
        for slot_bytes in [64, 192, 4096, 1 << 20] {
            let config = GeometryConfig { segment_bytes: 64 << 20, slot_bytes, ..GeometryConfig::default() };
            let g = Geometry::new(config).unwrap();
            for (offset, payload_bytes, slots) in [
                (0, 0, 0),
                (0, 1, 1),
                (0, slot_bytes, 1),
                (0, slot_bytes + 1, 2),
                (slot_bytes - 8, 8, 1),
                (slot_bytes - 8, 9, 2),
                (8, 2 * slot_bytes, 3),
            ] {
                assert_eq!(g.run_slots(offset, payload_bytes), slots, "{payload_bytes} from {offset} of {slot_bytes}");
            }
            assert_eq!(g.run_slots(8, u32::MAX), (u64::from(u32::MAX) + 8).div_ceil(u64::from(slot_bytes)));
        }
    }

    #[test]
    fn every_accepted_geometry_fits_its_half() {
        for ring in (4..=12).map(|bits| 1u32 << bits) {
            for slot in [64, 128, 192, 4096, 65536, 1 << 20] {
                for half_pages in [4, 5, 7, 37, 64, 512, 4096] {
                    let Ok(g) = check(2 * half_pages * PAGE_BYTES, ring, slot) else { continue };
                    assert!(g.slot_count() >= SLOT_COUNT_MIN && g.slot_count() <= g.return_capacity());
                    assert!(g.returns_offset() + g.return_capacity() as usize * WORD_BYTES <= g.slots_offset());
                    assert!(g.slots_offset() + g.pool_bytes() <= g.half_bytes());
                }
            }
        }
    }
}
