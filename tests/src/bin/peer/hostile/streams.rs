//! Streams against their rules, and within them.

use rapace_core::descriptor::{Flags, FrameHeader, Kind, Verb};
use rapace_tests::method;
use rapace_tests::pattern::words;

use super::stops::stop;
use super::{answer, idle, raw_loop};
use crate::Failure;
use crate::raw::{Raw, answer_header, request_header};

/// The most credit there may be.
const CREDIT_MAX: u32 = i32::MAX.cast_unsigned();
/// What an item costs beside its bytes.
const ITEM_COST: u32 = 64;
const STREAMS: u32 = 32;

fn grant(raw: &mut Raw, request: &FrameHeader, credit: u32) {
    let header = FrameHeader { flags: Flags::CREDIT, credit, ..FrameHeader::control(Verb::Grant) };
    raw.send(&header, &request.channel.raw().to_le_bytes());
}

/// A frame of what goes beside a request.
fn beside(request: &FrameHeader, kind: Kind) -> FrameHeader {
    FrameHeader { kind, flags: Flags::NONE, depth: 0, credit: 0, ..*request }
}

fn open_with_items(raw: &mut Raw, index: u32) -> FrameHeader {
    let request = FrameHeader { flags: Flags::ITEMS, ..request_header(index, method::HOLD_ITEMS) };
    raw.send(&request, b"");
    request
}

pub(super) fn send_items_without_credit(raw: &mut Raw) -> Result<(), Failure> {
    let request = open_with_items(raw, 0);
    loop {
        raw.post(&beside(&request, Kind::Item), &[7; 24])?;
    }
}

pub(super) fn send_items_behind_the_end(raw: &mut Raw) -> Result<(), Failure> {
    let request = open_with_items(raw, 0);
    raw.send(&beside(&request, Kind::End), b"");
    raw.send(&beside(&request, Kind::Item), b"one more");
    idle(raw)
}

pub(super) fn overflow_credit(raw: &mut Raw) -> Result<(), Failure> {
    let header = request_header(0, method::HOLD_ITEMS);
    let request = FrameHeader { flags: Flags::CREDIT, credit: CREDIT_MAX, ..header };
    raw.send(&request, b"");
    grant(raw, &request, CREDIT_MAX);
    idle(raw)
}

pub(super) fn grant_nobody(raw: &mut Raw) -> Result<(), Failure> {
    let request = request_header(0, method::HOLD_ITEMS);
    raw.send(&request, b"");
    grant(raw, &request, 1000);
    idle(raw)
}

/// Some that want more items than there will ever be room for, and some that send none.
pub(super) fn open_and_leave(raw: &mut Raw) -> Result<(), Failure> {
    for index in 0..STREAMS {
        let credit = if index % 2 == 0 { CREDIT_MAX } else { 1 };
        let flags = Flags::CREDIT.with(Flags::ITEMS);
        let request = FrameHeader { flags, credit, ..request_header(index, method::SEND_ITEMS) };
        raw.wait_for_room()?;
        raw.send(&request, &words(&[u64::MAX, 100, 0]));
    }
    idle(raw)
}

pub(super) fn send_empty_items(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        for _ in 0..request.credit / ITEM_COST {
            raw.post(&answer_header(request, Kind::Item), b"")?;
        }
        // The items may fill the ring.
        raw.wait_for_room()?;
        answer(raw, request, b"");
        Ok(())
    })
}

pub(super) fn stop_amid_an_item(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        if request.credit > 0 {
            raw.send(&FrameHeader { flags: Flags::MORE, ..answer_header(request, Kind::Item) }, b"half an item");
            stop()?;
        }
        Ok(())
    })
}
