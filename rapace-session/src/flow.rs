//! The items of one call, on their way in and on their way out, and the credit for them (SPEC section 11, Credits).

use std::collections::VecDeque;
use std::task::Waker;

use rapace_core::descriptor::{Flags, Frame};
use rapace_core::link::Link;

use crate::body::Body;
use crate::fault::Fault;
use crate::message::{Inbound, Room};
use crate::status::{Code, Status};

/// What a call streams beside its request and its reply, as the caller sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// The caller sends items.
    pub sends: bool,
    /// The caller receives items.
    pub receives: bool,
}

impl Streams {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self.sends || self.receives
    }
}

/// What an item costs beside its bytes, so that empty ones are not for free.
pub(crate) const ITEM_COST: u32 = 64;
/// A queue of items stays so large when they have been taken.
const QUEUE_ITEMS: usize = 32;
/// The most credit that a sender may have.
pub(crate) const CREDIT_MAX: u32 = i32::MAX.cast_unsigned();

/// Both directions of a call, as far as they are in use.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    pub(crate) inflow: Option<Inflow>,
    pub(crate) outflow: Option<Outflow>,
}

impl Flows {
    /// Bytes of the items that this side has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.outflow.as_ref().map_or(0, |outflow| outflow.bytes)
    }

    /// Bytes of the items that have come.
    pub(crate) fn received(&self) -> u64 {
        self.inflow.as_ref().map_or(0, |inflow| inflow.bytes)
    }

    /// Takes out who is to be woken when the call ends.
    pub(crate) fn wakers(&mut self) -> impl Iterator<Item = Waker> {
        let reader = self.inflow.as_mut().and_then(|inflow| inflow.waker.take());
        let writer = self.outflow.as_mut().and_then(|outflow| outflow.waker.take());
        reader.into_iter().chain(writer)
    }
}

/// Items of the peer.
#[derive(Debug)]
pub(crate) struct Inflow {
    /// The credit of a sender whose items have all been taken.
    window: u32,
    /// What the peer has left of it.
    credit: i64,
    /// Cost of what was taken since the last grant.
    taken: u32,
    items: VecDeque<Body>,
    /// An item of which some frames have come.
    begun: Option<Box<Inbound>>,
    state: InflowState,
    /// Bytes that are kept for the items.
    kept: usize,
    /// Bytes of all items from the beginning.
    bytes: u64,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum InflowState {
    Open,
    Ended,
    /// An item could not be kept, so that what follows it makes no sense.
    Failed(Status),
}

/// What a look for the next item finds.
#[derive(Debug)]
pub(crate) enum Taken {
    Item(Body),
    Pending,
    End,
    Failed(Status),
}

impl Inflow {
    /// One whose sender has this credit.
    pub(crate) fn new(window: u32) -> Self {
        Self {
            window,
            credit: window.into(),
            taken: 0,
            items: VecDeque::new(),
            begun: None,
            state: InflowState::Open,
            kept: 0,
            bytes: 0,
            waker: None,
        }
    }

    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// Whether an item has begun and goes on.
    pub(crate) fn is_within_item(&self) -> bool {
        self.begun.is_some()
    }

    /// Takes a frame of an item; `wakes` gets who is to be woken. `kept` is what all messages from the peer take.
    ///
    /// The payload has been taken or discarded, whatever comes back. A frame that is wrong breaks the items off.
    ///
    /// # Errors
    ///
    /// C13 behind the end, C14 without credit, M1 and M2.
    pub(crate) fn take_frame(
        &mut self,
        frame: Frame,
        link: &mut Link,
        room: Room,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) -> Result<(), Fault> {
        let (header, bytes) = (frame.header, frame.payload.bytes() as u64);
        let channel = header.channel.raw();
        match self.state {
            InflowState::Open => {}
            InflowState::Failed(_) => {
                link.ignore(frame.payload);
                return Ok(());
            }
            InflowState::Ended => {
                link.discard(frame.payload);
                return Err(Fault::NoStream { kind: header.kind.raw(), channel });
            }
        }
        let cost = bytes + if self.begun.is_none() { u64::from(ITEM_COST) } else { 0 };
        if self.begun.is_none() && self.credit <= 0 {
            link.discard(frame.payload);
            let fault = Fault::NoCredit { channel, found: cost, credit: self.credit };
            self.fail(Status::new(Code::Internal, fault.to_string()), kept, wakes);
            return Err(fault);
        }
        self.credit = self.credit.saturating_sub_unsigned(cost);
        if self.begun.is_none() && Inbound::is_plain(&frame, room, *kept) {
            let body = Body::of(&frame, link);
            *kept += body.heap_bytes();
            self.keep(body, kept, wakes);
            return Ok(());
        }
        if let Err(fault) = Inbound::take_frame(&mut self.begun, frame, link, room, false, kept) {
            self.fail(Status::new(Code::Internal, fault.to_string()), kept, wakes);
            return Err(fault);
        }
        if header.flags.has(Flags::MORE) {
            return Ok(());
        }
        let Some(message) = self.begun.take() else { return Ok(()) };
        match message.complete(room, link) {
            Ok((body, _)) => self.keep(body, kept, wakes),
            // An item has no prefix that could be wrong: it was dropped, and nothing is kept of it.
            Err(status) => self.fail(status, kept, wakes),
        }
        Ok(())
    }

    /// An item is complete. Its bytes have been added to `kept`.
    fn keep(&mut self, body: Body, kept: &mut usize, wakes: &mut Vec<Waker>) {
        let (before, heap_bytes) = (self.queue_bytes(), body.heap_bytes());
        self.bytes += body.len() as u64;
        self.items.push_back(body);
        let grown = self.queue_bytes() - before;
        self.kept += heap_bytes + grown;
        *kept += grown;
        wakes.extend(self.waker.take());
    }

    /// What the queue takes beside the bytes of its items.
    fn queue_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Body>()
    }

    /// The sender has no more items.
    ///
    /// # Errors
    ///
    /// C13 when it has said so before, M2 in the middle of an item.
    pub(crate) fn end(&mut self, frame: &Frame, wakes: &mut Vec<Waker>) -> Result<(), Fault> {
        let (kind, channel) = (frame.header.kind.raw(), frame.header.channel.raw());
        if let Some(begun) = &self.begun {
            return Err(Fault::BrokenMessage { channel, field: "kind", found: kind, expected: begun.kind().raw() });
        }
        match self.state {
            InflowState::Open => self.state = InflowState::Ended,
            InflowState::Ended => return Err(Fault::NoStream { kind, channel }),
            InflowState::Failed(_) => {}
        }
        wakes.extend(self.waker.take());
        Ok(())
    }

    fn fail(&mut self, status: Status, kept: &mut usize, wakes: &mut Vec<Waker>) {
        *kept -= self.begun.take().map_or(0, |begun| begun.heap_bytes());
        self.state = InflowState::Failed(status);
        wakes.extend(self.waker.take());
    }

    /// Why no more items will come, if that is not the sender's will.
    pub(crate) fn failure(&self) -> Option<&Status> {
        match &self.state {
            InflowState::Failed(status) => Some(status),
            _ => None,
        }
    }

    /// Takes the next item, or notes who is to be woken for it.
    pub(crate) fn take(&mut self, waker: &Waker, kept: &mut usize, spent: &mut Vec<Waker>) -> Taken {
        if let Some(body) = self.items.pop_front() {
            let before = self.queue_bytes();
            let (left, capacity) = (self.items.len(), self.items.capacity());
            if capacity > QUEUE_ITEMS && left < capacity / 4 {
                self.items.shrink_to((2 * left).max(QUEUE_ITEMS));
            }
            let bytes = body.heap_bytes() + before - self.queue_bytes();
            self.kept -= bytes;
            *kept -= bytes;
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            self.taken = self.taken.saturating_add(length.saturating_add(ITEM_COST));
            return Taken::Item(body);
        }
        match &self.state {
            InflowState::Open => {
                set_waker(&mut self.waker, waker, spent);
                Taken::Pending
            }
            InflowState::Ended => Taken::End,
            InflowState::Failed(status) => Taken::Failed(status.clone()),
        }
    }

    /// What is to be granted now: half the window at a time, so that grants are few.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        if self.taken == 0 || self.taken < self.window / 2 || !matches!(self.state, InflowState::Open) {
            return None;
        }
        self.credit += i64::from(self.taken);
        Some(std::mem::take(&mut self.taken))
    }

    /// What a simulation checks: the credit that its sender has, and what the items cost that were not granted anew. They
    /// make up the window.
    #[cfg(test)]
    pub(crate) fn account(&self) -> (i64, i64) {
        let cost = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX) + i64::from(ITEM_COST);
        let begun = self.begun.as_ref().map(|begun| begun.bytes());
        let kept: i64 = self.items.iter().map(|item| item.len()).chain(begun).map(cost).sum();
        (self.credit, kept + i64::from(self.taken))
    }

    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, InflowState::Ended)
    }

    /// Bytes that are kept for it, when it goes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept + self.begun.as_ref().map_or(0, |begun| begun.heap_bytes())
    }
}

/// What a grant has changed: nothing, on a channel that has no use for it.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    /// Who is to be woken.
    pub(crate) waker: Option<Waker>,
    /// Whether the peer had reason to send it.
    pub(crate) of_use: bool,
}

/// Items to the peer.
#[derive(Debug)]
pub(crate) struct Outflow {
    credit: i64,
    /// What the items cost that was not granted anew.
    spent: u64,
    ended: bool,
    waker: Option<Waker>,
    /// The one that is to be woken waits for room, not for credit.
    pub(crate) wants_room: bool,
    /// Tells who has sent last.
    pub(crate) last_sent: u64,
    /// Items that were sent since others had a turn.
    pub(crate) burst: u32,
    /// Bytes of all items from the beginning.
    bytes: u64,
}

impl Outflow {
    pub(crate) fn new(credit: u32) -> Self {
        let credit = credit.into();
        Self { credit, spent: 0, ended: false, waker: None, wants_room: false, last_sent: 0, burst: 0, bytes: 0 }
    }

    /// Whether an item may be begun.
    pub(crate) fn has_credit(&self) -> bool {
        self.credit > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    #[cfg(test)]
    pub(crate) fn credit(&self) -> i64 {
        self.credit
    }

    /// No more items; says whether that is news.
    pub(crate) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }

    /// An item of so many bytes was sent, or will be: that of this number on this session.
    pub(crate) fn spend(&mut self, bytes: usize, serial: u64) {
        self.last_sent = serial;
        self.burst += 1;
        self.bytes += bytes as u64;
        let spent = bytes as u64 + u64::from(ITEM_COST);
        self.spent = self.spent.saturating_add(spent);
        self.credit = self.credit.saturating_sub_unsigned(spent);
    }

    /// The peer takes so much more; gives who is to be woken, and whether that is of use: it lets an item be sent for which
    /// there was no credit, or is worth an item that was sent. Anything else may be granted without end, one at a time.
    ///
    /// # Errors
    ///
    /// C15 when that is more than anybody may have.
    pub(crate) fn grant(&mut self, channel: u32, more: u32) -> Result<Granted, Fault> {
        let credit = self.credit.saturating_add(more.into());
        if credit > CREDIT_MAX.into() {
            return Err(Fault::CreditOverflow { channel, found: credit, bound: CREDIT_MAX });
        }
        let lets_go_on = self.credit <= 0 && credit > 0;
        let of_use = lets_go_on || more >= ITEM_COST && self.spent > 0;
        self.credit = credit;
        self.spent = self.spent.saturating_sub(more.into());
        let waker = if self.wants_room || credit <= 0 { None } else { self.waker.take() };
        Ok(Granted { waker, of_use })
    }

    /// Who is to be woken when there is credit, or room.
    pub(crate) fn set_waker(&mut self, waker: &Waker, wants_room: bool, spent: &mut Vec<Waker>) {
        set_waker(&mut self.waker, waker, spent);
        self.wants_room = wants_room;
        self.burst = 0;
    }

    /// There is room.
    pub(crate) fn room(&mut self) -> Option<Waker> {
        if std::mem::take(&mut self.wants_room) { self.waker.take() } else { None }
    }
}

/// Keeps a waker in a place, without a clone if it is there already. One that was there before is `spent`: it may own a
/// task, and whatever that owns goes with it, so it is dropped behind the session's lock.
pub(crate) fn set_waker(place: &mut Option<Waker>, new: &Waker, spent: &mut Vec<Waker>) {
    if !place.as_ref().is_some_and(|old| old.will_wake(new)) {
        spent.extend(place.replace(new.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_back_what_it_has_no_use_for_and_seldom_moves() {
        let (mut inflow, mut kept, mut wakes, mut moves) = (Inflow::new(1), 0, Vec::new(), 0);
        for _ in 0..1000 {
            inflow.keep(Body::default(), &mut kept, &mut wakes);
        }
        for left in (0..1000).rev() {
            let before = inflow.queue_bytes();
            assert!(matches!(inflow.take(Waker::noop(), &mut kept, &mut wakes), Taken::Item(_)));
            let (now, capacity) = (inflow.queue_bytes(), inflow.items.capacity());
            assert_eq!((kept, inflow.kept_bytes()), (now, now));
            assert!(capacity <= QUEUE_ITEMS.max(4 * left + 4), "{left} of {capacity}");
            if now != before {
                moves += 1;
                assert!(capacity >= 2 * left, "there is room for as many again");
            }
        }
        assert!(moves > 0 && moves < 8, "{moves}");
    }

    #[test]
    fn what_was_taken_is_granted_anew_at_half_of_the_window_while_the_stream_is_open() {
        let (mut kept, mut wakes) = (0, Vec::new());
        let mut inflow = Inflow::new(1000);
        let mut take = |inflow: &mut Inflow, bytes: usize| {
            let body = Body::from(vec![0; bytes]);
            kept += body.heap_bytes();
            inflow.keep(body, &mut kept, &mut wakes);
            assert!(matches!(inflow.take(Waker::noop(), &mut kept, &mut wakes), Taken::Item(_)));
            inflow.grant()
        };
        assert_eq!([take(&mut inflow, 186), take(&mut inflow, 185)], [None, None], "499 in all");
        assert_eq!(take(&mut inflow, 0), Some(563));
        assert_eq!((inflow.grant(), inflow.credit), (None, 1563));
        inflow.state = InflowState::Ended;
        assert_eq!(take(&mut inflow, 1000), None);
        let mut smallest = Inflow::new(1);
        assert_eq!(smallest.grant(), None, "nothing was taken");
        assert_eq!(take(&mut smallest, 0), Some(64));
    }

    #[test]
    fn a_grant_is_of_use_if_it_lets_an_item_be_sent_or_is_worth_one() {
        let mut outflow = Outflow::new(100);
        let is_of_use = |outflow: &mut Outflow, more| outflow.grant(1, more).unwrap().of_use;
        assert!(!is_of_use(&mut outflow, 1000), "it has credit, and has spent none");
        outflow.spend(1036, 1);
        assert!(!outflow.has_credit());
        assert!(is_of_use(&mut outflow, 1), "it may send again");
        assert!(!is_of_use(&mut outflow, ITEM_COST - 1), "it may send, and this is not the cost of an item");
        assert!(is_of_use(&mut outflow, ITEM_COST));
        assert!(is_of_use(&mut outflow, 1036 - 2 * ITEM_COST + ITEM_COST));
        assert!(!is_of_use(&mut outflow, ITEM_COST), "what was sent has been granted anew");
        outflow.spend(10_000, 2);
        assert!(!is_of_use(&mut outflow, 1), "it still may not send");
        let mut outflow = Outflow::new(1);
        outflow.spend(0, 1);
        assert!(!is_of_use(&mut outflow, ITEM_COST - 1), "credit of 0 is none");
        assert!(is_of_use(&mut outflow, 1));
    }

    #[test]
    fn whoever_waits_for_credit_is_woken_by_credit_and_whoever_waits_for_room_by_room() {
        let (mut outflow, mut spent) = (Outflow::new(1), Vec::new());
        outflow.spend(0, 1);
        outflow.set_waker(Waker::noop(), false, &mut spent);
        assert!(outflow.room().is_none());
        assert!(outflow.grant(1, ITEM_COST - 1).unwrap().waker.is_none(), "credit of 0 is none");
        assert!(outflow.grant(1, 1).unwrap().waker.is_some());
        outflow.set_waker(Waker::noop(), true, &mut spent);
        assert!(outflow.grant(1, 1).unwrap().waker.is_none());
        assert!(outflow.room().is_some());
    }

    #[test]
    fn items_are_counted_until_whoever_sends_them_waits() {
        let mut outflow = Outflow::new(1000);
        for burst in 1..4 {
            outflow.spend(0, 1);
            assert_eq!(outflow.burst, burst);
        }
        outflow.set_waker(Waker::noop(), true, &mut Vec::new());
        assert_eq!(outflow.burst, 0);
    }
}
