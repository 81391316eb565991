//! Streams: items and the credit for them (SPEC rules C12 to C15).

use std::task::Waker;

use rapace_core::channel::ChannelId;
use rapace_core::crash::{Point, crash_point};
use rapace_core::descriptor::{Flags, Frame, FrameHeader, Kind};
use rapace_core::link::{Link, SendRefusal};
use rapace_core::slots::Class;

use super::Machine;
use crate::body::Body;
use crate::calls::CallKey;
use crate::error::CallError;
use crate::fault::Fault;
use crate::flow::{CREDIT_MAX, Outflow, Taken};
use crate::hello::Features;
use crate::message::Room;
use crate::outbox::Ticket;
use crate::served::{ServedKey, Standing};
use crate::status::{Code, Status};
use rapace_core::descriptor::Verb;

/// A call with streams, from either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKey {
    /// A call of this side.
    Ours(CallKey),
    /// A call of the peer.
    Theirs(ServedKey),
}

/// What became of an item.
#[derive(Debug)]
pub(crate) enum Sent {
    /// It is on its way.
    Done,
    /// It waits for credit or room; the waker was noted.
    Pending,
    /// It will never go.
    Failed(CallError),
}

impl Machine {
    /// Whether a frame may belong to a stream at all.
    pub(super) fn check_streams(&self, frame: &Frame) -> Result<(), Fault> {
        let header = &frame.header;
        let (kind, channel) = (header.kind.raw(), header.channel.raw());
        let of_streams = matches!(header.kind, Kind::Item | Kind::End)
            || header.flags.has(Flags::ITEMS)
            || header.flags.has(Flags::CREDIT);
        if of_streams && (!self.peer.features.has(Features::STREAMS)) {
            return Err(Fault::Stream { kind, channel });
        }
        if of_streams && header.channel.is_control() && header.kind != Kind::Control {
            return Err(Fault::NoStream { kind, channel });
        }
        if header.kind == Kind::Request && header.credit > CREDIT_MAX {
            return Err(Fault::CreditOverflow { channel, found: header.credit.into(), bound: CREDIT_MAX });
        }
        Ok(())
    }

    /// The credit of a stream that begins now: all windows together fit what may be kept.
    pub(super) fn window(&self) -> u32 {
        let (window, budget) = (self.limits.stream_window_bytes, self.limits.inbound_bytes_max / 2);
        let open = self.calls.receiving() + self.served.receiving();
        if (open + 1).saturating_mul(window as usize) <= budget {
            return window;
        }
        let calls = (self.limits.calls_max + self.peer.calls_max) as usize;
        u32::try_from(budget / calls.max(1)).unwrap_or(window).clamp(1, window)
    }

    /// Takes a frame of an item, or of an end.
    pub(super) fn item(&mut self, frame: Frame, link: &mut Link, room: Room) -> Result<(), Fault> {
        let header = frame.header;
        if header.channel.parity() != self.side.parity() {
            return self.served.item(frame, link, room, &mut self.kept, &mut self.wakes);
        }
        if self.outbox.holds_request(header.channel) {
            link.discard(frame.payload);
            return Err(Fault::EarlyFinal { channel: header.channel.raw() });
        }
        let (failed, taken) = self.calls.item(frame, link, room, &mut self.kept, &mut self.wakes);
        if let Some(key) = failed
            && let Some(status) = self.calls.failure(key)
        {
            let error = CallError::Status(status.clone());
            self.fail_call(key, error, link);
        }
        taken
    }

    /// Ends a call of this side before its final, for whoever waits for it.
    pub(crate) fn fail_call(&mut self, key: CallKey, error: CallError, link: &mut Link) {
        if let Some(false) = self.outbox.withdraw(key) {
            // Nothing of it has been sent; the peer need not know. Its ticket stays for the error.
            self.calls.fail_unsent(key, error, &mut self.kept, &mut self.wakes);
        } else if let Some(channel) = self.calls.fail_one(key, error, &mut self.kept, &mut self.wakes) {
            self.outbox.withdraw_items(channel);
            self.send_control(Verb::Cancel, &channel.raw().to_le_bytes(), link);
        }
    }

    /// The peer takes more items on a channel; says whether that is of use.
    pub(super) fn granted(&mut self, channel: ChannelId, more: u32) -> Result<bool, Fault> {
        if !self.peer.features.has(Features::STREAMS) {
            return Err(Fault::Stream { kind: Kind::Control.raw(), channel: channel.raw() });
        }
        if channel.is_control() {
            return Err(Fault::NoStream { kind: Kind::Control.raw(), channel: channel.raw() });
        }
        let granted = if channel.parity() == self.side.parity() {
            self.calls.grant(channel, more)?
        } else {
            self.served.grant(channel, more)?
        };
        self.wakes.extend(granted.waker);
        Ok(granted.of_use)
    }

    /// A call has arrived: its items may come.
    pub(super) fn grant_first(&mut self, key: ServedKey, link: &mut Link) {
        if let Some(credit) = self.served.first_credit(key) {
            self.send_grant(key.channel(), credit, link);
        }
    }

    fn send_grant(&mut self, channel: ChannelId, credit: u32, link: &mut Link) {
        let (header, body) = (FrameHeader::control(Verb::Grant), channel.raw().to_le_bytes());
        if !self.outbox.has_control() || !self.outbox.add_credit(&body, credit) {
            self.send_control_frame(FrameHeader { flags: Flags::CREDIT, credit, ..header }, &body, link);
        }
    }

    /// Takes the next item of the peer; `None` when the waker was noted. The end is `Ok(None)`.
    pub(crate) fn take_item(
        &mut self,
        key: StreamKey,
        waker: &Waker,
        link: &mut Link,
    ) -> Option<Result<Option<Body>, CallError>> {
        let (taken, grant) = match key {
            StreamKey::Ours(call) => self.calls.take_item(call, waker, &mut self.kept, &mut self.spent),
            StreamKey::Theirs(served) => match self.served.take_item(served, waker, &mut self.kept, &mut self.spent) {
                Some((taken, grant)) => (taken, grant.map(|grant| (served.channel(), grant))),
                None => return Some(Err(self.gone())),
            },
        };
        if let Some((channel, credit)) = grant {
            self.send_grant(channel, credit, link);
        }
        match taken {
            Taken::Item(body) => Some(Ok(Some(body))),
            Taken::Pending => None,
            Taken::End => Some(Ok(None)),
            Taken::Failed(status) => Some(Err(CallError::Status(status))),
        }
    }

    /// Why a call of the peer wants nothing any more.
    fn gone(&self) -> CallError {
        match &self.end {
            Some(_) => self.ended_error(true),
            None => CallError::Status(Status::new(Code::Cancelled, "the caller no longer wants this call")),
        }
    }

    /// Sends an item.
    pub(crate) fn send_item(&mut self, key: StreamKey, item: &[u8], waker: &Waker, link: &mut Link) -> Sent {
        let bound = self.peer.message_bytes_max;
        if item.len() > bound {
            return Sent::Failed(CallError::TooLarge { what: "item", found: item.len(), bound });
        }
        let outbound_bytes_max = self.limits.outbound_bytes_max;
        let Some((channel, method, outflow)) = (match key {
            StreamKey::Ours(call) => self.calls.outflow(call),
            StreamKey::Theirs(served) => {
                self.served.outflow(served).map(|(method, outflow)| (served.channel(), method, outflow))
            }
        }) else {
            return Sent::Failed(self.gone());
        };
        if outflow.has_ended() {
            let status = Status::new(Code::FailedPrecondition, "the stream of items has been ended");
            return Sent::Failed(CallError::Status(status));
        }
        if !outflow.has_credit() {
            outflow.set_waker(waker, false, &mut self.spent);
            return Sent::Pending;
        }
        if outflow.burst >= self.share {
            // Others wait for room, and may be polled behind this one by the same task.
            outflow.burst = 0;
            self.wakes.push(waker.clone());
            return Sent::Pending;
        }
        let header = FrameHeader { channel, method, kind: Kind::Item, flags: Flags::NONE, depth: 0, credit: 0 };
        let waiting = !self.outbox.is_empty();
        if !self.outbox.holds(channel) {
            let mut in_pieces = item.len() > link.frame_bytes_max(Class::Item);
            if !in_pieces {
                match link.try_send(Class::Item, &header, &[item]) {
                    Ok(()) => {
                        crash_point(Point::ItemSent);
                        self.items_sent += 1;
                        outflow.spend(item.len(), self.items_sent);
                        return Sent::Done;
                    }
                    Err(SendRefusal::Fault(fault)) => {
                        self.fault(fault.into());
                        return Sent::Failed(self.gone());
                    }
                    // See `open`.
                    Err(SendRefusal::SlotsExhausted) => in_pieces = item.len() > link.chunk_bytes(Class::Item),
                    Err(_) => {}
                }
            }
            if in_pieces && (!waiting || self.outbox.bytes() + item.len() <= outbound_bytes_max) {
                self.items_sent += 1;
                outflow.spend(item.len(), self.items_sent);
                self.outbox.push(Ticket::Item, Class::Item, header, item.to_vec());
                if let Err(fault) = self.flush_outbox(link) {
                    self.fault(fault.into());
                }
                return Sent::Done;
            }
        }
        outflow.set_waker(waker, true, &mut self.spent);
        if !self.wait_for_room.contains(&key) {
            self.wait_for_room.push(key);
        }
        Sent::Pending
    }

    /// No more items of this side.
    pub(crate) fn end_items(&mut self, key: StreamKey, link: &mut Link) {
        // That of a call of the peer ends with the final.
        let StreamKey::Ours(call) = key else { return };
        let Some((channel, method, outflow)) = self.calls.outflow(call) else { return };
        if !outflow.end() {
            return;
        }
        let header = FrameHeader { channel, method, kind: Kind::End, flags: Flags::NONE, depth: 0, credit: 0 };
        if self.outbox.is_empty() {
            match link.try_send(Class::Reply, &header, &[]) {
                Ok(()) => return crash_point(Point::EndSent),
                Err(SendRefusal::Fault(fault)) => return self.fault(fault.into()),
                Err(_) => {}
            }
        }
        self.outbox.push(Ticket::Item, Class::Reply, header, Vec::new());
    }

    fn outflow_of(&mut self, key: StreamKey) -> Option<&mut Outflow> {
        match key {
            StreamKey::Ours(call) => self.calls.outflow(call).map(|(_, _, outflow)| outflow),
            StreamKey::Theirs(served) => self.served.outflow(served).map(|(_, outflow)| outflow),
        }
    }

    /// Whether items wait to be sent of a call of ours that nobody waits for.
    #[cfg(test)]
    pub(crate) fn has_orphans(&self) -> bool {
        let ours = |channel: &ChannelId| channel.parity() == self.side.parity();
        self.outbox.item_channels().filter(ours).any(|channel| !self.calls.is_wanted(channel))
    }

    /// Calls with items on their way in: ours, and the peer's.
    #[cfg(test)]
    pub(crate) fn receiving(&self) -> (usize, usize) {
        (self.calls.receiving(), self.served.receiving())
    }

    /// The streams of a call that is in flight and was not cancelled.
    #[cfg(test)]
    pub(crate) fn flows(&self, key: StreamKey) -> Option<&crate::flow::Flows> {
        match key {
            StreamKey::Ours(call) => self.calls.flows(call),
            StreamKey::Theirs(served) => self.served.flows(served),
        }
    }

    /// There is room: whoever waits for it with an item tries again.
    pub(crate) fn wake_streams_for_room(&mut self, ring_capacity: u32) {
        let mut keys = std::mem::take(&mut self.wait_for_room);
        // As many items as leave each of them as much room.
        self.share = match u32::try_from(keys.len()) {
            Ok(0 | 1) | Err(_) => u32::MAX,
            Ok(waiting) => (ring_capacity / 2 / waiting).max(1),
        };
        // Whoever has sent last is woken last, so that nobody is always late.
        keys.sort_by_cached_key(|key| self.outflow_of(*key).map_or(0, |outflow| outflow.last_sent));
        for key in keys {
            let waker = self.outflow_of(key).and_then(Outflow::room);
            self.wakes.extend(waker);
        }
    }

    /// Notes who is to be woken when a call of the peer is cancelled, in the place of this number; says whether it is, or has
    /// ended.
    pub(crate) fn set_cancel_waker(&mut self, key: ServedKey, number: u64, waker: &Waker) -> bool {
        self.served.set_cancel_waker(key, number, waker, &mut self.spent)
    }

    /// Whether the caller has cancelled a call, for its handler, which decides itself what follows.
    pub(crate) fn ask_whether_cancelled(&mut self, key: ServedKey) -> bool {
        self.served.ask_whether_cancelled(key)
    }

    /// What the executor is to do with the handler of a call of the peer; it is woken when that changes.
    pub(crate) fn stands(&mut self, key: ServedKey, waker: &Waker) -> Standing {
        self.served.stands(key, waker, &mut self.spent)
    }

    /// Somebody does not want to hear of a cancel any more.
    pub(crate) fn remove_cancel_waker(&mut self, key: ServedKey, number: u64) {
        self.spent.extend(self.served.remove_cancel_waker(key, number));
    }

    /// A number for who wants to hear of a cancel, which is not 0.
    pub(crate) fn cancel_number(&mut self) -> u64 {
        self.cancel_numbers += 1;
        self.cancel_numbers
    }
}
