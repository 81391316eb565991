//! The calls that this side has in flight: an index and a generation each, no hashing (SPEC C1, C2, C7).

mod items;
mod listed;
#[cfg(all(test, feature = "tokio", feature = "fault-injection"))]
mod tests;

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use rapace_core::Side;
use rapace_core::channel::{ChannelGeneration, ChannelId};
use rapace_core::descriptor::{Flags, Frame, Kind};
use rapace_core::link::Link;

use crate::body::Body;
use crate::error::{CallError, SessionEnd};
use crate::fault::Fault;
use crate::flow::{Flows, Inflow, Streams, set_waker};
use crate::message::{Inbound, Room};
use crate::metadata::Metadata;
use crate::observe::MethodCounts;
use crate::status::{Code, Status};
use crate::tally::{End, Ended, Tally};

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
    streams: Streams,
    /// The final message, when some of its frames have come.
    begun: Option<Box<Inbound>>,
    /// Who waits for it; nobody does once the call was given up, though its final is still to come.
    ticket: Option<usize>,
}

/// One that waits for an outcome. It outlives the channel, which is free for the next call when the final has come.
#[derive(Debug)]
struct Ticket {
    serial: u64,
    state: Wait,
    /// When whoever waits without a thread of its own is to look at the clock.
    deadline: Option<Instant>,
    /// Its items, if it streams any. Those that have come before the final are taken behind it.
    flows: Option<Box<Flows>>,
    method: u32,
    request_bytes: u32,
    timed: bool,
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
    /// Whether a channel was freed since somebody asked.
    freed: bool,
    tickets: Vec<Ticket>,
    free_tickets: Vec<usize>,
    serial: u64,
    /// Calls with items on their way in.
    receiving: usize,
    /// What is counted of calls, if anything is.
    tally: Option<Box<Tally>>,
}

impl CallTable {
    /// What is kept for a call beside its bytes and its streams. Lists that have grown may be half empty.
    pub(crate) const BYTES_EACH: usize =
        size_of::<Channel>() + size_of::<usize>() + 2 * (size_of::<Ticket>() + size_of::<usize>());

    pub(crate) fn new(side: Side, calls_max: u32) -> Self {
        let calls_max = calls_max as usize;
        Self {
            side,
            channels: (0..=calls_max).map(|_| Channel { generation: ChannelGeneration::FIRST, call: None }).collect(),
            // The lowest is used first.
            free: (0..calls_max).rev().collect(),
            calls_max,
            in_flight: 0,
            freed: false,
            tickets: Vec::new(),
            free_tickets: Vec::new(),
            serial: 0,
            receiving: 0,
            tally: None,
        }
    }

    /// Calls are counted from now on.
    pub(crate) fn observe(&mut self, tally: Tally) {
        self.tally = Some(Box::new(tally));
    }

    /// Opens a call with a body of so many bytes, if the peer takes one more.
    #[inline]
    pub(crate) fn open(
        &mut self,
        method: u32,
        bytes: usize,
        flows: Option<Box<Flows>>,
    ) -> Option<(CallKey, ChannelId)> {
        let index = self.free.pop()?;
        Some(self.enter(index, method, bytes, flows))
    }

    /// Opens the one call that may be in flight on channel 0.
    pub(crate) fn open_lifecycle(&mut self, method: u32, bytes: usize) -> Option<(CallKey, ChannelId)> {
        let index = self.calls_max;
        self.channels[index].call.is_none().then(|| self.enter(index, method, bytes, None))
    }

    #[inline]
    fn enter(&mut self, index: usize, method: u32, bytes: usize, flows: Option<Box<Flows>>) -> (CallKey, ChannelId) {
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
        let streams = flows.as_ref().map_or_else(Streams::default, |flows| Streams {
            sends: flows.outflow.is_some(),
            receives: flows.inflow.is_some(),
        });
        self.receiving += usize::from(streams.receives);
        let place = self.free_tickets.pop().unwrap_or_else(|| {
            self.tickets.push(Ticket::free());
            self.tickets.len() - 1
        });
        // A free one owns nothing.
        let ticket = &mut self.tickets[place];
        ticket.serial = self.serial;
        ticket.state = Wait::Waiting(index, None);
        ticket.deadline = None;
        ticket.flows = flows;
        // A message has at most 2^31 bytes.
        (ticket.method, ticket.request_bytes) = (method, u32::try_from(bytes).unwrap_or(u32::MAX));
        if let Some(tally) = &mut self.tally {
            ticket.timed = tally.begin(place);
        }
        self.channels[index].call = Some(InFlight { channel, method, streams, begun: None, ticket: Some(place) });
        self.in_flight += 1;
        (CallKey { ticket: place, serial: self.serial }, channel)
    }

    /// The call on a channel has ended: the next one may use it.
    #[inline]
    fn free_channel(&mut self, index: usize) -> Option<InFlight> {
        let call = self.channels[index].call.take()?;
        self.in_flight -= 1;
        self.freed = true;
        if index < self.calls_max {
            self.free.push(index);
        }
        Some(call)
    }

    fn index(&self, channel: ChannelId) -> usize {
        if channel.is_control() { self.calls_max } else { channel.index() }
    }

    #[inline]
    fn free_ticket(&mut self, place: usize, kept: &mut usize, spent: &mut Vec<Waker>) -> Wait {
        self.free_tickets.push(place);
        if let Some(mut flows) = self.tickets[place].flows.take() {
            spent.extend(flows.wakers());
            if let Some(inflow) = flows.inflow {
                *kept -= inflow.kept_bytes();
                self.receiving -= 1;
            }
        }
        std::mem::replace(&mut self.tickets[place].state, Wait::Free)
    }

    fn wait(&mut self, key: CallKey) -> Option<&mut Wait> {
        self.tickets.get_mut(key.ticket).filter(|ticket| ticket.serial == key.serial).map(|ticket| &mut ticket.state)
    }

    /// Takes back a call of which nothing has been sent, though a peer that guesses may have answered it.
    pub(crate) fn unsend(&mut self, key: CallKey, link: &mut Link, kept: &mut usize, spent: &mut Vec<Waker>) {
        let channel = self.let_go(key, link, kept, spent);
        self.free_unsent(channel);
    }

    /// The channel of a call of which nothing was sent is free at once.
    pub(crate) fn free_unsent(&mut self, channel: Option<ChannelId>) {
        if let Some(channel) = channel {
            self.free_channel(self.index(channel));
        }
    }

    /// Nobody waits for this call any more, and this is how it has ended if it had not before. Gives its channel if it is still
    /// in flight, so that the peer must be told, and takes the bytes that were kept for it off `kept`.
    pub(crate) fn abandon(
        &mut self,
        key: CallKey,
        end: End,
        link: &mut Link,
        kept: &mut usize,
        spent: &mut Vec<Waker>,
    ) -> Option<ChannelId> {
        if let Some(Wait::Waiting(..)) = self.wait(key) {
            self.count(key.ticket, end, 0);
        }
        self.let_go(key, link, kept, spent)
    }

    fn let_go(&mut self, key: CallKey, link: &mut Link, kept: &mut usize, spent: &mut Vec<Waker>) -> Option<ChannelId> {
        if matches!(self.wait(key)?, Wait::Free) {
            return None;
        }
        match self.free_ticket(key.ticket, kept, spent) {
            Wait::Free => None,
            Wait::Waiting(index, waker) => {
                spent.extend(waker);
                let call = self.channels[index].call.as_mut()?;
                call.ticket = None;
                if let Some(begun) = &mut call.begun {
                    begun.drop_body(None, kept);
                }
                Some(call.channel)
            }
            Wait::Done(outcome, bytes) => {
                *kept -= bytes;
                if let Ok(reply) = outcome {
                    reply.body.discard(link);
                }
                None
            }
        }
    }

    /// The outcome of a call, once. Its bytes are taken off `kept`.
    #[inline]
    pub(crate) fn take(&mut self, key: CallKey, kept: &mut usize, spent: &mut Vec<Waker>) -> Option<Outcome> {
        let Wait::Done(_, bytes) = *self.wait(key)? else { return None };
        *kept -= bytes;
        match self.free_ticket(key.ticket, kept, spent) {
            Wait::Done(outcome, _) => Some(outcome),
            _ => None,
        }
    }

    /// Whether the outcome can be taken.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_outcome(&self, key: CallKey) -> bool {
        let ticket = self.tickets.get(key.ticket).filter(|ticket| ticket.serial == key.serial);
        ticket.is_some_and(|ticket| matches!(ticket.state, Wait::Done(..)))
    }

    /// Whether the peer has answered, and that can be taken.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn has_answer(&self, key: CallKey) -> bool {
        let ticket = self.tickets.get(key.ticket).filter(|ticket| ticket.serial == key.serial);
        ticket.is_some_and(|ticket| matches!(ticket.state, Wait::Done(Ok(_) | Err(CallError::Status(_)), _)))
    }

    /// Who is to be woken when the call ends; at once, if it has: a fault may have ended it since its outcome was asked for.
    pub(crate) fn set_waker(&mut self, key: CallKey, new: &Waker, wakes: &mut Vec<Waker>, spent: &mut Vec<Waker>) {
        match self.wait(key) {
            Some(Wait::Waiting(_, waker)) => set_waker(waker, new, spent),
            Some(Wait::Done(..)) => wakes.push(new.clone()),
            Some(Wait::Free) | None => {}
        }
    }

    /// When those who wait for a call are to be woken at the latest.
    pub(crate) fn set_deadline(&mut self, key: CallKey, deadline: Instant) {
        if let Some(ticket) = self.tickets.get_mut(key.ticket).filter(|ticket| ticket.serial == key.serial) {
            ticket.deadline = Some(deadline);
        }
    }

    /// Wakes those whose deadline has come; gives the next deadline.
    pub(crate) fn expire(&mut self, now: Instant, wakes: &mut Vec<Waker>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for ticket in &mut self.tickets {
            let (Wait::Waiting(_, waker), Some(deadline)) = (&mut ticket.state, ticket.deadline) else { continue };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            ticket.deadline = None;
            wakes.extend(waker.take());
            if let Some(flows) = &mut ticket.flows {
                wakes.extend(flows.wakers());
            }
        }
        next
    }

    /// Whether a channel was freed since this was last asked.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// The call on a channel, if it is in flight.
    fn call(&mut self, channel: ChannelId) -> Option<&mut InFlight> {
        let index = self.index(channel);
        self.channels.get_mut(index)?.call.as_mut().filter(|call| call.channel == channel)
    }

    /// Ends a call for whoever waits for it, before its final; gives its channel, of which the peer is to be told.
    pub(crate) fn fail_one(
        &mut self,
        key: CallKey,
        error: CallError,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) -> Option<ChannelId> {
        let Wait::Waiting(index, _) = *self.wait(key)? else { return None };
        let call = self.channels[index].call.as_mut()?;
        call.ticket = None;
        let channel = call.channel;
        if let Some(begun) = &mut call.begun {
            begun.drop_body(None, kept);
        }
        self.resolve(key.ticket, Err(error), 0, 0, wakes);
        Some(channel)
    }

    /// The same for a call of which nothing has been sent, so that its channel is free at once.
    pub(crate) fn fail_unsent(&mut self, key: CallKey, error: CallError, kept: &mut usize, wakes: &mut Vec<Waker>) {
        let channel = self.fail_one(key, error, kept, wakes);
        self.free_unsent(channel);
    }

    /// Whether somebody waits for the call on a channel.
    #[cfg(test)]
    pub(crate) fn is_wanted(&self, channel: ChannelId) -> bool {
        let call = self.channels[self.index(channel)].call.as_ref();
        call.is_some_and(|call| call.channel == channel && call.ticket.is_some())
    }

    /// Calls that are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes a frame of a final message; `wakes` gets who is to be woken if that ended a call.
    ///
    /// The payload has been taken or discarded, whatever comes back. `refusing` is why the peer takes no more calls, if it
    /// does not, and `kept` what all messages from it take.
    pub(crate) fn handle(
        &mut self,
        frame: Frame,
        link: &mut Link,
        room: Room,
        refusing: Option<&Status>,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) -> Result<(), Fault> {
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
        let inflow = call.ticket.and_then(|place| self.tickets[place].flows.as_ref()?.inflow.as_ref());
        if inflow.is_some_and(Inflow::is_within_item) {
            link.discard(frame.payload);
            let (channel, found, expected) = (header.channel.raw(), header.kind.raw(), Kind::Item.raw());
            return Err(Fault::BrokenMessage { channel, field: "kind", found, expected });
        }
        if call.begun.is_none() && call.ticket.is_some() && Inbound::is_plain(&frame, room, *kept) {
            let length = frame.payload.bytes();
            let body = Body::of(&frame, link);
            let place = self.free_channel(index).and_then(|call| call.ticket);
            if let Some(place) = place {
                let bytes = body.heap_bytes();
                *kept += bytes;
                let outcome = ended(header.kind, body, Metadata::new(), refusing);
                self.resolve(place, outcome, length, bytes, wakes);
            }
            return Ok(());
        }
        let unwanted = call.ticket.is_none();
        Inbound::take_frame(&mut call.begun, frame, link, room, unwanted, kept)?;
        if !header.flags.has(Flags::MORE) {
            self.end(index, link, room, refusing, kept, wakes);
        }
        Ok(())
    }

    /// The last frame of a final message has come.
    fn end(
        &mut self,
        index: usize,
        link: &mut Link,
        room: Room,
        refusing: Option<&Status>,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) {
        // The frames of a call that was given up have not been kept.
        let Some(InFlight { begun: Some(message), ticket: Some(place), .. }) = self.free_channel(index) else { return };
        let bytes = message.heap_bytes();
        let outcome = outcome(*message, link, room, refusing);
        let beside = outcome.as_ref().map_or(0, |reply| reply.metadata.heap_bytes());
        *kept += beside;
        let length = outcome.as_ref().map_or(0, |reply| reply.body.len());
        self.resolve(place, outcome, length, bytes + beside, wakes);
    }

    /// Gives one that waits its outcome, a reply of this length if it is one, for which so many bytes are kept; `wakes` gets
    /// who is to be woken.
    #[inline]
    fn resolve(&mut self, place: usize, outcome: Outcome, length: usize, bytes: usize, wakes: &mut Vec<Waker>) {
        if self.tally.is_some() {
            match &outcome {
                Ok(_) => self.count(place, End::OK, length),
                Err(error) => self.count(place, End::of(error.code()), 0),
            }
        }
        let ticket = &mut self.tickets[place];
        if let Wait::Waiting(_, waker) = std::mem::replace(&mut ticket.state, Wait::Done(outcome, bytes)) {
            wakes.extend(waker);
        }
        if let Some(flows) = &mut ticket.flows {
            wakes.extend(flows.wakers());
        }
    }

    /// A call has ended, with a reply of so many bytes.
    #[inline]
    fn count(&mut self, place: usize, end: End, reply_bytes: usize) {
        let Some(tally) = &mut self.tally else { return };
        let ticket = &self.tickets[place];
        let (request_bytes, items) = ticket.bytes();
        let (reply_bytes, timed) = (items + reply_bytes as u64, ticket.timed.then_some(place));
        tally.ended(ticket.method, Ended { end, request_bytes, reply_bytes, timed });
    }

    /// What has been counted.
    pub(crate) fn counts(&mut self) -> Vec<MethodCounts> {
        let waiting = self.tickets.iter().filter(|ticket| matches!(ticket.state, Wait::Waiting(..)));
        let in_flight = waiting.map(|ticket| {
            let (request_bytes, reply_bytes) = ticket.bytes();
            (ticket.method, request_bytes, reply_bytes)
        });
        self.tally.as_mut().map_or_else(Vec::new, |tally| tally.counts(in_flight))
    }

    /// Ends every call that is in flight, with the session. Requests on the channels in `unsent` have not been sent to their
    /// ends; `wakes` gets who is to be woken.
    pub(crate) fn fail(
        &mut self,
        end: &Arc<SessionEnd>,
        unsent: &[ChannelId],
        wakes: &mut Vec<Waker>,
        kept: &mut usize,
    ) {
        for index in 0..self.channels.len() {
            let Some(InFlight { begun, ticket, channel, .. }) = self.free_channel(index) else { continue };
            *kept -= begun.map_or(0, |message| message.heap_bytes());
            if let Some(place) = ticket {
                let error = CallError::SessionEnded { end: Arc::clone(end), sent: !unsent.contains(&channel) };
                self.resolve(place, Err(error), 0, 0, wakes);
            }
        }
    }
}

impl Ticket {
    /// One that nobody has.
    fn free() -> Self {
        Self { serial: 0, state: Wait::Free, deadline: None, flows: None, method: 0, request_bytes: 0, timed: false }
    }

    /// Bytes of the request, and of the items each way.
    #[inline]
    fn bytes(&self) -> (u64, u64) {
        let request = self.request_bytes.into();
        self.flows.as_ref().map_or((request, 0), |flows| (request + flows.sent(), flows.received()))
    }
}

fn outcome(message: Inbound, link: &mut Link, room: Room, refusing: Option<&Status>) -> Outcome {
    let kind = message.kind();
    let (body, parsed) = message.complete(room, link).map_err(CallError::Status)?;
    ended(kind, body, parsed.metadata, refusing)
}

/// What a final of this kind says.
#[inline]
fn ended(kind: Kind, body: Body, metadata: Metadata, refusing: Option<&Status>) -> Outcome {
    if kind == Kind::Error {
        return Err(failed(&body, refusing));
    }
    Ok(Reply { body, metadata })
}

/// What an error of the peer says.
#[cold]
fn failed(body: &Body, refusing: Option<&Status>) -> CallError {
    let status = Status::decode(body);
    // A call that has crossed `GO_AWAY` is answered with its reason, and not run (SPEC X3).
    match refusing.filter(|reason| status == Status { code: Code::Unavailable, ..(*reason).clone() }) {
        Some(reason) => CallError::Refused { reason: reason.clone() },
        None => CallError::Status(status),
    }
}
