//! Calls that a plugin should not make.

use rapace_core::ChannelId;
use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Kind, Verb};
use rapace_core::side::Side;
use rapace_session::LIFECYCLE_METHODS;
use rapace_tests::method;
use rapace_tests::pattern::words;

use super::idle;
use crate::Failure;
use crate::raw::{Raw, request_header};

/// More than any host takes.
const MANY_CALLS: u32 = 4096;
const GENERATION_SHIFT: u32 = 13;

/// Makes a call again and again, each time when the last one has been answered.
fn call_again_and_again(
    raw: &mut Raw,
    header: &FrameHeader,
    mut request: impl FnMut(&mut Raw, &FrameHeader) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut generation = ChannelGeneration::FIRST;
    loop {
        let channel = ChannelId::new(Side::B, 0, generation);
        request(raw, &FrameHeader { channel, ..*header })?;
        loop {
            let frame = raw.receive()?;
            let is_final = frame.kind == Kind::Reply.raw() || frame.kind == Kind::Error.raw();
            if is_final && frame.channel == channel {
                break;
            }
        }
        generation = generation.next();
    }
}

pub(super) fn call_and_cancel(raw: &mut Raw) -> Result<(), Failure> {
    call_again_and_again(raw, &request_header(0, method::HOLD_ITEMS), |raw, header| {
        raw.send(header, b"");
        raw.send(&FrameHeader::control(Verb::Cancel), &header.channel.raw().to_le_bytes());
        Ok(())
    })
}

pub(super) fn call_too_much(raw: &mut Raw) -> Result<(), Failure> {
    for index in 0..MANY_CALLS {
        raw.post(&request_header(index, method::HOLD_ITEMS), b"")?;
    }
    idle(raw)
}

pub(super) fn call_on_a_busy_channel(raw: &mut Raw) -> Result<(), Failure> {
    let header = request_header(0, method::HOLD_ITEMS);
    raw.send(&header, b"");
    let channel = ChannelId::new(Side::B, 0, ChannelGeneration::FIRST.next());
    raw.send(&FrameHeader { channel, ..header }, b"");
    idle(raw)
}

pub(super) fn call_without_generation(raw: &mut Raw) -> Result<(), Failure> {
    let header = request_header(3, method::ECHO);
    let channel = ChannelId::from_raw(header.channel.raw() & ((1 << GENERATION_SHIFT) - 1));
    raw.send(&FrameHeader { channel, ..header }, b"");
    idle(raw)
}

pub(super) fn nest_too_deep(raw: &mut Raw) -> Result<(), Failure> {
    let header = FrameHeader { depth: u8::MAX, ..request_header(0, method::ECHO) };
    call_again_and_again(raw, &header, |raw, header| {
        raw.send(header, b"");
        Ok(())
    })
}

/// Answers each call by one that is deeper, and that the host answers by another.
pub(super) fn nest_without_end(raw: &mut Raw) -> Result<(), Failure> {
    let (mut index, mut generation) = (0, ChannelGeneration::FIRST);
    loop {
        let frame = raw.receive()?;
        if frame.kind != Kind::Request.raw() || frame.more {
            continue;
        }
        index = (index + 1) % 32;
        if index == 0 {
            generation = generation.next();
        }
        let channel = ChannelId::new(Side::B, index, generation);
        let depth = frame.depth.saturating_add(1);
        raw.send(&FrameHeader { channel, depth, ..request_header(index, method::NEST) }, &words(&[u64::MAX]));
    }
}

pub(super) fn send_pieces_without_end(raw: &mut Raw) -> Result<(), Failure> {
    let header = FrameHeader { flags: Flags::MORE, ..request_header(0, method::ECHO) };
    loop {
        raw.post(&header, &[7; 24])?;
    }
}

pub(super) fn send_empty_pieces(raw: &mut Raw) -> Result<(), Failure> {
    let header = FrameHeader { flags: Flags::MORE, ..request_header(0, method::ECHO) };
    raw.send(&header, b"");
    idle(raw)
}

pub(super) fn break_a_message_off(raw: &mut Raw) -> Result<(), Failure> {
    let header = FrameHeader { flags: Flags::MORE, ..request_header(0, method::ECHO) };
    raw.send(&header, b"one thing");
    raw.send(&FrameHeader { method: method::MARK, ..header }, b"and another");
    idle(raw)
}

/// Calls with these bytes for metadata, length and all.
pub(super) fn send_metadata(raw: &mut Raw, bytes: &[u8]) -> Result<(), Failure> {
    let header = FrameHeader { flags: Flags::METADATA, ..request_header(0, method::ECHO) };
    call_again_and_again(raw, &header, |raw, header| {
        raw.send(header, bytes);
        Ok(())
    })
}

pub(super) fn have_all_the_time(raw: &mut Raw) -> Result<(), Failure> {
    let header = FrameHeader { flags: Flags::DEADLINE, ..request_header(0, method::ECHO) };
    call_again_and_again(raw, &header, |raw, header| {
        raw.send(header, &u64::MAX.to_le_bytes());
        Ok(())
    })
}

pub(super) fn call_a_lifecycle_method(raw: &mut Raw) -> Result<(), Failure> {
    let header = request_header(0, LIFECYCLE_METHODS[0]);
    raw.send(&FrameHeader { channel: ChannelId::CONTROL, ..header }, b"");
    idle(raw)
}
