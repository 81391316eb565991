//! The other end of a link: one that keeps the rules until it is told to lie.
//!
//! It is written from SPEC sections 6 to 8 alone, on raw loads and stores. So whatever it can send, the link must take
//! as it was sent; and what it reads, it holds against the oracle.

use std::ops::Range;

use rapace_core::fake::FakePeer;
use rapace_core::layout::header;
use rapace_core::{Geometry, Side};

use crate::fields::{Fields, ITEM, REQUEST, number};
use crate::oracle::Oracle;

/// A peer that keeps the rules, and can lie.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) fake: FakePeer,
    pub(crate) side: Side,
    pub(crate) geometry: Geometry,
    published: u64,
    /// Own slots that are with the link, and the runs that they are in.
    used: Vec<bool>,
    out: Vec<(Range<usize>, u32)>,
    generations: Vec<u32>,
    returns_read: u64,
    /// Frames of the link that were taken.
    pub(crate) taken: u64,
    /// Runs of the link that are here.
    held: Vec<(Range<usize>, u32)>,
    oracle: Oracle,
    returns_written: u64,
    epoch_rung: u64,
    /// Whether it has broken a rule, so that the link owes it nothing any more.
    pub(crate) lied: bool,
    /// Whether it has returned what it did not hold, so that the link may use slots again that are here.
    pub(crate) forged: bool,
    /// Whether the return that is due names nothing that was ever sent here, as far as has been taken.
    pub(crate) false_return: bool,
}

/// A frame of the link.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(fake: FakePeer, side: Side) -> Self {
        let geometry = *fake.geometry();
        let slots = geometry.slot_count() as usize;
        Self {
            fake,
            side,
            geometry,
            published: 0,
            used: vec![false; slots],
            out: Vec::new(),
            generations: vec![0; slots],
            returns_read: 0,
            taken: 0,
            held: Vec::new(),
            oracle: Oracle::new(side.peer(), &geometry),
            returns_written: 0,
            epoch_rung: 0,
            lied: false,
            forged: false,
            false_return: false,
        }
    }

    /// Sends a frame with this payload, if there is room for it now.
    pub(crate) fn send(&mut self, frame: Fields, payload: &[u8]) -> bool {
        if self.published.saturating_sub(self.fake.load(header::CONSUMED)) >= self.geometry.ring_capacity().into() {
            return false;
        }
        if payload.len() <= 24 {
            self.publish(frame.with_inline(payload));
            return true;
        }
        self.read_returns();
        let slots = payload.len().div_ceil(self.geometry.slot_bytes() as usize);
        let free = |from: &usize| self.used[*from..].len() >= slots && !self.used[*from..from + slots].contains(&true);
        let kept = self.kept(frame.kind());
        // Above what is kept for replies if it can, as a link does; where it cannot, nobody is wronged but itself.
        let Some(first) = (kept..self.used.len()).chain(0..kept).find(free) else { return false };
        let slot = number(first);
        let generation = self.next_generation(slot);
        self.used[first..first + slots].fill(true);
        self.out.push((first..first + slots, generation));
        self.fake.write_slot(slot, payload);
        self.publish(Fields { slot, generation, offset: 0, length: number(payload.len()), ..frame });
        true
    }

    /// Publishes any words as the next descriptor.
    pub(crate) fn publish(&mut self, fields: Fields) {
        let entry = self.entry();
        for (index, word) in fields.words().into_iter().enumerate() {
            self.fake.store(entry + 8 * (index + 1), word);
        }
        self.published += 1;
        self.fake.store(entry, self.published);
    }

    /// Stores any word where the sequence number of the next descriptor is due.
    pub(crate) fn store_sequence(&mut self, ahead: u64) {
        self.fake.store(self.entry(), self.published.wrapping_add(ahead));
    }

    /// Frames that were sent.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    fn entry(&self) -> usize {
        self.geometry.ring_offset() + 64 * index(self.published, self.geometry.ring_capacity())
    }

    /// A generation for a run that begins with this slot.
    pub(crate) fn next_generation(&mut self, slot: u32) -> u32 {
        let Some(generation) = self.generations.get_mut(slot as usize) else { return 1 };
        *generation = generation.wrapping_add(1);
        *generation
    }

    /// Takes back the runs that the link has returned.
    pub(crate) fn read_returns(&mut self) {
        loop {
            let (at, lap) = self.return_place(self.returns_read);
            let [a, b, c, found_lap, generation @ ..] = self.fake.load(at).to_le_bytes();
            if found_lap != lap {
                return;
            }
            self.returns_read += 1;
            let slot = u32::from_le_bytes([a, b, c, 0]) as usize;
            let generation = u32::from_le_bytes(generation);
            let run = self.out.iter().position(|(run, given)| (run.start, *given) == (slot, generation));
            assert!(run.is_some() || self.lied, "slot {slot} of generation {generation} was returned, but is not out");
            if let Some(run) = run {
                let (run, _) = self.out.swap_remove(run);
                self.used[run].fill(false);
            }
        }
    }

    /// Runs that are with the link.
    pub(crate) fn runs_out(&self) -> usize {
        self.out.len()
    }

    /// Takes the link's next frame, if there is one. Its payload is copied; its slots are returned later.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let fields = Fields::from_words(&self.fake.take()?);
        self.taken += 1;
        if !self.forged {
            let broken = self.oracle.broken(&fields);
            assert!(broken.is_empty(), "the link broke {broken:?} with {fields:?}");
        }
        if fields.is_inline() {
            return Some(Taken { fields, body: fields.inline_bytes() });
        }
        let run = self.oracle.run(&fields).expect("the link sends runs within its half");
        let kept = self.kept(fields.kind());
        assert!(run.start >= kept, "S3: kind {} in slot {}, below {kept}", fields.kind(), run.start);
        self.oracle.enter(&fields);
        let body = self.read(run.start, &fields);
        self.held.push((run, fields.generation));
        Some(Taken { fields, body })
    }

    /// Takes the link's next frame as it is, while the link may be writing another over it, and returns its slots at once.
    pub(crate) fn take_unjudged(&mut self) -> Option<Fields> {
        let fields = Fields::from_words(&self.fake.take()?);
        self.taken += 1;
        if !fields.is_inline() {
            self.store_return(0, fields.slot & 0x00FF_FFFF, fields.generation);
            self.returns_written += 1;
        }
        Some(fields)
    }

    /// Slots that frames of a kind leave to others (SPEC S3).
    fn kept(&self, kind: u32) -> usize {
        let reserve = (self.geometry.slot_count() as usize / 8).max(1);
        match kind {
            ITEM => 2 * reserve,
            REQUEST => reserve,
            _ => 0,
        }
    }

    fn read(&self, slot: usize, fields: &Fields) -> Vec<u8> {
        let at = self.geometry.slots_offset() + slot * self.geometry.slot_bytes() as usize + fields.offset as usize;
        let length = fields.length as usize;
        let mut bytes = Vec::with_capacity(length + 8);
        (0..length.div_ceil(8)).for_each(|word| bytes.extend(self.fake.load(at + 8 * word).to_le_bytes()));
        bytes.truncate(length);
        bytes
    }

    /// Returns one of the link's runs that are here; says whether there was one.
    pub(crate) fn give_back(&mut self, which: u8) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let (run, generation) = self.held.swap_remove(usize::from(which) % self.held.len());
        self.oracle.leave(run.clone());
        self.store_return(0, number(run.start), generation);
        self.returns_written += 1;
        true
    }

    /// The first slot and the generation of one of the link's runs that are here.
    pub(crate) fn held(&self, which: u8) -> Option<(u32, u32)> {
        let (run, generation) = self.held.get(usize::from(which) % self.held.len().max(1))?;
        Some((number(run.start), *generation))
    }

    /// Stores any return, `ahead` of the one that is due.
    pub(crate) fn forge_return(&mut self, ahead: u8, slot: u32, generation: u32) {
        let slot = slot & 0x00FF_FFFF;
        let is_held = self.held.iter().any(|(run, held)| (number(run.start), *held) == (slot, generation));
        self.false_return = !self.forged && ahead == 0 && !is_held;
        self.forged = true;
        self.store_return(ahead.into(), slot, generation);
    }

    fn store_return(&mut self, ahead: u64, slot: u32, generation: u32) {
        let (at, lap) = self.return_place(self.returns_written + ahead);
        self.fake.store(at, u64::from(slot) | u64::from(lap) << 24 | u64::from(generation) << 32);
    }

    /// Stores any word before the slots.
    pub(crate) fn store_word(&mut self, word: u16, value: u64) {
        let at = 8 * usize::from(word) % self.geometry.slots_offset();
        self.forged |= at >= self.geometry.returns_offset();
        self.fake.store(at, value);
    }

    /// Where a return lies in either ring, and its lap.
    fn return_place(&self, number: u64) -> (usize, u8) {
        let capacity = self.geometry.return_capacity();
        let at = self.geometry.returns_offset() + 8 * index(number, capacity);
        let [lap, ..] = (number / u64::from(capacity) + 1).to_le_bytes();
        (at, lap)
    }

    /// Rings the link if it sleeps and has not been rung for that.
    pub(crate) fn ring(&mut self) {
        let sleep = self.fake.load(header::SLEEP);
        let epoch = sleep >> 2;
        if sleep & 1 == 1 && epoch != self.epoch_rung {
            self.epoch_rung = epoch;
            let _ = self.fake.socket.ring();
        }
    }
}

/// Index in a ring of the item behind `count` others.
fn index(count: u64, capacity: u32) -> usize {
    usize::try_from(count % u64::from(capacity)).expect("a ring fits the memory")
}
