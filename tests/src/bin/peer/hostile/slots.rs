//! Payloads that lie where they should not.

use rapace_core::descriptor::{BODY_WORDS, FrameHeader, Kind, Payload, Run, encode};

use super::raw_loop;
use crate::Failure;
use crate::raw::{Raw, answer_header};

/// A descriptor of a payload in slots.
pub(super) fn in_run(header: &FrameHeader, slot: u32, generation: u32, payload_bytes: u32) -> [u64; BODY_WORDS] {
    // How many slots it takes is for the host to compute.
    encode(header, &Payload::Slots(Run { slot, generation, offset: 0, payload_bytes, slots: 1 }))
}

/// Answers all calls from one slot, of one generation.
pub(super) fn replay(raw: &mut Raw) -> Result<(), Failure> {
    answer_from(raw, 5, 100)
}

/// Answers all calls with so many bytes from this slot on, of generation 1.
pub(super) fn answer_from(raw: &mut Raw, slot: u32, payload_bytes: u32) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        raw.publish(in_run(&answer_header(request, Kind::Reply), slot, 1, payload_bytes));
        Ok(())
    })
}

/// Answers all calls with half of the slots, each time from another one on.
pub(super) fn overlap(raw: &mut Raw) -> Result<(), Failure> {
    let mut generation = 0;
    let (slots, slot_bytes) = (raw.geometry().slot_count(), raw.geometry().slot_bytes());
    raw_loop(raw, |raw, request| {
        generation += 1;
        let header = answer_header(request, Kind::Reply);
        raw.publish(in_run(&header, generation % (slots / 2), generation, slots / 4 * slot_bytes));
        Ok(())
    })
}
