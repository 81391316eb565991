//! The slots of one's own half: a private allocator of contiguous runs (SPEC section 7).
//!
//! ```text
//!   slot      0 .. reserve        .. 2 * reserve     ..                       count
//!            +------------------+------------------+------------------------------+
//!            | replies, control | requests         | items                        |
//!            |                  | replies, control | requests; replies, control   |
//!            +------------------+------------------+------------------------------+
//! ```
//!
//! Only the owner allocates, and only its private table says what is free. The receiver's returns are checked against
//! that table. Runs are placed as low as possible, so that the slots which were used last, and are still in a cache, are
//! used next.

use crate::bitmap::Bitmap;
use crate::descriptor::Kind;
use crate::fault::PeerFault;

/// What a frame may use of the room that is kept for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Items of streams: the first to wait, so that calls find room however much a stream has to say.
    Item,
    /// Requests: they wait before replies do.
    Request,
    /// Replies, errors and ends: they free what requests wait for.
    Reply,
    /// Control: never waits behind the others.
    Control,
}

impl Class {
    /// The class of frames of this kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Item => Self::Item,
            Kind::Request => Self::Request,
            Kind::Reply | Kind::Error | Kind::End => Self::Reply,
            Kind::Control => Self::Control,
        }
    }
}

/// A run that has been allocated and not yet been handed to the receiver.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an allocated run is handed over or given up"]
pub struct OwnRun {
    /// Its first slot.
    pub slot: u32,
    /// The generation of that slot.
    pub generation: u32,
    /// Slots in the run.
    pub slots: u32,
}

/// The owner's table of its slots.
#[derive(Debug)]
pub struct SlotPool {
    free: Bitmap,
    free_count: u32,
    /// The first slots, which requests may not use, and of which items leave twice as many alone.
    reserve: u32,
    slot_count: u32,
    table: Vec<SlotEntry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SlotEntry {
    generation: u32,
    /// Slots of the run that begins here and is with the receiver, or 0.
    out: u32,
}

impl SlotPool {
    /// A pool of `slot_count` free slots.
    pub fn new(slot_count: u32) -> Self {
        let mut free = Bitmap::zeros(slot_count);
        free.set(0, slot_count);
        Self {
            free,
            free_count: slot_count,
            reserve: (slot_count / 8).max(1),
            slot_count,
            table: vec![SlotEntry::default(); slot_count as usize],
        }
    }

    /// The most slots that a run of this class can have.
    #[inline]
    pub fn run_slots_max(&self, class: Class) -> u32 {
        self.slot_count.saturating_sub(self.first(class))
    }

    /// Slots that are kept for replies and control, which is the largest run that those can always get in the end.
    pub fn reserve(&self) -> u32 {
        self.reserve
    }

    /// Whether a frame of this class may lie in the run.
    pub fn may_hold(&self, run: &OwnRun, class: Class) -> bool {
        run.slot >= self.first(class)
    }

    /// Takes a run of `slots` neighbouring slots, if there is one. The receiver cannot return it yet.
    #[inline]
    pub fn allocate(&mut self, slots: u32, class: Class) -> Option<OwnRun> {
        let slot = self.take(slots, class)?;
        Some(self.taken(slot, slots))
    }

    /// The run of so many slots that [`SlotPool::take`] has taken.
    #[inline]
    pub(crate) fn taken(&self, slot: u32, slots: u32) -> OwnRun {
        OwnRun { slot, generation: self.table[slot as usize].generation, slots }
    }

    /// What [`SlotPool::allocate`] does, but for the run: its first slot alone comes back in a register.
    pub(crate) fn take(&mut self, slots: u32, class: Class) -> Option<u32> {
        if slots == 0 || slots > self.free_count {
            return None;
        }
        let slot = self.free.find_run(self.first(class), slots)?;
        self.free.clear(slot, slots);
        self.free_count -= slots;
        let entry = &mut self.table[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        Some(slot)
    }

    /// Hands the first `slots` slots of a run to the receiver; the others are free again.
    ///
    /// # Panics
    ///
    /// When the run has fewer, or there are none.
    #[inline]
    pub fn hand_over(&mut self, run: OwnRun, slots: u32) {
        assert!((1..=run.slots).contains(&slots), "{slots} slots of {run:?}");
        self.table[run.slot as usize].out = slots;
        if slots < run.slots {
            self.release(run.slot + slots, run.slots - slots);
        }
    }

    /// Frees a run that was not handed over.
    pub fn give_up(&mut self, run: OwnRun) {
        self.release(run.slot, run.slots);
    }

    /// Takes back a run that the receiver alleges to return.
    ///
    /// # Errors
    ///
    /// S7 when there is no such slot, no run that begins there is out, or the generation is another.
    #[inline]
    pub fn take_back(&mut self, slot: u32, generation: u32) -> Result<(), PeerFault> {
        let Some(entry) = self.table.get_mut(slot as usize) else {
            return Err(PeerFault::ReturnedSlot { found: slot, bound: self.slot_count });
        };
        if entry.out == 0 {
            return Err(PeerFault::ReturnedTwice { slot, found: generation });
        }
        if entry.generation != generation {
            return Err(PeerFault::ReturnedGeneration { slot, found: generation, expected: entry.generation });
        }
        let slots = std::mem::take(&mut entry.out);
        self.release(slot, slots);
        Ok(())
    }

    /// Slots that are free.
    #[inline]
    pub fn free(&self) -> u32 {
        self.free_count
    }

    #[inline]
    fn release(&mut self, slot: u32, slots: u32) {
        self.free.set(slot, slots);
        self.free_count += slots;
    }

    #[inline]
    fn first(&self, class: Class) -> u32 {
        match class {
            Class::Item => 2 * self.reserve,
            Class::Request => self.reserve,
            Class::Reply | Class::Control => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A run that went to the receiver: its first slot and its generation.
    fn send(pool: &mut SlotPool, slots: u32, class: Class) -> Option<(u32, u32)> {
        let run = pool.allocate(slots, class)?;
        let sent = (run.slot, run.generation);
        pool.hand_over(run, slots);
        Some(sent)
    }

    #[test]
    fn requests_leave_the_reserve_alone() {
        let mut pool = SlotPool::new(16);
        assert_eq!((pool.reserve(), pool.run_slots_max(Class::Request), pool.run_slots_max(Class::Reply)), (2, 14, 16));
        let run = pool.allocate(14, Class::Request).unwrap();
        assert_eq!(run, OwnRun { slot: 2, generation: 1, slots: 14 });
        assert_eq!(pool.allocate(1, Class::Request), None);
        assert_eq!(pool.allocate(2, Class::Reply).unwrap().slot, 0);
        assert_eq!((pool.allocate(1, Class::Control), pool.free()), (None, 0));
        assert_eq!(
            (SlotPool::new(16).allocate(0, Class::Reply), SlotPool::new(16).allocate(17, Class::Reply)),
            (None, None)
        );
    }

    #[test]
    fn items_leave_twice_the_reserve_alone() {
        let mut pool = SlotPool::new(16);
        assert_eq!(pool.run_slots_max(Class::Item), 12);
        assert_eq!(SlotPool::new(64).run_slots_max(Class::Item), 48);
        assert_eq!(pool.allocate(12, Class::Item).unwrap().slot, 4);
        assert_eq!(pool.allocate(1, Class::Item), None);
        assert_eq!(pool.allocate(2, Class::Request).unwrap().slot, 2);
        assert_eq!(pool.allocate(2, Class::Reply).unwrap().slot, 0);
    }

    #[test]
    fn freed_slots_are_used_again_first() {
        let mut pool = SlotPool::new(64);
        let (first, generation) = send(&mut pool, 3, Class::Request).unwrap();
        send(&mut pool, 3, Class::Request).unwrap();
        pool.take_back(first, generation).unwrap();
        assert_eq!(send(&mut pool, 2, Class::Request), Some((first, generation + 1)));
    }

    #[test]
    fn a_run_that_was_given_up_was_a_generation_too() {
        let mut pool = SlotPool::new(16);
        let run = pool.allocate(3, Class::Reply).unwrap();
        assert_eq!((run.generation, pool.free()), (1, 13));
        pool.give_up(run);
        assert_eq!(pool.free(), 16);
        assert_eq!(pool.take_back(0, 1), Err(PeerFault::ReturnedTwice { slot: 0, found: 1 }));
        assert_eq!(send(&mut pool, 3, Class::Reply), Some((0, 2)));
    }

    #[test]
    fn a_run_that_was_not_handed_over_cannot_be_returned() {
        let mut pool = SlotPool::new(16);
        let run = pool.allocate(4, Class::Reply).unwrap();
        assert_eq!(pool.take_back(0, 1), Err(PeerFault::ReturnedTwice { slot: 0, found: 1 }));
        assert_eq!(pool.free(), 12);
        pool.hand_over(run, 3);
        assert_eq!(pool.free(), 13);
        pool.take_back(0, 1).unwrap();
        assert_eq!(pool.free(), 16);
    }

    #[test]
    fn false_returns_are_faults() {
        let mut pool = SlotPool::new(16);
        assert_eq!(send(&mut pool, 4, Class::Reply), Some((0, 1)));
        assert_eq!(pool.take_back(16, 1), Err(PeerFault::ReturnedSlot { found: 16, bound: 16 }));
        assert_eq!(pool.take_back(1, 1), Err(PeerFault::ReturnedTwice { slot: 1, found: 1 }));
        assert_eq!(pool.take_back(0, 2), Err(PeerFault::ReturnedGeneration { slot: 0, found: 2, expected: 1 }));
        assert_eq!(pool.free(), 12);
        pool.take_back(0, 1).unwrap();
        assert_eq!(pool.take_back(0, 1), Err(PeerFault::ReturnedTwice { slot: 0, found: 1 }));
        assert_eq!(pool.free(), 16);
    }

    proptest! {
        #[test]
        fn runs_never_overlap_and_all_come_back(ops in prop::collection::vec((1u32..20, 0..4, any::<usize>()), 0..200)) {
            let mut pool = SlotPool::new(100);
            let mut own: Vec<OwnRun> = Vec::new();
            let mut out: Vec<OwnRun> = Vec::new();
            for (slots, op, pick) in ops {
                if op == 0 && !out.is_empty() {
                    let run = out.swap_remove(pick % out.len());
                    pool.take_back(run.slot, run.generation).unwrap();
                } else if op == 1 && !own.is_empty() {
                    pool.give_up(own.swap_remove(pick % own.len()));
                } else if op == 2 && !own.is_empty() {
                    let run = own.swap_remove(pick % own.len());
                    let slots = slots.min(run.slots);
                    out.push(OwnRun { slots, ..run });
                    pool.hand_over(run, slots);
                } else if let Some(run) = pool.allocate(slots, Class::Reply) {
                    prop_assert!(run.slot + run.slots <= 100);
                    for other in own.iter().chain(&out) {
                        prop_assert!(run.slot + run.slots <= other.slot || other.slot + other.slots <= run.slot);
                    }
                    own.push(run);
                }
                prop_assert_eq!(pool.free() + own.iter().chain(&out).map(|run| run.slots).sum::<u32>(), 100);
            }
            for run in out {
                pool.take_back(run.slot, run.generation).unwrap();
            }
            own.into_iter().for_each(|run| pool.give_up(run));
            prop_assert_eq!(pool.allocate(100, Class::Reply).map(|run| run.slots), Some(100));
        }
    }
}
