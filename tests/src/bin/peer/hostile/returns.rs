//! Slots of the host that come back wrongly, or never.

use super::{answer, answer_all, raw_loop};
use crate::Failure;
use crate::raw::Raw;

pub(super) fn return_nothing(raw: &mut Raw) -> Result<(), Failure> {
    raw.give_back(9, 1);
    answer_all(raw)
}

pub(super) fn return_twice(raw: &mut Raw) -> Result<(), Failure> {
    return_as(raw, |raw, slot, generation| (0..2).for_each(|_| raw.give_back(slot, generation)))
}

pub(super) fn return_another_generation(raw: &mut Raw) -> Result<(), Failure> {
    return_as(raw, |raw, slot, generation| raw.give_back(slot, generation + 1))
}

pub(super) fn return_a_lap_ahead(raw: &mut Raw) -> Result<(), Failure> {
    raw.store_return(1 << 32 | 77 << 24);
    answer_all(raw)
}

pub(super) fn never_return(raw: &mut Raw) -> Result<(), Failure> {
    return_as(raw, |_, _, _| {})
}

/// Returns each run in this way.
fn return_as(raw: &mut Raw, mut give_back: impl FnMut(&mut Raw, u32, u32)) -> Result<(), Failure> {
    raw.returns_slots = false;
    raw_loop(raw, |raw, request| {
        if let Some((slot, generation)) = request.run {
            give_back(raw, slot, generation);
        }
        answer(raw, request, b"");
        Ok(())
    })
}
