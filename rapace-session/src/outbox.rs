//! Messages that wait for the peer to make room: replies, control, and what travels in pieces.
//!
//! A handler's reply never blocks it: what does not fit at once waits here, within the limit on outbound bytes. Messages
//! take turns, a frame each, so that a large one holds nobody up; those of control go first.

use std::collections::VecDeque;

use rapace_core::crash::{Point, crash_point};
use rapace_core::descriptor::{Flags, FrameHeader, Verb};
use rapace_core::link::{Link, SendRefusal};
use rapace_core::slots::Class;
use rapace_core::{ChannelId, PeerFault};

use crate::calls::CallKey;
use crate::served::ServedKey;

/// What a message is, to whoever queued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// A control frame.
    Control,
    /// A request of this side.
    Request(CallKey),
    /// The final message of a call of the peer.
    Final(ServedKey),
    /// An item of a stream, or its end.
    Item,
}

/// A message to send: its header without `MORE`, prefix and body in one.
#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    class: Class,
    header: FrameHeader,
    bytes: Vec<u8>,
    sent: usize,
    /// What follows on the same channel: the final, or the end of the stream, behind an item.
    next: Option<Box<Queued>>,
}

/// The messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    control: VecDeque<Queued>,
    messages: VecDeque<Queued>,
    bytes: usize,
}

impl Outbox {
    /// What is kept for a message that waits, beside its bytes. Lists that have grown may be half empty.
    pub(crate) const BYTES_EACH: usize = 2 * size_of::<Queued>();

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.messages.is_empty()
    }

    /// Whether control frames wait.
    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Bytes of all messages that wait, those parts included that have been sent.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a request on this channel waits, or some of it does.
    pub(crate) fn holds_request(&self, channel: ChannelId) -> bool {
        let is_request = |queued: &Queued| matches!(queued.ticket, Ticket::Request(_));
        self.messages.iter().any(|queued| queued.header.channel == channel && is_request(queued))
    }

    /// The channels of requests that wait, or some of which do.
    pub(crate) fn requests(&self) -> impl Iterator<Item = ChannelId> {
        let requests = self.messages.iter().filter(|queued| matches!(queued.ticket, Ticket::Request(_)));
        requests.map(|queued| queued.header.channel)
    }

    /// Whether anything on this channel waits. Nothing but its final, or the end of its stream, may be added then.
    pub(crate) fn holds(&self, channel: ChannelId) -> bool {
        self.messages.iter().any(|queued| queued.header.channel == channel)
    }

    /// Adds a message. It waits for one of the same channel that is there before it.
    pub(crate) fn push(&mut self, ticket: Ticket, class: Class, header: FrameHeader, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        let new = Queued { ticket, class, header, bytes, sent: 0, next: None };
        if ticket == Ticket::Control {
            return self.control.push_back(new);
        }
        match self.messages.iter_mut().find(|queued| queued.header.channel == header.channel) {
            Some(before) => before.last().next = Some(Box::new(new)),
            None => self.messages.push_back(new),
        }
    }

    /// Adds to the `GRANT` of this body that waits; says whether there is one. So none of them piles up for a peer that
    /// sends and does not listen.
    pub(crate) fn add_credit(&mut self, body: &[u8], credit: u32) -> bool {
        let Some(grant) = self.control.iter_mut().find(|queued| queued.grants(body)) else { return false };
        grant.header.credit = grant.header.credit.saturating_add(credit);
        true
    }

    /// Takes a request back; says whether some of it has been sent already. `None` when it does not wait here.
    pub(crate) fn withdraw(&mut self, call: CallKey) -> Option<bool> {
        let queued = self.take_out(|queued| queued.ticket == Ticket::Request(call))?;
        Some(queued.sent > 0)
    }

    /// Takes back the items of a channel.
    pub(crate) fn withdraw_items(&mut self, channel: ChannelId) {
        self.take_out(|queued| queued.header.channel == channel && queued.ticket == Ticket::Item);
    }

    /// Takes back the credit of a channel: its call is over.
    pub(crate) fn withdraw_credit(&mut self, channel: ChannelId) {
        let body = channel.raw().to_le_bytes();
        let before = self.control.len();
        self.control.retain(|queued| !queued.grants(&body));
        self.bytes -= (before - self.control.len()) * body.len();
    }

    fn take_out(&mut self, which: impl Fn(&Queued) -> bool) -> Option<Queued> {
        let at = self.messages.iter().position(which)?;
        let queued = self.messages.remove(at)?;
        let mut rest = Some(&queued);
        while let Some(one) = rest {
            self.bytes -= one.bytes.len();
            rest = one.next.as_deref();
        }
        Some(queued)
    }

    /// Sends what there is room for; `done` hears of each message whose last frame was sent.
    ///
    /// # Errors
    ///
    /// A fault in what the peer says about its progress.
    pub(crate) fn flush(&mut self, link: &mut Link, mut done: impl FnMut(Ticket)) -> Result<(), PeerFault> {
        while let Some(queued) = self.control.front_mut() {
            if !queued.send(link)? {
                break;
            }
            self.bytes -= queued.bytes.len();
            self.control.pop_front();
        }
        // Whoever has found no room waits for the next flush, so a flush ends.
        let mut stuck = VecDeque::new();
        while let Some(mut queued) = self.messages.pop_front() {
            let before = queued.sent;
            if queued.send(link)? {
                self.bytes -= queued.bytes.len();
                if matches!(queued.ticket, Ticket::Final(_)) {
                    self.withdraw_credit(queued.header.channel);
                }
                done(queued.ticket);
                if let Some(next) = queued.next {
                    self.messages.push_back(*next);
                }
            } else if queued.sent > before {
                self.messages.push_back(queued);
            } else {
                stuck.push_back(queued);
            }
        }
        self.messages = stuck;
        Ok(())
    }

    /// The channels of items that wait.
    #[cfg(test)]
    pub(crate) fn item_channels(&self) -> impl Iterator<Item = ChannelId> {
        let items = self.messages.iter().filter(|queued| queued.ticket == Ticket::Item);
        items.map(|queued| queued.header.channel)
    }

    /// Forgets everything: the session has ended.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Queued {
    /// Whether it is the `GRANT` of this body.
    fn grants(&self, body: &[u8]) -> bool {
        self.header.verb() == Some(Verb::Grant) && self.bytes == body
    }

    /// The last of those that follow each other.
    fn last(&mut self) -> &mut Self {
        let mut last = self;
        while last.next.is_some() {
            // The borrow checker does not follow a `while let` here.
            match &mut last.next {
                Some(next) => last = next,
                None => unreachable!("it was looked at"),
            }
        }
        last
    }

    /// Sends one frame, if there is room; says whether it was the last.
    fn send(&mut self, link: &mut Link) -> Result<bool, PeerFault> {
        let rest = &self.bytes[self.sent..];
        let whole = rest.len().min(link.frame_bytes_max(self.class));
        // A piece of this size finds room sooner or later, whatever else is in the slots.
        let piece = rest.len().min(link.chunk_bytes(self.class));
        for size in [whole, piece] {
            let last = size == rest.len();
            let flags = if last { self.header.flags } else { self.header.flags.with(Flags::MORE) };
            match link.try_send(self.class, &FrameHeader { flags, ..self.header }, &[&rest[..size]]) {
                Ok(()) => {
                    self.sent += size;
                    if !last {
                        crash_point(Point::PieceSent);
                    }
                    return Ok(last);
                }
                Err(SendRefusal::SlotsExhausted | SendRefusal::TooLarge) if size > piece => {}
                Err(SendRefusal::Fault(fault)) => return Err(fault),
                Err(_) => break,
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use rapace_core::descriptor::Kind;
    use rapace_core::fake::FakePeer;
    use rapace_core::{Geometry, GeometryConfig, Side};

    use super::*;

    fn grant(outbox: &mut Outbox, channel: ChannelId) {
        let header = FrameHeader { flags: Flags::CREDIT, credit: 1, ..FrameHeader::control(Verb::Grant) };
        outbox.push(Ticket::Control, Class::Control, header, channel.raw().to_le_bytes().to_vec());
    }

    #[test]
    fn a_message_goes_out_as_far_as_there_is_room_in_as_many_pieces_as_that_takes() {
        let config = GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 512 };
        let (mut link, mut peer) = FakePeer::pair(Geometry::new(config).unwrap(), NonZeroU64::MIN, Side::A).unwrap();
        let channel = ChannelId::from_raw(1 << 13);
        let item = FrameHeader { channel, method: 7, kind: Kind::Item, flags: Flags::NONE, depth: 0, credit: 0 };
        let (all, piece) = (link.frame_bytes_max(Class::Item), link.chunk_bytes(Class::Item));
        // Less than the whole has room behind it.
        link.try_send(Class::Item, &item, &[&vec![0; all - 2 * piece]]).unwrap();
        let (mut outbox, mut done) = (Outbox::default(), Vec::new());
        outbox.push(Ticket::Item, Class::Item, item, vec![0; all]);
        outbox.flush(&mut link, |ticket| done.push(ticket)).unwrap();
        let lengths: Vec<_> = std::iter::from_fn(|| peer.take()).map(|words| (words[2] >> 32) as usize).collect();
        assert_eq!(lengths, [all - 2 * piece, piece, piece]);
        assert_eq!((done.len(), outbox.bytes(), outbox.holds(channel)), (0, all, true));
    }

    #[test]
    fn a_final_that_passes_stuck_control_takes_the_credit_of_its_call_with_it() {
        let config = GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 512 };
        let (mut link, mut peer) = FakePeer::pair(Geometry::new(config).unwrap(), NonZeroU64::MIN, Side::A).unwrap();
        let (ended, other) = (ChannelId::from_raw(1 << 13), ChannelId::from_raw(1 << 13 | 2));
        let reply =
            FrameHeader { channel: ended, method: 7, kind: Kind::Reply, flags: Flags::NONE, depth: 0, credit: 0 };
        let all = vec![0; link.frame_bytes_max(Class::Reply)];
        link.try_send(Class::Reply, &reply, &[&all]).unwrap();
        let mut outbox = Outbox::default();
        // It needs slots, of which there are none.
        outbox.push(Ticket::Control, Class::Control, FrameHeader::control(Verb::GoAway), vec![0; 100]);
        grant(&mut outbox, ended);
        grant(&mut outbox, other);
        outbox.push(Ticket::Final(ServedKey::at(ended)), Class::Reply, reply, Vec::new());
        let mut done = Vec::new();
        outbox.flush(&mut link, |ticket| done.push(ticket)).unwrap();
        assert_eq!(done, [Ticket::Final(ServedKey::at(ended))]);
        assert_eq!(outbox.bytes(), 104);
        // The slots come back, and control goes out.
        let place = peer.take().unwrap()[1];
        peer.store_return(0, place | 1 << 24);
        assert!(link.free_slots().unwrap() > 0);
        outbox.flush(&mut link, |_| {}).unwrap();
        let methods: Vec<_> = std::iter::from_fn(|| peer.take()).map(|words| words[0] >> 32).collect();
        assert_eq!(methods, [7, 8, 6], "the final, GO_AWAY, and the credit of the other call");
        assert_eq!((outbox.bytes(), outbox.is_empty()), (0, true));
    }
}
