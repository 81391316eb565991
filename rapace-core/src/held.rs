//! The receiver's private table of the peer's slots that it holds (SPEC S4, D7, D8).

use crate::bitmap::Bitmap;
use crate::descriptor::Run;
use crate::fault::PeerFault;

/// Which of the peer's slots are held, and the last generation that was accepted for each.
#[derive(Debug)]
pub struct HeldSlots {
    held: Bitmap,
    generations: Vec<u32>,
    runs: u32,
    slots: u32,
    /// Those that are held for as long as somebody reads them in place.
    pinned: Bitmap,
    pinned_runs: u32,
}

impl HeldSlots {
    /// Nothing held, of `slot_count` slots.
    pub fn new(slot_count: u32) -> Self {
        Self {
            held: Bitmap::zeros(slot_count),
            generations: vec![0; slot_count as usize],
            runs: 0,
            slots: 0,
            pinned: Bitmap::zeros(slot_count),
            pinned_runs: 0,
        }
    }

    /// Takes hold of a run that lies within the half.
    ///
    /// # Errors
    ///
    /// D7 when one of its slots is held, D8 when its generation is not newer than the last one.
    #[inline]
    pub fn accept(&mut self, run: &Run) -> Result<(), PeerFault> {
        if let Some(held) = self.held.first_set(run.slot, run.slots) {
            return Err(PeerFault::Overlap { first: run.slot, count: run.slots, held });
        }
        let last = self.generations[run.slot as usize];
        if run.generation.wrapping_sub(last).cast_signed() <= 0 {
            return Err(PeerFault::Generation { slot: run.slot, found: run.generation, last });
        }
        self.generations[run.slot as usize] = run.generation;
        self.held.set(run.slot, run.slots);
        self.runs += 1;
        self.slots += run.slots;
        Ok(())
    }

    /// Lets go of a run that was accepted.
    ///
    /// # Panics
    ///
    /// When it is pinned.
    #[inline]
    pub fn release(&mut self, run: &Run) {
        debug_assert_eq!(self.held.first_clear(run.slot, run.slots), None, "released a run that was not held: {run:?}");
        assert!(!self.meets_pinned(run), "released a run that is read in place: {run:?}");
        self.held.clear(run.slot, run.slots);
        self.runs -= 1;
        self.slots -= run.slots;
    }

    /// Keeps a run from being released until it is unpinned.
    ///
    /// # Panics
    ///
    /// When it is not held, or is pinned already.
    pub fn pin(&mut self, run: &Run) {
        let is_held = self.generations[run.slot as usize] == run.generation
            && self.held.first_clear(run.slot, run.slots).is_none();
        assert!(is_held, "reads a run in place that is not held: {run:?}");
        assert!(!self.meets_pinned(run), "reads a run in place twice: {run:?}");
        self.pinned.set(run.slot, run.slots);
        self.pinned_runs += 1;
    }

    /// Ends a pin.
    pub fn unpin(&mut self, run: &Run) {
        self.pinned.clear(run.slot, run.slots);
        self.pinned_runs -= 1;
    }

    /// Runs that are held.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// Slots that are held.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    #[inline]
    fn meets_pinned(&self, run: &Run) -> bool {
        self.pinned_runs > 0 && self.pinned.first_set(run.slot, run.slots).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(slot: u32, slots: u32, generation: u32) -> Run {
        Run { slot, generation, offset: 0, payload_bytes: slots * 64, slots }
    }

    #[test]
    fn an_overlapping_run_is_a_fault() {
        let mut held = HeldSlots::new(128);
        held.accept(&run(60, 8, 1)).unwrap();
        for (first, count) in [(60, 8), (59, 2), (67, 1), (63, 1), (0, 128)] {
            let fault = held.accept(&run(first, count, 5)).unwrap_err();
            assert_eq!(fault.rule(), "D7");
            assert!(matches!(fault, PeerFault::Overlap { held: 60..=67, .. }), "{fault}");
        }
        held.accept(&run(59, 1, 1)).unwrap();
        held.accept(&run(68, 60, 1)).unwrap();
        assert_eq!((held.runs(), held.slots()), (3, 69));
        held.release(&run(60, 8, 1));
        assert_eq!((held.runs(), held.slots()), (2, 61));
    }

    #[test]
    fn a_pinned_run_is_released_behind_its_pin() {
        let mut held = HeldSlots::new(128);
        let (pinned, other) = (run(60, 8, 1), run(68, 2, 1));
        held.accept(&pinned).unwrap();
        held.accept(&other).unwrap();
        held.pin(&pinned);
        held.release(&other);
        held.unpin(&pinned);
        held.release(&pinned);
        assert_eq!((held.runs(), held.slots()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "released a run that is read in place")]
    fn a_pinned_run_is_not_released() {
        let mut held = HeldSlots::new(128);
        held.accept(&run(60, 8, 1)).unwrap();
        held.pin(&run(60, 8, 1));
        held.release(&run(60, 8, 1));
    }

    #[test]
    fn only_a_held_run_is_pinned_and_once() {
        let check = |pinned: Run, message: &str| {
            let result = std::panic::catch_unwind(|| {
                let mut held = HeldSlots::new(128);
                held.accept(&run(60, 8, 2)).unwrap();
                held.accept(&run(10, 2, 1)).unwrap();
                held.pin(&run(10, 2, 1));
                held.pin(&pinned);
            });
            let text = *result.unwrap_err().downcast::<String>().unwrap();
            assert!(text.starts_with(message), "{text}");
        };
        for other in [run(60, 9, 2), run(59, 2, 0), run(60, 8, 1), run(0, 1, 0)] {
            check(other, "reads a run in place that is not held");
        }
        check(run(10, 2, 1), "reads a run in place twice");
    }

    #[test]
    fn a_replayed_generation_is_a_fault() {
        let mut held = HeldSlots::new(16);
        let seven = run(3, 1, 7);
        held.accept(&seven).unwrap();
        held.release(&seven);
        for generation in [7, 6, 0, 7u32.wrapping_sub(1 << 31)] {
            let fault = held.accept(&run(3, 1, generation)).unwrap_err();
            assert_eq!(fault, PeerFault::Generation { slot: 3, found: generation, last: 7 });
        }
        held.accept(&run(3, 1, 8)).unwrap();
        assert_eq!(held.runs(), 1);
    }

    #[test]
    fn generations_wrap() {
        let mut held = HeldSlots::new(16);
        for generation in [i32::MAX as u32, u32::MAX - 1, 3] {
            let next = run(0, 2, generation);
            held.accept(&next).unwrap();
            held.release(&next);
        }
    }
}
