//! More than anybody has use for. All of it is allowed, but for the bells.

use std::hint;

use rapace_core::ChannelId;
use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Kind, Verb};
use rapace_core::layout::header;
use rapace_core::side::Side;
use rapace_session::{Code, Status};
use rapace_tests::method;

use crate::Failure;
use crate::raw::{Raw, request_header};

/// Calls that are in flight at once.
const CALLS: u32 = 32;

/// Sends a frame without end.
fn flood(raw: &mut Raw, header: &FrameHeader, bytes: &[u8]) -> Result<(), Failure> {
    loop {
        raw.post(header, bytes)?;
    }
}

pub(super) fn pings(raw: &mut Raw) -> Result<(), Failure> {
    flood(raw, &FrameHeader::control(Verb::Ping), &[7; 8])
}

pub(super) fn pongs(raw: &mut Raw) -> Result<(), Failure> {
    flood(raw, &FrameHeader::control(Verb::Pong), &[7; 8])
}

pub(super) fn cancels(raw: &mut Raw) -> Result<(), Failure> {
    let channel = request_header(3, method::ECHO).channel;
    flood(raw, &FrameHeader::control(Verb::Cancel), &channel.raw().to_le_bytes())
}

pub(super) fn grants(raw: &mut Raw) -> Result<(), Failure> {
    let channel = request_header(3, method::ECHO).channel;
    let header = FrameHeader { flags: Flags::CREDIT, credit: 1, ..FrameHeader::control(Verb::Grant) };
    flood(raw, &header, &channel.raw().to_le_bytes())
}

/// The host's handler has credit, and sends nothing.
pub(super) fn credit(raw: &mut Raw) -> Result<(), Failure> {
    let request = FrameHeader { flags: Flags::CREDIT, credit: 1, ..request_header(0, method::HOLD_ITEMS) };
    raw.send(&request, b"");
    let header = FrameHeader { flags: Flags::CREDIT, credit: 1, ..FrameHeader::control(Verb::Grant) };
    flood(raw, &header, &request.channel.raw().to_le_bytes())
}

pub(super) fn go_aways(raw: &mut Raw) -> Result<(), Failure> {
    let status = Status::new(Code::Unavailable, "away").encode();
    flood(raw, &FrameHeader::control(Verb::GoAway), &status)
}

pub(super) fn ends(raw: &mut Raw) -> Result<(), Failure> {
    flood(raw, &FrameHeader { kind: Kind::End, depth: 0, ..request_header(3, method::ECHO) }, b"")
}

/// One bell for each of the host's sleeps, and no frame.
pub(super) fn ring_at_each_sleep(raw: &mut Raw) -> Result<(), Failure> {
    let mut last = 0;
    for look in 0_u64.. {
        let word = raw.fake.load(header::SLEEP);
        if word & 1 != 0 && word != last {
            last = word;
            raw.ring();
        }
        if look % 1024 == 0 {
            raw.check_host()?;
        }
        hint::spin_loop();
    }
    Ok(())
}

pub(super) fn ring_without_end(raw: &mut Raw) -> Result<(), Failure> {
    loop {
        raw.ring();
        raw.check_host()?;
    }
}

/// Calls of what the host does not have, many at once.
pub(super) fn unknown_methods(raw: &mut Raw) -> Result<(), Failure> {
    let mut generation = ChannelGeneration::FIRST;
    loop {
        for index in 0..CALLS {
            let channel = ChannelId::new(Side::B, index, generation);
            raw.wait_for_room()?;
            raw.send(&FrameHeader { channel, ..request_header(index, method::UNKNOWN) }, b"");
        }
        for _ in 0..CALLS {
            while raw.receive()?.kind != Kind::Error.raw() {}
        }
        generation = generation.next();
    }
}
