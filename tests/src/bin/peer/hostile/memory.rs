//! A half that does not hold still.

use std::ops::Range;
use std::thread;

use nix::fcntl::{FallocateFlags, fallocate};
use rapace_core::descriptor::Kind;
use rapace_core::fake::FakePeer;
use rapace_core::layout::{LINE_BYTES, PAGE_BYTES, header};

use super::slots::in_run;
use super::{answer, answer_all, raw_loop};
use crate::Failure;
use crate::raw::{Raw, answer_header};

/// Words that are written between two turns of the others.
const WORDS_AT_ONCE: usize = 256;
/// Bytes of the answers that change while they are read.
const CHANGING_BYTES: u32 = 512 << 10;

pub(super) fn scribble_everywhere(raw: &mut Raw, seed: u64) -> Result<(), Failure> {
    let bytes = raw.geometry().half_bytes();
    scribble(raw, 0..bytes, seed)?;
    answer_all(raw)
}

pub(super) fn scribble_in_the_header(raw: &mut Raw, seed: u64) -> Result<(), Failure> {
    scribble(raw, header::STATE..header::SLEEP + 8, seed)?;
    answer_all(raw)
}

pub(super) fn scribble_in_the_ring(raw: &mut Raw, seed: u64) -> Result<(), Failure> {
    let ring = raw.geometry().ring_offset()..raw.geometry().returns_offset();
    scribble(raw, ring, seed)?;
    answer_all(raw)
}

pub(super) fn scribble_in_the_returns(raw: &mut Raw, seed: u64) -> Result<(), Failure> {
    let returns = raw.geometry().returns_offset()..raw.geometry().slots_offset();
    scribble(raw, returns, seed)?;
    answer_all(raw)
}

pub(super) fn scribble_in_slots(raw: &mut Raw, seed: u64) -> Result<(), Failure> {
    let slots = raw.geometry().slots_offset()..raw.geometry().half_bytes();
    scribble(raw, slots, seed)?;
    answer_from_slots(raw)
}

/// Writes random words from another thread, for as long as the process lives.
fn scribble(raw: &Raw, place: Range<usize>, seed: u64) -> Result<(), Failure> {
    let mut random = Random(seed);
    hammer(raw, move |fake| {
        for _ in 0..WORDS_AT_ONCE {
            let word = place.start / 8 + random.below(place.len() / 8);
            // Small values too, as those are more often taken for something.
            let value = random.next() >> (8 * random.below(8));
            fake.store(8 * word, value);
        }
    })
}

/// Does something to the half from another thread, again and again.
fn hammer(raw: &Raw, mut strike: impl FnMut(&FakePeer) + Send + 'static) -> Result<(), Failure> {
    let fake = raw.twin()?;
    thread::spawn(move || {
        loop {
            strike(&fake);
            thread::yield_now();
        }
    });
    Ok(())
}

/// Answers each call with what lies in the slots.
fn answer_from_slots(raw: &mut Raw) -> Result<(), Failure> {
    let mut generation = 0;
    raw_loop(raw, |raw, request| {
        generation += 1;
        raw.publish(in_run(&answer_header(request, Kind::Reply), 0, generation, CHANGING_BYTES));
        Ok(())
    })
}

/// Changes answers while they are read: each of their bytes is 0x55 or 0xaa at any time.
pub(super) fn change_payloads(raw: &mut Raw) -> Result<(), Failure> {
    let words = raw.geometry().slots_offset()..raw.geometry().slots_offset() + CHANGING_BYTES as usize;
    for at in words.clone().step_by(8) {
        raw.fake.store(at, 0x5555_5555_5555_5555);
    }
    let mut turn = false;
    hammer(raw, move |fake| {
        turn = !turn;
        let word = if turn { 0xaaaa_aaaa_aaaa_aaaa } else { 0x55aa_55aa_55aa_55aa };
        words.clone().step_by(8).for_each(|at| fake.store(at, word));
    })?;
    answer_from_slots(raw)
}

/// Takes the pages of its slots away while they are read.
pub(super) fn punch_holes(raw: &mut Raw) -> Result<(), Failure> {
    let half = raw.halves.b.try_clone()?;
    let geometry = raw.geometry();
    let (from, bytes) = (geometry.slots_offset(), geometry.half_bytes() - geometry.slots_offset());
    let (from, bytes) = (i64::try_from(from)?, i64::try_from(bytes)?);
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&half, flags, from, bytes)?;
    hammer(raw, move |_| {
        // What works once works again.
        let _ = fallocate(&half, flags, from, bytes);
    })?;
    answer_from_slots(raw)
}

/// Changes lengths and kinds of descriptors that were published.
pub(super) fn tear_descriptors(raw: &mut Raw, seed: u64) -> Result<(), Failure> {
    let mut random = Random(seed);
    let entries = raw.geometry().ring_capacity() as usize;
    hammer(raw, move |fake| {
        for _ in 0..WORDS_AT_ONCE {
            let entry = PAGE_BYTES + LINE_BYTES * random.below(entries);
            let length = random.below(32) as u64;
            fake.store(entry + 24, length << 32);
            fake.store(entry + 32, 2 + random.next() % 2);
        }
    })?;
    raw_loop(raw, |raw, request| {
        answer(raw, request, b"twenty-four bytes inside");
        Ok(())
    })
}

/// A xorshift generator: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}
