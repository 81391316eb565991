//! The calls that this side has in flight: an index and a generation each, no hashing (SPEC C1, C2, C7).

use std::task::Waker;

use rapace_core::Side;
use rapace_core::channel::{ChannelGeneration, ChannelId};
use rapace_core::descriptor::{Flags, Frame, Kind};
use rapace_core::link::Link;

use crate::body::Body;
use crate::error::CallError;
use crate::fault::Fault;
use crate::message::{Inbound, Room};
use crate::metadata::Metadata;
use crate::prefix;
use crate::status::Status;

/// A good end of a call.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The reply's body.
    pub body: Body,
    /// What came beside it.
    pub metadata: Metadata,
}

/// How a call ended.
pub(crate) type Outcome = Result<Reply, CallError>;

/// Names a call of this side until its outcome has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallKey {
    index: usize,
    generation: ChannelGeneration,
}

#[derive(Debug)]
struct Entry {
    generation: ChannelGeneration,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    InFlight(InFlight),
    /// Ended, and not taken yet; and the bytes that are kept for it.
    Done(Outcome, usize),
}

#[derive(Debug)]
struct InFlight {
    channel: ChannelId,
    method: u32,
    /// The final message, when some of its frames have come.
    begun: Option<Inbound>,
    waiter: Waiter,
}

#[derive(Debug)]
enum Waiter {
    /// Somebody waits, and may want to be woken.
    Here(Option<Waker>),
    /// Nobody waits any more, but the final is still to come.
    Gone,
}

/// The table of calls in flight.
#[derive(Debug)]
pub(crate) struct CallTable {
    side: Side,
    /// Indices below `calls_max` are those of channels; the one behind them is the lifecycle call on channel 0.
    entries: Vec<Entry>,
    free: Vec<usize>,
    calls_max: usize,
    in_flight: usize,
}

impl CallTable {
    pub(crate) fn new(side: Side, calls_max: u32) -> Self {
        let fresh = || Entry { generation: ChannelGeneration::FIRST, state: State::Free };
        let calls_max = calls_max as usize;
        Self {
            side,
            entries: (0..=calls_max).map(|_| fresh()).collect(),
            // The lowest is used first.
            free: (0..calls_max).rev().collect(),
            calls_max,
            in_flight: 0,
        }
    }

    /// Opens a call, if the peer takes one more.
    pub(crate) fn open(&mut self, method: u32) -> Option<(CallKey, ChannelId)> {
        let index = self.free.pop()?;
        Some(self.enter(index, method))
    }

    /// Opens the one call that may be in flight on channel 0.
    pub(crate) fn open_lifecycle(&mut self, method: u32) -> Option<(CallKey, ChannelId)> {
        let index = self.calls_max;
        matches!(self.entries[index].state, State::Free).then(|| self.enter(index, method))
    }

    fn enter(&mut self, index: usize, method: u32) -> (CallKey, ChannelId) {
        let entry = &mut self.entries[index];
        entry.generation = entry.generation.next();
        let channel = if index == self.calls_max {
            ChannelId::CONTROL
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "below calls_max, which is at most 4096")]
            let index = index as u32;
            ChannelId::new(self.side, index, entry.generation)
        };
        entry.state = State::InFlight(InFlight { channel, method, begun: None, waiter: Waiter::Here(None) });
        self.in_flight += 1;
        (CallKey { index, generation: entry.generation }, channel)
    }

    fn release(&mut self, index: usize) {
        self.entries[index].state = State::Free;
        self.in_flight -= 1;
        if index < self.calls_max {
            self.free.push(index);
        }
    }

    fn entry(&mut self, key: CallKey) -> Option<&mut Entry> {
        self.entries.get_mut(key.index).filter(|entry| entry.generation == key.generation)
    }

    /// Takes back a call of which nothing has been sent.
    pub(crate) fn unsend(&mut self, key: CallKey) {
        if self.entry(key).is_some_and(|entry| matches!(entry.state, State::InFlight(_))) {
            self.release(key.index);
        }
    }

    /// Nobody waits for this call any more. Gives its channel if it is still in flight, so that the peer must be told,
    /// and takes the bytes that were kept for it off `kept`.
    pub(crate) fn abandon(&mut self, key: CallKey, kept: &mut usize) -> Option<ChannelId> {
        match &mut self.entry(key)?.state {
            State::Free => None,
            State::InFlight(call) => {
                if let Some(begun) = &mut call.begun {
                    begun.drop_body(None, kept);
                }
                call.waiter = Waiter::Gone;
                Some(call.channel)
            }
            State::Done(_, bytes) => {
                *kept -= *bytes;
                self.release(key.index);
                None
            }
        }
    }

    /// The outcome of a call, once. Its bytes are taken off `kept`.
    pub(crate) fn take(&mut self, key: CallKey, kept: &mut usize) -> Option<Outcome> {
        let entry = self.entry(key)?;
        if !matches!(entry.state, State::Done(..)) {
            return None;
        }
        let State::Done(outcome, bytes) = std::mem::replace(&mut entry.state, State::Free) else { return None };
        *kept -= bytes;
        self.release(key.index);
        Some(outcome)
    }

    /// Who is to be woken when the call ends.
    pub(crate) fn set_waker(&mut self, key: CallKey, new: &Waker) {
        if let Some(Entry { state: State::InFlight(InFlight { waiter: Waiter::Here(waker), .. }), .. }) =
            self.entry(key)
        {
            match waker {
                Some(old) => old.clone_from(new),
                None => *waker = Some(new.clone()),
            }
        }
    }

    /// Calls that are in flight, or ended and not taken.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes a frame of a final message; gives who is to be woken if that ended a call.
    ///
    /// The payload has been taken or discarded, whatever comes back. `kept` is what all messages from the peer take.
    pub(crate) fn handle(
        &mut self,
        frame: Frame,
        link: &mut Link,
        room: Room,
        kept: &mut usize,
    ) -> Result<Option<Waker>, Fault> {
        let header = frame.header;
        let index = if header.channel.is_control() { self.calls_max } else { header.channel.index() };
        let Some(Entry { state: State::InFlight(call), .. }) =
            self.entries.get_mut(index).filter(|entry| entry.is_on(header.channel))
        else {
            link.discard(frame.payload);
            return Err(Fault::NoSuchCall { channel: header.channel.raw() });
        };
        if header.method != call.method {
            link.discard(frame.payload);
            let channel = header.channel.raw();
            return Err(Fault::FinalMethod { channel, found: header.method, expected: call.method });
        }
        let gone = matches!(call.waiter, Waiter::Gone);
        Inbound::take_frame(&mut call.begun, frame, link, room, gone, kept)?;
        if header.flags.has(Flags::MORE) {
            return Ok(None);
        }
        Ok(self.end(index, room, kept))
    }

    /// The last frame of a final message has come.
    fn end(&mut self, index: usize, room: Room, kept: &mut usize) -> Option<Waker> {
        let entry = &mut self.entries[index];
        let State::InFlight(InFlight { begun: Some(message), waiter, .. }) =
            std::mem::replace(&mut entry.state, State::Free)
        else {
            return None;
        };
        let Waiter::Here(waker) = waiter else {
            self.release(index);
            return None;
        };
        let bytes = message.heap_bytes();
        let outcome = outcome(message, room);
        // Only a reply keeps its bytes until it is taken.
        let bytes_kept = if outcome.is_ok() { bytes } else { 0 };
        *kept -= bytes - bytes_kept;
        entry.state = State::Done(outcome, bytes_kept);
        waker
    }

    /// Ends every call that is in flight, with the same error; gives who is to be woken.
    pub(crate) fn fail(&mut self, error: &CallError, wakers: &mut Vec<Waker>, kept: &mut usize) {
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            match std::mem::replace(&mut entry.state, State::Free) {
                State::InFlight(InFlight { waiter, begun, .. }) => {
                    *kept -= begun.map_or(0, |message| message.heap_bytes());
                    match waiter {
                        Waiter::Here(waker) => {
                            entry.state = State::Done(Err(error.clone()), 0);
                            wakers.extend(waker);
                        }
                        Waiter::Gone => self.release(index),
                    }
                }
                other => entry.state = other,
            }
        }
    }
}

impl Entry {
    fn is_on(&self, channel: ChannelId) -> bool {
        matches!(&self.state, State::InFlight(call) if call.channel == channel)
    }
}

fn outcome(message: Inbound, room: Room) -> Outcome {
    let (kind, flags) = (message.kind(), message.flags());
    let mut body = message.into_body().map_err(CallError::Status)?;
    let parsed = prefix::parse(flags, &mut body, room.metadata_bytes).map_err(CallError::Status)?;
    if kind == Kind::Error {
        return Err(CallError::Status(Status::decode(&body)));
    }
    Ok(Reply { body, metadata: parsed.metadata })
}
