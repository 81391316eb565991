//! Calls of the peer: handed to who runs them, and answered.

use std::time::Instant;

use rapace_core::descriptor::{Flags, FrameHeader, Kind};
use rapace_core::link::{Link, Loan, SendRefusal};
use rapace_core::slots::Class;

use super::Machine;
use crate::metadata::Metadata;
use crate::outbox::Ticket;
use crate::prefix::Prefix;
use crate::served::{Arrived, ServedKey};
use crate::status::{Code, Status};
use crate::tally::End;

impl Machine {
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
}
