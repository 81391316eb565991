//! The protocol above frames, as a state machine: no thread, no clock, no system call.
//!
//! Frames, calls and replies go in; frames go out through the link that is handed in, outcomes wait in the tables, and
//! [`Machine::wakes`] says who is to be woken. A driver does the rest: see `session.rs`.

mod calling;
mod control;
mod counts;
mod serving;
mod streams;

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use rapace_core::descriptor::{Flags, Frame, Kind};
use rapace_core::link::Link;
use rapace_core::{PeerFault, Side};

use crate::calls::CallTable;
use crate::condition::CallsInFlight;
use crate::error::{CallError, SessionEnd};
use crate::fault::{Fault, FaultPolicy};
use crate::hello::PeerInfo;
use crate::limits::Limits;
use crate::message::Room;
use crate::metadata::Metadata;
use crate::outbox::{Outbox, Ticket};
use crate::served::{ServedKey, ServedTable, Step};
use crate::status::{Code, Status};

pub(crate) use calling::{Request, Unsent};
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
