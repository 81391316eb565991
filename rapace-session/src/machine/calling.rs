//! Calls of this side: sent, awaited and given up.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rapace_core::descriptor::{Flags, FrameHeader, Kind, Verb};
use rapace_core::link::{Link, Loan, SendRefusal};
use rapace_core::slots::Class;

use super::Machine;
use crate::calls::{CallKey, Outcome};
use crate::error::CallError;
use crate::flow::{Flows, Inflow, Outflow, Streams};
use crate::hello::Features;
use crate::metadata::Metadata;
use crate::outbox::Ticket;
use crate::prefix::Prefix;
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

impl Machine {
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
}
