//! The protocol above frames, as a state machine: no thread, no clock, no system call.
//!
//! Frames, calls and replies go in; frames go out through the link that is handed in, outcomes wait in the tables, and
//! [`Machine::wakes`] says who is to be woken. A driver does the rest: see `session.rs`.

mod control;
mod counts;
mod streams;

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rapace_core::descriptor::{Flags, Frame, FrameHeader, Kind, Verb};
use rapace_core::link::{Link, Loan, SendRefusal};
use rapace_core::slots::Class;
use rapace_core::{PeerFault, Side};

use crate::calls::{CallKey, CallTable, Outcome};
use crate::condition::CallsInFlight;
use crate::error::{CallError, SessionEnd};
use crate::fault::{Fault, FaultPolicy};
use crate::flow::{Flows, Inflow, Outflow, Streams};
use crate::hello::{Features, PeerInfo};
use crate::limits::Limits;
use crate::message::Room;
use crate::metadata::Metadata;
use crate::outbox::{Outbox, Ticket};
use crate::prefix::Prefix;
use crate::served::{Arrived, ServedKey, ServedTable, Step};
use crate::status::{Code, Status};
use crate::tally::End;

/// A request of this side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: u32,
    pub(crate) body: &'a [u8],
    pub(crate) metadata: &'a Metadata,
    /// What the peer is told of the time left.
    pub(crate) time_left: Option<Duration>,
    /// How deep in a chain of nested calls it is, from 1.
    pub(crate) depth: u32,
    /// Whether it travels on channel 0.
    pub(crate) lifecycle: bool,
    /// What goes beside it. A lifecycle call has none.
    pub(crate) streams: Streams,
    /// Whether another session may take it.
    pub(crate) by_slot: bool,
}

/// Why a request was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// There is no room at present: in the ring, in the slots, in the outbox, or in the peer's table.
    Full,
    /// It never will be.
    Failed(CallError),
}

pub(crate) use streams::{Sent, StreamKey};

/// The state of an open session.
#[derive(Debug)]
pub(crate) struct Machine {
    side: Side,
    limits: Limits,
    peer: Arc<PeerInfo>,
    calls: CallTable,
    served: ServedTable,
    outbox: Outbox,
    /// Bytes of messages from the peer that are kept.
    kept: usize,
    /// Pongs that wait in the outbox.
    pongs: u32,
    /// Why no more calls may be opened.
    refusing: Option<Status>,
    /// Why calls that another session may take are to go there.
    retired: Option<Status>,
    /// Whether the peer has been told to open no more calls.
    going_away: Option<Status>,
    policy: FaultPolicy,
    faults: u32,
    /// Requests that were larger than is taken.
    requests_refused: u64,
    /// Requests that were one too many.
    calls_refused: u64,
    end: Option<Arc<SessionEnd>>,
    /// What was in flight when it ended, until somebody takes note of it.
    last_calls: Option<Box<(CallsInFlight, CallsInFlight)>>,
    wakes: Vec<Waker>,
    /// Streams that wait for room, to be woken when there is some.
    wait_for_room: Vec<StreamKey>,
    items_sent: u64,
    /// Items that a stream may send before others have a turn.
    share: u32,
    cancel_numbers: u64,
    /// Wakers that nobody needs any more, to be dropped behind the lock.
    spent: Vec<Waker>,
}

impl Machine {
    pub(crate) fn new(side: Side, limits: Limits, peer: Arc<PeerInfo>, policy: FaultPolicy) -> Self {
        Self {
            side,
            calls: CallTable::new(side, peer.calls_max),
            served: ServedTable::new(limits.calls_max),
            limits,
            peer,
            outbox: Outbox::default(),
            kept: 0,
            pongs: 0,
            refusing: None,
            retired: None,
            going_away: None,
            policy,
            faults: 0,
            requests_refused: 0,
            calls_refused: 0,
            end: None,
            last_calls: None,
            wakes: Vec::new(),
            wait_for_room: Vec::new(),
            items_sent: 0,
            share: u32::MAX,
            cancel_numbers: 0,
            spent: Vec::new(),
        }
    }

    /// Why the session has ended.
    pub(crate) fn end(&self) -> Option<&Arc<SessionEnd>> {
        self.end.as_ref()
    }

    /// Who is to be woken.
    pub(crate) fn wakes(&mut self) -> &mut Vec<Waker> {
        &mut self.wakes
    }

    /// Whether there is no waker to be woken or dropped.
    #[inline]
    pub(crate) fn has_nobody_to_wake(&self) -> bool {
        self.wakes.is_empty() && self.spent.is_empty()
    }

    /// Wakers that are to be dropped.
    pub(crate) fn spent(&mut self) -> &mut Vec<Waker> {
        &mut self.spent
    }

    /// Whether messages wait for room.
    pub(crate) fn wants_room(&self) -> bool {
        !self.outbox.is_empty() || !self.wait_for_room.is_empty()
    }

    // ---- calls of this side

    /// Sends a request.
    pub(crate) fn open(&mut self, request: &Request<'_>, link: &mut Link) -> Result<CallKey, Unsent> {
        let (prefix, depth) = self.admit(request, request.body.len()).map_err(Unsent::Failed)?;
        let total = prefix.bytes().len() + request.body.len();
        let in_pieces = total > link.frame_bytes_max(Class::Request);
        if in_pieces && !self.outbox.is_empty() && self.outbox.bytes() + total > self.limits.outbound_bytes_max {
            return Err(Unsent::Full);
        }
        let (key, header) = self.enter(request, &prefix, depth, request.body.len()).ok_or(Unsent::Full)?;
        if !in_pieces {
            let fits = self.outbox.is_empty() || self.outbox.bytes() + total <= self.limits.outbound_bytes_max;
            match link.try_send(Class::Request, &header, &[prefix.bytes(), request.body]) {
                Ok(()) => return Ok(key),
                // The peer may keep slots for as long as it reads in place: what has no run as a whole goes in pieces.
                Err(SendRefusal::SlotsExhausted) if total > link.chunk_bytes(Class::Request) && fits => {}
                Err(refusal) => return Err(self.unsent(key, refusal, link)),
            }
        }
        let bytes = [prefix.bytes(), request.body].concat();
        self.outbox.push(Ticket::Request(key), Class::Request, header, bytes);
        if let Err(fault) = self.flush_outbox(link) {
            self.fault(fault.into());
        }
        Ok(key)
    }

    /// Sends a request whose body of so many bytes lies in a loan, behind room for its prefix, which is written here. One that
    /// is not sent stays in its place.
    pub(crate) fn open_in_place(
        &mut self,
        request: &Request<'_>,
        place: &mut Option<Loan>,
        bytes: usize,
        link: &mut Link,
    ) -> Result<CallKey, Unsent> {
        let (prefix, depth) = self.admit(request, bytes).map_err(Unsent::Failed)?;
        let Some(mut loan) = place.take() else { return Err(Unsent::Failed(CallError::WouldBlock)) };
        let begin = prefix.bytes().len();
        let Some((key, header)) = self.enter(request, &prefix, depth, bytes) else {
            *place = Some(loan);
            return Err(Unsent::Full);
        };
        loan[..begin].copy_from_slice(prefix.bytes());
        match link.send_loan(loan, 0..begin + bytes, &header) {
            Ok(()) => Ok(key),
            Err((loan, refusal)) => {
                *place = Some(loan);
                Err(self.unsent(key, refusal, link))
            }
        }
    }

    /// A call with a body of so many bytes takes its channel.
    #[inline]
    fn enter(
        &mut self,
        request: &Request<'_>,
        prefix: &Prefix,
        depth: u8,
        bytes: usize,
    ) -> Option<(CallKey, FrameHeader)> {
        let (mut flags, mut credit) = (prefix.flags, 0);
        let (key, channel) = if request.lifecycle {
            self.calls.open_lifecycle(request.method, bytes)
        } else if request.streams.any() {
            let mut flows = Flows::default();
            if request.streams.receives {
                credit = self.window();
                flags = flags.with(Flags::CREDIT);
                flows.inflow = Some(Inflow::new(credit));
            }
            if request.streams.sends {
                flags = flags.with(Flags::ITEMS);
                // The callee grants some when it has the request.
                flows.outflow = Some(Outflow::new(0));
            }
            self.calls.open(request.method, bytes, Some(Box::new(flows)))
        } else {
            self.calls.open(request.method, bytes, None)
        }?;
        Some((key, FrameHeader { channel, method: request.method, kind: Kind::Request, flags, depth, credit }))
    }

    /// A call gives its channel back, of which nothing was sent.
    fn unsent(&mut self, key: CallKey, refusal: SendRefusal, link: &mut Link) -> Unsent {
        self.calls.unsend(key, link, &mut self.kept, &mut self.spent);
        match refusal {
            SendRefusal::Fault(fault) => {
                self.fault(fault.into());
                Unsent::Failed(self.ended_error(false))
            }
            _ => Unsent::Full,
        }
    }

    /// Checks what is known before anything is sent.
    #[inline]
    fn admit(&self, request: &Request<'_>, bytes: usize) -> Result<(Prefix, u8), CallError> {
        if let Some(end) = &self.end {
            return Err(CallError::SessionEnded { end: Arc::clone(end), sent: false });
        }
        if let Some(reason) = &self.refusing {
            return Err(CallError::Refused { reason: reason.clone() });
        }
        if request.by_slot
            && let Some(reason) = &self.retired
        {
            return Err(CallError::Refused { reason: reason.clone() });
        }
        if let Some(difference) = self.peer.refused.get(&request.method) {
            return Err(CallError::Incompatible { difference: Arc::clone(difference) });
        }
        if request.streams.any() && !self.peer.features.has(Features::STREAMS) {
            return Err(CallError::Status(Status::new(Code::Unimplemented, "the peer does not know streams")));
        }
        let bound = self.peer.message_bytes_max;
        if bytes > bound {
            return Err(CallError::TooLarge { what: "body", found: bytes, bound });
        }
        let depth = u8::try_from(request.depth).ok().filter(|depth| *depth <= self.peer.depth_max);
        let depth = depth.ok_or(CallError::TooDeep { found: request.depth, bound: self.peer.depth_max })?;
        let prefix = Prefix::new(request.time_left, request.metadata);
        let bound = self.peer.metadata_bytes_max;
        if prefix.metadata_bytes > bound {
            return Err(CallError::TooLarge { what: "metadata", found: prefix.metadata_bytes, bound });
        }
        Ok((prefix, depth))
    }

    /// The outcome of a call, once.
    #[inline]
    pub(crate) fn take(&mut self, key: CallKey) -> Option<Outcome> {
        self.calls.take(key, &mut self.kept, &mut self.spent)
    }

    /// Whether there is one.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_outcome(&self, key: CallKey) -> bool {
        self.calls.has_outcome(key)
    }

    /// Whether there is one, and it is the peer's.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn has_answer(&self, key: CallKey) -> bool {
        self.calls.has_answer(key)
    }

    /// Who is to be woken when the call ends; at once, if it has.
    pub(crate) fn set_waker(&mut self, key: CallKey, waker: &Waker) {
        self.calls.set_waker(key, waker, &mut self.wakes, &mut self.spent);
    }

    /// When whoever waits for a call is to be woken at the latest.
    pub(crate) fn set_deadline(&mut self, key: CallKey, deadline: Instant) {
        self.calls.set_deadline(key, deadline);
    }

    /// Wakes those who wait for a call and whose deadline has come; gives the next deadline.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.calls.expire(now, &mut self.wakes)
    }

    /// Nobody waits for this call any more, for this reason.
    pub(crate) fn abandon(&mut self, key: CallKey, why: Code, link: &mut Link) {
        let withdrawn = self.outbox.withdraw(key);
        let channel = self.calls.abandon(key, End::of(why), link, &mut self.kept, &mut self.spent);
        match withdrawn {
            // Nothing of it has been sent, so the peer need not know.
            Some(false) => self.calls.free_unsent(channel),
            Some(true) | None => {
                if let Some(channel) = channel {
                    self.outbox.withdraw_items(channel);
                    self.send_control(Verb::Cancel, &channel.raw().to_le_bytes(), link);
                }
            }
        }
    }

    // ---- calls of the peer

    /// The next call that may be run by a thread that runs a handler of depth `below`, or 0.
    pub(crate) fn next_arrived(&mut self, below: u8) -> Option<Arrived> {
        self.served.next(below)
    }

    /// Whether the caller of that one waits no longer.
    pub(crate) fn next_is_late(&self, below: u8, now: impl FnOnce() -> Instant) -> bool {
        self.served.peek(below).and_then(|arrived| arrived.deadline).is_some_and(|deadline| now() >= deadline)
    }

    /// Calls that wait for a handler.
    pub(crate) fn arrived(&self) -> usize {
        self.served.waiting()
    }

    /// Whether there is one.
    pub(crate) fn has_arrived(&self, below: u8) -> bool {
        self.served.has_next(below)
    }

    /// Whether the caller has cancelled the call, or the session has ended.
    pub(crate) fn is_cancelled(&self, key: ServedKey) -> bool {
        self.served.is_cancelled(key)
    }

    /// Whether the final of a call of the peer has been sent to its end.
    #[cfg(test)]
    pub(crate) fn is_over(&self, key: ServedKey) -> bool {
        self.served.is_over(key)
    }

    /// Sends the final message of a call of the peer, or queues it. It never waits.
    pub(crate) fn finish(
        &mut self,
        key: ServedKey,
        result: Result<&[u8], &Status>,
        metadata: &Metadata,
        link: &mut Link,
    ) {
        let Some(method) = self.served.method(key) else { return };
        let bound = self.peer.message_bytes_max;
        if let Ok(body) = result
            && metadata.is_empty()
            && body.len() <= bound.min(link.frame_bytes_max(Class::Reply))
            && self.outbox.is_empty()
        {
            // As most are. One that finds no room goes the long way.
            let (channel, kind) = (key.channel(), Kind::Reply);
            let header = FrameHeader { channel, method, kind, flags: Flags::NONE, depth: 0, credit: 0 };
            match link.try_send(Class::Reply, &header, &[body]) {
                Ok(()) => {
                    return self.served.done(key, End::OK, body.len(), &mut self.kept, &mut self.wakes);
                }
                Err(SendRefusal::Fault(fault)) => return self.fault(fault.into()),
                Err(_) => {}
            }
        }
        let prefix = Prefix::new(None, metadata);
        let metadata_bound = self.peer.metadata_bytes_max;
        let status;
        let too_large = End::of(Code::ResourceExhausted);
        let (kind, body, end) = match result {
            Ok(body) if body.len() > bound => {
                let message = format!("reply has {} bytes, but the caller takes {bound}", body.len());
                status = Status::new(Code::ResourceExhausted, message).encode();
                (Kind::Error, &status[..], too_large)
            }
            Ok(_) if prefix.metadata_bytes > metadata_bound => {
                let found = prefix.metadata_bytes;
                let message =
                    format!("metadata of the reply have {found} bytes, but the caller takes {metadata_bound}");
                status = Status::new(Code::ResourceExhausted, message).encode();
                (Kind::Error, &status[..], too_large)
            }
            Ok(body) => (Kind::Reply, body, End::OK),
            Err(error) => {
                status = error.encode();
                (Kind::Error, &status[..], End::of(error.code))
            }
        };
        let bytes_of = |kind| if kind == Kind::Reply { body.len() } else { 0 };
        // An error that we have made here goes without the handler's metadata.
        let prefix = if result.is_ok() == (kind == Kind::Reply) { prefix } else { Prefix::default() };
        let header = FrameHeader { channel: key.channel(), method, kind, flags: prefix.flags, depth: 0, credit: 0 };
        self.served.ending(key, &mut self.kept);
        let fits = prefix.bytes().len() + body.len() <= link.frame_bytes_max(Class::Reply);
        if fits && self.outbox.is_empty() {
            match link.try_send(Class::Reply, &header, &[prefix.bytes(), body]) {
                Ok(()) => {
                    return self.served.done(key, end, bytes_of(kind), &mut self.kept, &mut self.wakes);
                }
                Err(SendRefusal::Fault(fault)) => return self.fault(fault.into()),
                Err(_) => {}
            }
        }
        let mut bytes = [prefix.bytes(), body].concat();
        let (mut header, mut end) = (header, end);
        if self.outbox.bytes() + bytes.len() > self.limits.outbound_bytes_max.max(bytes.len()) {
            let waiting = self.outbox.bytes();
            let bound = self.limits.outbound_bytes_max;
            let message = format!(
                "reply of {} bytes does not fit beside {waiting} bytes that wait for the caller to make room: {bound} may",
                bytes.len()
            );
            bytes = Status::new(Code::ResourceExhausted, message).encode();
            header = FrameHeader { kind: Kind::Error, flags: Flags::NONE, ..header };
            end = too_large;
        }
        self.served.answered(key, end, bytes_of(header.kind));
        self.outbox.push(Ticket::Final(key), Class::Reply, header, bytes);
        if let Err(fault) = self.flush_outbox(link) {
            self.fault(fault.into());
        }
    }

    /// Sends the reply to a call of the peer, which is in a loan; gives it back, with all that is in it, if that cannot be.
    pub(crate) fn finish_in_place(
        &mut self,
        key: ServedKey,
        loan: Loan,
        bytes: usize,
        link: &mut Link,
    ) -> Option<Loan> {
        let fits = bytes <= self.peer.message_bytes_max && self.outbox.is_empty();
        let Some(method) = self.served.method(key).filter(|_| fits) else { return Some(loan) };
        let (channel, kind) = (key.channel(), Kind::Reply);
        let header = FrameHeader { channel, method, kind, flags: Flags::NONE, depth: 0, credit: 0 };
        match link.send_loan(loan, 0..bytes, &header) {
            Ok(()) => {
                self.served.answered(key, End::OK, bytes);
                self.served.ending(key, &mut self.kept);
                self.served.remove(key, &mut self.kept, &mut self.wakes);
                None
            }
            Err((loan, refusal)) => {
                if let SendRefusal::Fault(fault) = refusal {
                    self.fault(fault.into());
                }
                Some(loan)
            }
        }
    }

    // ---- frames of the peer

    /// Takes a frame of the peer. Its payload has been taken or discarded when this returns.
    pub(crate) fn handle(&mut self, frame: Frame, link: &mut Link, now: impl FnOnce() -> Instant) {
        if let Err(fault) = self.dispatch(frame, link, now) {
            self.fault(fault);
        }
    }

    fn dispatch(&mut self, frame: Frame, link: &mut Link, now: impl FnOnce() -> Instant) -> Result<(), Fault> {
        let kind = frame.header.kind;
        let room = Room {
            message_bytes: self.limits.message_bytes_max,
            metadata_bytes: self.limits.metadata_bytes_max,
            kept_bytes: self.limits.inbound_bytes_max,
        };
        match kind {
            Kind::Reply | Kind::Error if !self.outbox.is_empty() && self.outbox.holds_request(frame.header.channel) => {
                link.discard(frame.payload);
                Err(Fault::EarlyFinal { channel: frame.header.channel.raw() })
            }
            Kind::Reply | Kind::Error => {
                let channel = frame.header.channel;
                self.calls.handle(frame, link, room, self.refusing.as_ref(), &mut self.kept, &mut self.wakes)?;
                if !self.outbox.is_empty() {
                    // The callee wants no more items, and sends none.
                    self.outbox.withdraw_items(channel);
                    self.outbox.withdraw_credit(channel);
                }
                Ok(())
            }
            Kind::Request => {
                let depth = frame.header.depth;
                self.check_streams(&frame).inspect_err(|_| link.discard(frame.payload))?;
                let window = if frame.header.flags.has(Flags::ITEMS) { self.window() } else { 0 };
                let step = self.served.handle(frame, link, room, &mut self.kept, window, now)?;
                self.requests_refused += u64::from(matches!(step, Step::Answer(..)));
                let step = self.judge(step, depth);
                self.step(step, link);
                Ok(())
            }
            Kind::Control => self.control(frame, link),
            Kind::Item | Kind::End => {
                self.check_streams(&frame).inspect_err(|_| link.discard(frame.payload))?;
                self.item(frame, link, room)
            }
        }
    }

    /// Whether a call that has arrived may go to a handler.
    fn judge(&mut self, step: Step, depth: u8) -> Step {
        match step {
            Step::Arrived(key) => {
                if let Some(reason) = &self.going_away {
                    Step::Answer(key, Status { code: Code::Unavailable, ..reason.clone() })
                } else if self.limits.served_max.is_some_and(|bound| self.served.in_flight() > bound as usize) {
                    let (found, bound) = (self.served.in_flight(), self.limits.served_max.unwrap_or_default());
                    self.calls_refused += 1;
                    let message = format!("{found} calls are in flight, but at most {bound} are served");
                    Step::Answer(key, Status::new(Code::ResourceExhausted, message))
                } else if depth > self.limits.depth_max {
                    let message =
                        format!("the call is nested {depth} deep, but at most {} is served", self.limits.depth_max);
                    Step::Answer(key, Status::new(Code::ResourceExhausted, message))
                } else if let Some(difference) = self.difference(key) {
                    Step::Answer(key, Status::new(Code::FailedPrecondition, difference))
                } else {
                    Step::Arrived(key)
                }
            }
            other => other,
        }
    }

    /// In what the peers differ over the method of a call, if they do.
    fn difference(&self, key: ServedKey) -> Option<String> {
        if self.peer.refused.is_empty() {
            return None;
        }
        Some(self.peer.refused.get(&self.served.method(key)?)?.to_string())
    }

    fn step(&mut self, step: Step, link: &mut Link) {
        match step {
            Step::None => {}
            Step::Arrived(key) => self.grant_first(key, link),
            Step::Answer(key, status) => {
                self.served.withdraw(key, link);
                self.finish(key, Err(&status), &Metadata::new(), link);
            }
        }
    }

    // ---- the end

    /// Takes note of a fault; the session ends unless the policy tolerates it.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults = self.faults.saturating_add(1);
        let tolerated = match self.policy {
            FaultPolicy::End => false,
            FaultPolicy::Tolerate(count) => fault.is_tolerable() && self.faults <= count,
        };
        tracing::warn!(peer = %self.peer.name, rule = fault.rule(), %fault, tolerated, "fault of the peer");
        if !tolerated {
            self.end_with(SessionEnd::Fault(fault));
        }
    }

    /// Ends the session: every call in flight ends with it, once.
    pub(crate) fn end_with(&mut self, end: SessionEnd) {
        if self.end.is_some() {
            return;
        }
        let end = Arc::new(end);
        self.last_calls = Some(Box::new(self.list_calls()));
        let unsent: Vec<_> = self.outbox.requests().collect();
        self.calls.fail(&end, &unsent, &mut self.wakes, &mut self.kept);
        self.served.clear(&mut self.kept, &mut self.wakes);
        self.outbox.clear();
        self.wait_for_room.clear();
        self.end = Some(end);
    }

    fn ended_error(&self, sent: bool) -> CallError {
        match &self.end {
            Some(end) => CallError::SessionEnded { end: Arc::clone(end), sent },
            None => CallError::WouldBlock,
        }
    }

    // ---- the outbox

    /// Sends what waits and finds room.
    pub(crate) fn flush_outbox(&mut self, link: &mut Link) -> Result<(), PeerFault> {
        let (served, kept, wakes) = (&mut self.served, &mut self.kept, &mut self.wakes);
        let result = self.outbox.flush(link, |ticket| {
            if let Ticket::Final(key) = ticket {
                served.remove(key, kept, wakes);
            }
        });
        if !self.outbox.has_control() {
            self.pongs = 0;
        }
        result
    }
}
