//! A plugin that stops within a step: it neither goes on nor ends.

use nix::sys::signal::{Signal, raise};
use rapace_core::descriptor::{Flags, FrameHeader, Kind, Payload, encode};

use super::raw_loop;
use crate::Failure;
use crate::raw::{Raw, answer_header};

/// Stops until somebody lets it go on.
pub(super) fn stop() -> Result<(), Failure> {
    Ok(raise(Signal::SIGSTOP)?)
}

pub(super) fn amid_a_descriptor(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        let Payload::Inline(inline) = raw.payload(b"half") else { return Ok(()) };
        let words = encode(&answer_header(request, Kind::Reply), &Payload::Inline(inline));
        let at = raw.entry(raw.published() + 1);
        for (index, word) in words.into_iter().enumerate().take(4) {
            raw.fake.store(at + 8 * (index + 1), word);
        }
        stop()
    })
}

pub(super) fn amid_an_answer(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        raw.send(&FrameHeader { flags: Flags::MORE, ..answer_header(request, Kind::Reply) }, &[7; 5000]);
        stop()
    })
}

/// Stops with a run of the host that it has taken and not returned.
pub(super) fn with_slots(raw: &mut Raw) -> Result<(), Failure> {
    raw.returns_slots = false;
    raw_loop(raw, |_, request| if request.run.is_some() { stop() } else { Ok(()) })
}
