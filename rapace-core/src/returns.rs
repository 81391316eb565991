//! The return ring: how the receiver of a payload gives its slots back (SPEC S5 to S7).
//!
//! A return is one word, written by one store: slot, lap, generation. The lap says whether the entry is new, as the
//! sequence word of a descriptor does.

use crate::fault::PeerFault;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::PeerWords;

const SLOT_MASK: u64 = (1 << LAP_SHIFT) - 1;
const LAP_SHIFT: u32 = 24;
const GENERATION_SHIFT: u32 = 32;

/// Where the next return goes, or comes from.
#[derive(Debug)]
struct Cursor {
    count: u64,
    capacity: u64,
}

impl Cursor {
    fn new(capacity: u32) -> Self {
        debug_assert!(capacity.is_power_of_two());
        Self { count: 0, capacity: capacity.into() }
    }

    #[inline]
    fn index(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "below the capacity, which is at most 2^24")]
        let index = (self.count & (self.capacity - 1)) as usize;
        index
    }

    #[inline]
    fn lap(&self) -> u8 {
        let [lap, ..] = (self.count / self.capacity + 1).to_le_bytes();
        lap
    }
}

/// The receiver's end: writes into its own half.
#[derive(Debug)]
pub struct ReturnWriter(Cursor);

impl ReturnWriter {
    /// The writer of an empty return ring of `capacity` entries, a power of two.
    pub fn new(capacity: u32) -> Self {
        Self(Cursor::new(capacity))
    }

    /// Gives back the run of this generation that begins with `slot`.
    #[inline]
    pub fn give_back(&mut self, ring: &[AtomicU64], slot: u32, generation: u32) {
        let word = u64::from(generation) << GENERATION_SHIFT
            | u64::from(self.0.lap()) << LAP_SHIFT
            | u64::from(slot) & SLOT_MASK;
        // Pairs with the Acquire fence in `ReturnReader::take`: our reads of the payload come before the owner's writes
        // to the slots.
        ring[self.0.index()].store(word, Ordering::Release);
        self.0.count += 1;
    }
}

/// The owner's end: reads the peer's half.
#[derive(Debug)]
pub struct ReturnReader(Cursor);

/// A return as the peer alleges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllegedReturn {
    /// The first slot of the run.
    pub slot: u32,
    /// The generation of the run.
    pub generation: u32,
}

impl ReturnReader {
    /// The reader of an empty return ring of `capacity` entries, a power of two.
    pub fn new(capacity: u32) -> Self {
        Self(Cursor::new(capacity))
    }

    /// Takes the next return, if it is there.
    ///
    /// # Errors
    ///
    /// S6 when the entry is neither of this lap nor of the one before. The cursor stays.
    #[inline]
    pub fn take(&mut self, ring: PeerWords<'_>) -> Result<Option<AllegedReturn>, PeerFault> {
        let word = ring.load(self.0.index());
        let due_lap = self.0.lap();
        let [_, _, _, lap, generation @ ..] = word.to_le_bytes();
        if lap != due_lap {
            // In the first lap the entry is still zero, which is lap 0.
            return if lap == due_lap.wrapping_sub(1) && (due_lap != 1 || self.0.count >= self.0.capacity || word == 0) {
                Ok(None)
            } else {
                Err(PeerFault::ReturnSequence { found: word, due_lap })
            };
        }
        // Pairs with the Release in `ReturnWriter::give_back`.
        fence(Ordering::Acquire);
        self.0.count += 1;
        let slot = (word & SLOT_MASK) as u32;
        Ok(Some(AllegedReturn { slot, generation: u32::from_le_bytes(generation) }))
    }

    /// Returns taken so far.
    pub fn taken(&self) -> u64 {
        self.0.count
    }

    /// Where the next return will appear, for a waiter that looks without taking.
    pub fn next(&self) -> NextReturn {
        NextReturn { index: self.0.index(), lap: self.0.lap() }
    }
}

/// Where the next return will appear.
#[derive(Clone, Copy, Debug)]
pub struct NextReturn {
    index: usize,
    lap: u8,
}

impl NextReturn {
    /// Whether it seems to be there.
    pub fn came(self, ring: PeerWords<'_>) -> bool {
        let [_, _, _, lap, ..] = ring.load(self.index).to_le_bytes();
        lap == self.lap
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn memory(capacity: usize) -> Vec<AtomicU64> {
        (0..capacity).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn returns_come_back_over_many_laps() {
        let words = memory(4);
        let (mut writer, mut reader) = (ReturnWriter::new(4), ReturnReader::new(4));
        let mut count = 0;
        for round in 0u32..2000 {
            for slot in 0..round % 5 {
                writer.give_back(&words, slot, round);
            }
            for slot in 0..round % 5 {
                assert!(reader.next().came(PeerWords::new(&words)));
                let taken = reader.take(PeerWords::new(&words)).unwrap();
                assert_eq!(taken, Some(AllegedReturn { slot, generation: round }));
                count += 1;
                assert_eq!(reader.taken(), count);
            }
            assert!(!reader.next().came(PeerWords::new(&words)));
            assert_eq!(reader.take(PeerWords::new(&words)), Ok(None));
        }
    }

    #[test]
    fn another_lap_is_a_fault() {
        let words = memory(4);
        let mut reader = ReturnReader::new(4);
        for found in [1, 5 << GENERATION_SHIFT, 2 << LAP_SHIFT, 255 << LAP_SHIFT, u64::MAX] {
            words[0].store(found, Ordering::Relaxed);
            assert_eq!(reader.take(PeerWords::new(&words)), Err(PeerFault::ReturnSequence { found, due_lap: 1 }));
        }
        words[0].store(1 << LAP_SHIFT | 3, Ordering::Relaxed);
        assert_eq!(reader.take(PeerWords::new(&words)).unwrap(), Some(AllegedReturn { slot: 3, generation: 0 }));
    }
}
