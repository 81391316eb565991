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
    ticket: usize,
    serial: u64,
}

/// A channel index, and the call on it.
#[derive(Debug)]
struct Channel {
    generation: ChannelGeneration,
    call: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    channel: ChannelId,
    method: u32,
    /// The final message, when some of its frames have come.
    begun: Option<Inbound>,
    /// Who waits for it; nobody does once the call was given up, though its final is still to come.
    ticket: Option<usize>,
}

/// One that waits for an outcome. It outlives the channel, which is free for the next call when the final has come.
#[derive(Debug)]
struct Ticket {
    serial: u64,
    state: Wait,
}

#[derive(Debug)]
enum Wait {
    Free,
    /// For the call on the channel of this index.
    Waiting(usize, Option<Waker>),
    /// Until it is taken; and the bytes that are kept for it.
    Done(Outcome, usize),
}

/// The table of calls in flight, and of those who wait for them.
#[derive(Debug)]
pub(crate) struct CallTable {
    side: Side,
    /// Indices below `calls_max` are those of channels; the one behind them is the lifecycle call on channel 0.
    channels: Vec<Channel>,
    free: Vec<usize>,
    calls_max: usize,
    in_flight: usize,
    tickets: Vec<Ticket>,
    free_tickets: Vec<usize>,
    serial: u64,
}

impl CallTable {
    pub(crate) fn new(side: Side, calls_max: u32) -> Self {
        let calls_max = calls_max as usize;
        Self {
            side,
            channels: (0..=calls_max).map(|_| Channel { generation: ChannelGeneration::FIRST, call: None }).collect(),
            // The lowest is used first.
            free: (0..calls_max).rev().collect(),
            calls_max,
            in_flight: 0,
            tickets: Vec::new(),
            free_tickets: Vec::new(),
            serial: 0,
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
        self.channels[index].call.is_none().then(|| self.enter(index, method))
    }

    fn enter(&mut self, index: usize, method: u32) -> (CallKey, ChannelId) {
        let entry = &mut self.channels[index];
        entry.generation = entry.generation.next();
        let channel = if index == self.calls_max {
            ChannelId::CONTROL
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "below calls_max, which is at most 4096")]
            let index = index as u32;
            ChannelId::new(self.side, index, entry.generation)
        };
        self.serial += 1;
        let ticket = Ticket { serial: self.serial, state: Wait::Waiting(index, None) };
        let place = match self.free_tickets.pop() {
            Some(place) => {
                self.tickets[place] = ticket;
                place
            }
            None => {
                self.tickets.push(ticket);
                self.tickets.len() - 1
            }
        };
        self.channels[index].call = Some(InFlight { channel, method, begun: None, ticket: Some(place) });
        self.in_flight += 1;
        (CallKey { ticket: place, serial: self.serial }, channel)
    }

    /// The call on a channel has ended: the next one may use it.
    fn free_channel(&mut self, index: usize) -> Option<InFlight> {
        let call = self.channels[index].call.take()?;
        self.in_flight -= 1;
        if index < self.calls_max {
            self.free.push(index);
        }
        Some(call)
    }

    fn index(&self, channel: ChannelId) -> usize {
        if channel.is_control() { self.calls_max } else { channel.index() }
    }

    fn free_ticket(&mut self, place: usize) -> Wait {
        self.free_tickets.push(place);
        std::mem::replace(&mut self.tickets[place].state, Wait::Free)
    }

    fn wait(&mut self, key: CallKey) -> Option<&mut Wait> {
        self.tickets.get_mut(key.ticket).filter(|ticket| ticket.serial == key.serial).map(|ticket| &mut ticket.state)
    }

    /// Takes back a call of which nothing has been sent, though a peer that guesses may have answered it.
    pub(crate) fn unsend(&mut self, key: CallKey, kept: &mut usize) {
        if let Some(channel) = self.abandon(key, kept) {
            self.free_channel(self.index(channel));
        }
    }

    /// Nobody waits for this call any more. Gives its channel if it is still in flight, so that the peer must be told,
    /// and takes the bytes that were kept for it off `kept`.
    pub(crate) fn abandon(&mut self, key: CallKey, kept: &mut usize) -> Option<ChannelId> {
        self.wait(key)?;
        match self.free_ticket(key.ticket) {
            Wait::Free => None,
            Wait::Waiting(index, _) => {
                let call = self.channels[index].call.as_mut()?;
                call.ticket = None;
                if let Some(begun) = &mut call.begun {
                    begun.drop_body(None, kept);
                }
                Some(call.channel)
            }
            Wait::Done(_, bytes) => {
                *kept -= bytes;
                None
            }
        }
    }

    /// The outcome of a call, once. Its bytes are taken off `kept`.
    pub(crate) fn take(&mut self, key: CallKey, kept: &mut usize) -> Option<Outcome> {
        if !matches!(self.wait(key)?, Wait::Done(..)) {
            return None;
        }
        let Wait::Done(outcome, bytes) = self.free_ticket(key.ticket) else { return None };
        *kept -= bytes;
        Some(outcome)
    }

    /// Who is to be woken when the call ends.
    pub(crate) fn set_waker(&mut self, key: CallKey, new: &Waker) {
        if let Some(Wait::Waiting(_, waker)) = self.wait(key) {
            match waker {
                Some(old) => old.clone_from(new),
                None => *waker = Some(new.clone()),
            }
        }
    }

    /// Calls that are in flight.
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
        let index = self.index(header.channel);
        let call = self.channels.get_mut(index).and_then(|entry| entry.call.as_mut());
        let Some(call) = call.filter(|call| call.channel == header.channel) else {
            link.discard(frame.payload);
            return Err(Fault::NoSuchCall { channel: header.channel.raw() });
        };
        if header.method != call.method {
            link.discard(frame.payload);
            let channel = header.channel.raw();
            return Err(Fault::FinalMethod { channel, found: header.method, expected: call.method });
        }
        let unwanted = call.ticket.is_none();
        Inbound::take_frame(&mut call.begun, frame, link, room, unwanted, kept)?;
        if header.flags.has(Flags::MORE) {
            return Ok(None);
        }
        Ok(self.end(index, room, kept))
    }

    /// The last frame of a final message has come.
    fn end(&mut self, index: usize, room: Room, kept: &mut usize) -> Option<Waker> {
        let InFlight { begun, ticket, .. } = self.free_channel(index)?;
        let (message, place) = (begun?, ticket?);
        let bytes = message.heap_bytes();
        let outcome = outcome(message, room);
        let beside = outcome.as_ref().map_or(0, |reply| reply.metadata.heap_bytes());
        *kept += beside;
        self.resolve(place, outcome, bytes + beside)
    }

    /// Gives one that waits its outcome.
    fn resolve(&mut self, place: usize, outcome: Outcome, bytes: usize) -> Option<Waker> {
        match std::mem::replace(&mut self.tickets[place].state, Wait::Done(outcome, bytes)) {
            Wait::Waiting(_, waker) => waker,
            Wait::Free | Wait::Done(..) => None,
        }
    }

    /// Ends every call that is in flight, with the same error; gives who is to be woken.
    pub(crate) fn fail(&mut self, error: &CallError, wakers: &mut Vec<Waker>, kept: &mut usize) {
        for index in 0..self.channels.len() {
            let Some(InFlight { begun, ticket, .. }) = self.free_channel(index) else { continue };
            *kept -= begun.map_or(0, |message| message.heap_bytes());
            if let Some(place) = ticket {
                wakers.extend(self.resolve(place, Err(error.clone()), 0));
            }
        }
    }
}

fn outcome(message: Inbound, room: Room) -> Outcome {
    let kind = message.kind();
    let (body, parsed) = message.complete(room).map_err(CallError::Status)?;
    if kind == Kind::Error {
        return Err(CallError::Status(Status::decode(&body)));
    }
    Ok(Reply { body, metadata: parsed.metadata })
}
