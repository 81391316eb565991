//! Handshakes that should not be.

use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, send};
use rapace_core::descriptor::{Flags, FrameHeader, Verb};
use rapace_core::socket::{REFUSAL_KIND, Socket};
use rapace_session::Hello;

use super::stops::stop;
use super::{answer_all, begin, idle};
use crate::Failure;
use crate::raw::{Raw, hello};

/// The kind of an offer, which only a host sends.
const OFFER_KIND: u8 = 2;
const OFFER_BYTES: usize = 64;

fn hello_with(flags: Flags) -> FrameHeader {
    FrameHeader { flags, ..FrameHeader::control(Verb::Hello) }
}

pub(super) fn say_hello_without_end() -> Result<(), Failure> {
    let mut raw = Raw::accept()?;
    loop {
        raw.post(&hello_with(Flags::MORE), &[0; 4096])?;
    }
}

pub(super) fn say_hello_in_nothing() -> Result<(), Failure> {
    let mut raw = Raw::accept()?;
    loop {
        raw.post(&hello_with(Flags::MORE), b"")?;
    }
}

/// Refuses the offer with these bytes for a text.
pub(super) fn refuse(text: &[u8]) -> Result<(), Failure> {
    let socket = Socket::from_stdin()?;
    let message = [&[REFUSAL_KIND, 9, 0, 0, 0], text].concat();
    send(socket.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL)?;
    socket.wait(None, None)?;
    // The offer is there; the end follows.
    loop {
        if socket.drain(1).map_or(true, |drained| drained.ended) {
            return Ok(());
        }
        socket.wait(None, None)?;
    }
}

pub(super) fn offer_back() -> Result<(), Failure> {
    let raw = Raw::accept()?;
    let mut offer = [0; OFFER_BYTES];
    offer[0] = OFFER_KIND;
    send(raw.fake.socket.as_raw_fd(), &offer, MsgFlags::MSG_NOSIGNAL)?;
    idle(&raw)
}

pub(super) fn stop_behind_the_offer() -> Result<(), Failure> {
    let raw = Raw::accept()?;
    stop()?;
    idle(&raw)
}

pub(super) fn stop_amid_the_hello() -> Result<(), Failure> {
    let mut raw = Raw::accept()?;
    let bytes = hello().encode()?;
    raw.send(&hello_with(Flags::MORE), &bytes[..bytes.len() / 2]);
    stop()?;
    idle(&raw)
}

pub(super) fn stop_behind_the_hello() -> Result<(), Failure> {
    let mut raw = Raw::accept()?;
    raw.send(&FrameHeader::control(Verb::Hello), &hello().encode()?);
    stop()?;
    idle(&raw)
}

pub(super) fn claim_to_take_nothing() -> Result<(), Failure> {
    let least = Hello { max_message_bytes: 1, max_metadata_bytes: 0, max_calls: 1, max_depth: 1, ..hello() };
    let mut raw = Raw::open_with(&least)?;
    begin(&mut raw)?;
    answer_all(&mut raw)
}
