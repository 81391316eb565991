//! The rules D2 to D9, once more and in the plainest way: what a receiver has to make of a descriptor.
//!
//! SPEC does not say which of several broken rules is to be named, so the oracle names all of them.

use std::ops::Range;

use rapace_core::{Geometry, Side};

use crate::fields::{
    CONTROL, CREDIT, DEADLINE, END, ERROR, Fields, ITEM, ITEMS, METADATA, MORE, REPLY, REQUEST, parity,
};

/// The receiver of one direction, as it ought to be.
#[derive(Debug)]
pub(crate) struct Oracle {
    sender: Side,
    slot_count: u32,
    slot_bytes: u32,
    held: Vec<bool>,
    /// The last generation that was accepted for a run that begins with this slot.
    newest: Vec<u32>,
}

impl Oracle {
    pub(crate) fn new(sender: Side, geometry: &Geometry) -> Self {
        let slots = geometry.slot_count() as usize;
        Self {
            sender,
            slot_count: geometry.slot_count(),
            slot_bytes: geometry.slot_bytes(),
            held: vec![false; slots],
            newest: vec![0; slots],
        }
    }

    /// Every rule that the descriptor breaks.
    pub(crate) fn broken(&self, fields: &Fields) -> Vec<&'static str> {
        let payload = if fields.is_inline() { Self::broken_inline(fields) } else { self.broken_run(fields) };
        let credit = (fields.credit != 0 && !fields.has(CREDIT)).then_some("D9");
        let header = [("D2", breaks_d2(fields)), ("D3", self.breaks_d3(fields)), ("D4", self.breaks_d4(fields))];
        let header = header.into_iter().filter_map(|(rule, broken)| broken.then_some(rule));
        header.chain(payload).chain(credit).collect()
    }

    fn breaks_d3(&self, fields: &Fields) -> bool {
        match (fields.kind(), fields.channel == 0) {
            (CONTROL, control_channel) => !control_channel || !(1..=9).contains(&fields.method),
            (REQUEST, true) => self.sender != Side::A,
            (REPLY | ERROR, true) => self.sender != Side::B,
            (ITEM | END, control_channel) => control_channel,
            _ => false,
        }
    }

    fn breaks_d4(&self, fields: &Fields) -> bool {
        let opener = match fields.kind() {
            REQUEST => self.sender,
            REPLY | ERROR => self.sender.peer(),
            _ => return false,
        };
        if fields.channel == 0 { opener != Side::A } else { fields.channel % 2 != parity(opener) }
    }

    fn broken_inline(fields: &Fields) -> Vec<&'static str> {
        let fits = fields.length <= 24 && fields.generation == 0 && fields.offset == 0;
        if fits { Vec::new() } else { vec!["D5"] }
    }

    fn broken_run(&self, fields: &Fields) -> Vec<&'static str> {
        let mut broken = Vec::new();
        match self.run(fields) {
            None => broken.push("D6"),
            Some(run) if self.held[run.clone()].contains(&true) => broken.push("D7"),
            Some(_) => {}
        }
        if let Some(newest) = self.newest.get(fields.slot as usize) {
            // The difference as a signed number is above 0: it is in the lower half of all, and not 0.
            let ahead = fields.generation.wrapping_sub(*newest);
            if ahead == 0 || ahead >= 1 << 31 {
                broken.push("D8");
            }
        }
        broken
    }

    /// The slots that a payload touches, if D6 allows it.
    pub(crate) fn run(&self, fields: &Fields) -> Option<Range<usize>> {
        let (slot, offset, length) = (u64::from(fields.slot), u64::from(fields.offset), u64::from(fields.length));
        let (slot_bytes, slot_count) = (u64::from(self.slot_bytes), u64::from(self.slot_count));
        let begin = slot * slot_bytes + offset;
        let sound = length >= 1 && slot < slot_count && offset % 8 == 0 && offset < slot_bytes;
        if !sound || begin + length > slot_count * slot_bytes {
            return None;
        }
        let last = (begin + length - 1) / slot_bytes;
        Some(fields.slot as usize..usize::try_from(last).ok()? + 1)
    }

    /// Takes note of an accepted descriptor.
    pub(crate) fn enter(&mut self, fields: &Fields) {
        if !fields.is_inline()
            && let Some(run) = self.run(fields)
        {
            self.newest[run.start] = fields.generation;
            self.held[run].fill(true);
        }
    }

    /// Takes note of a returned run.
    pub(crate) fn leave(&mut self, run: Range<usize>) {
        self.held[run].fill(false);
    }

    /// A generation that D8 allows for a run that begins with this slot.
    pub(crate) fn next_generation(&self, slot: u32) -> u32 {
        self.newest.get(slot as usize).map_or(1, |newest| newest.wrapping_add(1))
    }
}

fn breaks_d2(fields: &Fields) -> bool {
    let kind = fields.kind();
    let reserved = fields.flags & 0x00FF_FF00 != 0;
    let deadline = fields.has(DEADLINE) && kind != REQUEST;
    let metadata = fields.has(METADATA) && !matches!(kind, REQUEST | REPLY | ERROR);
    let more = fields.has(MORE) && kind == END;
    let credit = fields.has(CREDIT) && !matches!(kind, REQUEST | CONTROL);
    let items = fields.has(ITEMS) && kind != REQUEST;
    let depth = (kind == REQUEST) != (fields.depth() >= 1);
    kind > END || reserved || deadline || metadata || more || credit || items || depth
}
