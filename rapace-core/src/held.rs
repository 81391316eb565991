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
}

impl HeldSlots {
    /// Nothing held, of `slot_count` slots.
    pub fn new(slot_count: u32) -> Self {
        Self { held: Bitmap::zeros(slot_count), generations: vec![0; slot_count as usize], runs: 0 }
    }

    /// Takes hold of a run that lies within the half.
    ///
    /// # Errors
    ///
    /// D7 when one of its slots is held, D8 when its generation is not newer than the last one.
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
        Ok(())
    }

    /// Lets go of a run that was accepted.
    pub fn release(&mut self, run: &Run) {
        debug_assert_eq!(self.held.first_clear(run.slot, run.slots), None, "released a run that was not held: {run:?}");
        self.held.clear(run.slot, run.slots);
        self.runs -= 1;
    }

    /// Runs that are held.
    pub fn runs(&self) -> u32 {
        self.runs
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
        assert_eq!(held.runs(), 3);
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
