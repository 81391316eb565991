//! Cursors that jump.

use rapace_core::descriptor::Kind;

use super::{answer, idle, raw_loop};
use crate::Failure;
use crate::raw::Raw;

/// Pieces of requests behind which the host has looked at the progress.
const PIECES: u32 = 20;

/// Stores another sequence where a message is due, instead of an answer. `sequence` hears what is due, and how long a lap
/// is.
pub(super) fn store(raw: &mut Raw, sequence: impl Fn(u64, u64) -> u64) -> Result<(), Failure> {
    raw_loop(raw, |raw, _| {
        let (due, lap) = (raw.published() + 1, u64::from(raw.geometry().ring_capacity()));
        raw.store_sequence(sequence(due, lap));
        Ok(())
    })
}

/// Announces another progress than it has made, and takes nothing more.
pub(super) fn announce(raw: &mut Raw, progress: u64) -> Result<(), Failure> {
    // The host looks at the progress when it has much to send, and so has seen more than 1.
    let mut pieces = 0;
    while pieces < PIECES {
        let frame = raw.receive()?;
        pieces += u32::from(frame.more);
        if frame.kind == Kind::Request.raw() && !frame.more {
            answer(raw, &frame, b"");
        }
    }
    raw.fake.announce(progress);
    raw.wake();
    idle(raw)
}
