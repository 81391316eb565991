//! What a plugin says of itself, and what it does not do.

use std::thread;

use rapace_core::descriptor::{FrameHeader, Verb};
use rapace_core::layout::header;
use rapace_session::{Code, Status};

use super::{answer_all, idle};
use crate::Failure;
use crate::raw::Raw;

const ACTIVE: u64 = 1;
/// Turns between two looks whether the host is there.
const TURNS: u64 = 1000;

pub(super) fn never_read(raw: &mut Raw) -> Result<(), Failure> {
    idle(raw)
}

pub(super) fn beat_without_progress(raw: &mut Raw) -> Result<(), Failure> {
    spin(raw, |raw, turn| {
        raw.fake.store(header::STATE, ACTIVE);
        raw.fake.store(header::HEARTBEAT, turn);
    })
}

pub(super) fn spin_silently(raw: &mut Raw) -> Result<(), Failure> {
    raw.fake.store(header::STATE, ACTIVE);
    spin(raw, |_, _| {})
}

pub(super) fn jump(raw: &mut Raw) -> Result<(), Failure> {
    spin(raw, |raw, turn| raw.fake.store(header::STATE, turn % 4))
}

pub(super) fn say_none(raw: &mut Raw) -> Result<(), Failure> {
    raw.fake.store(header::STATE, 9);
    answer_all(raw)
}

pub(super) fn close_and_go_on(raw: &mut Raw) -> Result<(), Failure> {
    let status = Status::new(Code::Unavailable, "bye").encode();
    raw.send(&FrameHeader::control(Verb::Close), &status);
    for _ in 0..10 {
        raw.post(&FrameHeader::control(Verb::Ping), &[1; 8])?;
    }
    spin(raw, |raw, turn| raw.fake.store(header::HEARTBEAT, turn))
}

/// Does something again and again, until the host goes.
fn spin(raw: &mut Raw, mut turn: impl FnMut(&mut Raw, u64)) -> Result<(), Failure> {
    for number in 0.. {
        turn(raw, number);
        if number % TURNS == 0 {
            raw.check_host()?;
        }
        thread::yield_now();
    }
    Ok(())
}
