//! Answers that nobody asked for, or not so.

use rapace_core::ChannelId;
use rapace_core::channel::{CHANNELS_MAX, ChannelGeneration};
use rapace_core::descriptor::{Flags, FrameHeader, Kind};
use rapace_core::side::Side;

use super::slots::in_run;
use super::{answer, raw_loop};
use crate::Failure;
use crate::raw::{Raw, answer_header};

pub(super) fn twice(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        answer(raw, request, b"once");
        answer(raw, request, b"twice");
        Ok(())
    })
}

pub(super) fn of_another_method(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        let header = answer_header(request, Kind::Reply);
        raw.send(&FrameHeader { method: request.method + 1, ..header }, b"");
        Ok(())
    })
}

/// Answers the first piece of a request.
pub(super) fn early(raw: &mut Raw) -> Result<(), Failure> {
    loop {
        let frame = raw.receive()?;
        if frame.kind == Kind::Request.raw() {
            answer(raw, &frame, b"");
        }
    }
}

pub(super) fn to_nobody(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        let channel = ChannelId::new(Side::A, CHANNELS_MAX - 1, ChannelGeneration::FIRST);
        raw.send(&FrameHeader { channel, ..answer_header(request, Kind::Reply) }, b"");
        Ok(())
    })
}

pub(super) fn with_items(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        raw.send(&answer_header(request, Kind::Item), b"an item");
        Ok(())
    })
}

/// Two MiB, in pieces that lie in the same slots.
pub(super) fn too_much(raw: &mut Raw) -> Result<(), Failure> {
    const PIECES: u32 = 32;
    let mut generation = 0;
    raw_loop(raw, |raw, request| {
        for piece in 1..=PIECES {
            generation += 1;
            let flags = if piece < PIECES { Flags::MORE } else { Flags::NONE };
            let header = FrameHeader { flags, ..answer_header(request, Kind::Reply) };
            raw.post_words(in_run(&header, 0, generation, 1 << 16))?;
        }
        Ok(())
    })
}

pub(super) fn without_end(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        let header = FrameHeader { flags: Flags::MORE, ..answer_header(request, Kind::Reply) };
        loop {
            raw.post(&header, &[7; 24])?;
        }
    })
}

/// Errors whose status does not parse, or whose code is none.
pub(super) fn in_no_language(raw: &mut Raw) -> Result<(), Failure> {
    let bodies: [&[u8]; 5] = [b"", &[5, 0, 0], &[0xff; 24], &[0; 8], &[3, 0, 0, 0, 4, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc]];
    let mut bodies = bodies.into_iter().cycle();
    raw_loop(raw, |raw, request| {
        raw.send(&answer_header(request, Kind::Error), bodies.next().unwrap_or_default());
        Ok(())
    })
}
