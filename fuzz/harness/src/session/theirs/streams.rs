//! The streams of the peer's calls, and of the session's, as the peer reckons them (SPEC C12 to C15).

use rapace_core::Side;

use super::inbox::assert_continues;
use super::{GRANT, Theirs};
use crate::fields::{CONTROL, CREDIT, END, Fields, ITEM, ITEMS, MORE, REQUEST, number, parity};
use crate::session::items::{ITEM_COST, is_item, item};
use crate::session::script::{Size, StreamOp};
use crate::session::{CALLS_MAX, INBOUND_BYTES_MAX, THEIR_MESSAGE_BYTES, WINDOW};

/// Both directions of a call, as far as they are in use.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    out: Option<Out>,
    inward: Option<Inward>,
}

/// Items to the session.
#[derive(Debug, Default)]
struct Out {
    credit: i64,
    sent: u64,
    ended: bool,
}

/// Items of the session.
#[derive(Debug, Default)]
struct Inward {
    credit: i64,
    begun: Option<(Fields, Vec<u8>)>,
    received: u64,
    ended: bool,
}

/// A call, from whichever side.
struct Lane<'a> {
    channel: u32,
    method: u32,
    /// Whether the peer has made it.
    is_own: bool,
    /// Whether the peer may send items, if there is such a stream.
    is_open: bool,
    lanes: &'a mut Lanes,
}

impl Lanes {
    /// Those of a request that begins with this frame.
    pub(super) fn new(first: &Fields, is_own: bool) -> Self {
        let (items, credit) = (first.has(ITEMS), first.has(CREDIT));
        let (out, inward) = if is_own { (items, credit) } else { (credit, items) };
        // The callee's credit comes with the request, the caller's later.
        let (out_credit, in_credit) = if is_own { (0, first.credit.into()) } else { (first.credit.into(), 0) };
        Self {
            out: out.then(|| Out { credit: out_credit, ..Out::default() }),
            inward: inward.then(|| Inward { credit: in_credit, ..Inward::default() }),
        }
    }

    pub(super) fn any(&self) -> bool {
        self.out.is_some() || self.inward.is_some()
    }

    /// Items that were sent, and items that have come if their end has.
    pub(super) fn counts(&self) -> (u64, Option<u64>) {
        let inward = self.inward.as_ref().filter(|inward| inward.ended);
        (self.out.as_ref().map_or(0, |out| out.sent), inward.map(|inward| inward.received))
    }

    /// Items that have come.
    pub(super) fn received(&self) -> u64 {
        self.inward.as_ref().map_or(0, |inward| inward.received)
    }

    /// Items that were sent, if it has been said that there are no more.
    pub(super) fn sent_to_the_end(&self) -> Option<u64> {
        self.out.as_ref().filter(|out| out.ended).map(|out| out.sent)
    }

    pub(super) fn is_within_item(&self) -> bool {
        self.inward.as_ref().is_some_and(|inward| inward.begun.is_some())
    }
}

impl Theirs {
    /// What this side does of it.
    pub(in crate::session) fn stream(&mut self, op: StreamOp) {
        match op {
            StreamOp::Ask { action, streams, size, credit, pieces } => {
                self.ask_with_streams(action, streams, size, credit, pieces);
            }
            StreamOp::PeerSends { which, size, pieces } => self.send_item(which, size, pieces),
            StreamOp::PeerEnds(which) => self.end_items(which),
            StreamOp::PeerGrants(which, credit) => self.grant(which, credit),
            _ => {}
        }
    }

    fn lanes(&mut self) -> impl Iterator<Item = Lane<'_>> {
        let own = self.asked.iter_mut().flatten().map(|asked| Lane {
            channel: asked.channel,
            method: asked.method,
            is_own: true,
            is_open: !asked.cancelled && asked.answer.is_none(),
            lanes: &mut asked.lanes,
        });
        let others = self.requests.iter_mut().map(|request| Lane {
            channel: request.first.channel,
            method: request.first.method,
            is_own: false,
            is_open: request.complete && !request.cancelled,
            lanes: &mut request.lanes,
        });
        own.chain(others)
    }

    /// One of the calls that pass.
    fn pick_lane(&mut self, which: u8, passes: impl Fn(&Lane<'_>) -> bool) -> Option<Lane<'_>> {
        let count = self.lanes().filter(&passes).count();
        self.lanes().filter(passes).nth(usize::from(which) % count.max(1))
    }

    /// Calls the session, with streams.
    fn ask_with_streams(&mut self, action: u8, streams: u8, size: Size, credit: u16, pieces: u8) {
        let Some((index, mut header)) = self.next_request(action) else { return };
        if self.has_streams() {
            header.flags |= if streams & 1 != 0 { ITEMS } else { 0 };
            if streams & 2 != 0 {
                (header.flags, header.credit) = (header.flags | CREDIT, credit.into());
            }
        }
        self.ask(index, header, super::Prefix::default(), size, pieces);
    }

    /// Sends an item, if there is credit for one.
    fn send_item(&mut self, which: u8, size: Size, pieces: u8) {
        let may =
            |lane: &Lane<'_>| lane.is_open && lane.lanes.out.as_ref().is_some_and(|out| out.credit > 0 && !out.ended);
        let Some(Lane { channel, method, lanes: Lanes { out: Some(out), .. }, .. }) = self.pick_lane(which, may) else {
            return;
        };
        let body = item(out.sent, size.bytes());
        out.sent += 1;
        out.credit -= ITEM_COST + i64::from(number(body.len()));
        self.queue(Fields::header(ITEM, channel, method), &body, pieces);
    }

    /// Ends the items of a call of its own.
    fn end_items(&mut self, which: u8) {
        let may =
            |lane: &Lane<'_>| lane.is_own && lane.is_open && lane.lanes.out.as_ref().is_some_and(|out| !out.ended);
        let Some(Lane { channel, method, lanes: Lanes { out: Some(out), .. }, .. }) = self.pick_lane(which, may) else {
            return;
        };
        out.ended = true;
        self.queue(Fields::header(END, channel, method), &[], 1);
    }

    /// Takes more items.
    fn grant(&mut self, which: u8, credit: u16) {
        if let Some(Lane { channel, .. }) = self.pick_lane(which, |lane| lane.lanes.inward.is_some()) {
            self.queue_grant(channel, credit.into());
        }
    }

    fn queue_grant(&mut self, channel: u32, credit: u32) {
        let header = Fields { credit, ..Fields::header(CONTROL | CREDIT, 0, GRANT) };
        self.queue(header, &channel.to_le_bytes(), 1);
    }

    /// A frame was published: what it grants may be used from now on.
    pub(super) fn note_sent(&mut self, header: &Fields, bytes: &[u8]) {
        self.bytes_sent += bytes.len() + 256;
        if header.kind() == CONTROL && header.method == GRANT {
            let channel = u32::from_le_bytes(bytes.try_into().expect("X1: the body of a GRANT"));
            if let Some(inward) =
                self.lanes().find(|lane| lane.channel == channel).and_then(|lane| lane.lanes.inward.as_mut())
            {
                inward.credit += i64::from(header.credit);
            }
        }
    }

    /// A call is over: the rest of its items is not sent.
    pub(super) fn withdraw_items(&mut self, channel: u32) {
        let is_item = |fields: &Fields| fields.channel == channel && matches!(fields.kind(), ITEM | END);
        self.outbox.retain(|(fields, _)| !is_item(fields));
    }

    // ---- what the session sends

    pub(super) fn hear_item(&mut self, fields: &Fields, body: Vec<u8>) {
        let lied = self.peer.lied;
        assert!(self.has_streams() || lied, "C12: {fields:?}, but streams are not in use");
        let is_callers = fields.channel % 2 == parity(self.peer.side.peer());
        let Some(Lane { method, is_open, lanes, .. }) = self.lanes().find(|lane| lane.channel == fields.channel) else {
            assert!(is_callers || lied, "C13: {fields:?}, but no such call is in flight");
            return;
        };
        let Some(inward) = lanes.inward.as_mut().filter(|inward| !inward.ended) else {
            assert!(lied, "C13: {fields:?}, but there is no such stream");
            return;
        };
        assert!(method == fields.method || lied, "C2: {fields:?} in a call of method {method}");
        assert!(!is_callers || is_open || lied, "C13: {fields:?} before the request's end, or behind CANCEL");
        if fields.kind() == END {
            assert!(is_callers && inward.begun.is_none() || lied, "C13, M2: {fields:?}");
            inward.ended = true;
            return;
        }
        match &mut inward.begun {
            None => {
                assert!(inward.credit > 0 || lied, "C14: {fields:?}, but the credit is {}", inward.credit);
                assert!(!fields.has(MORE) || !body.is_empty(), "M1: an empty piece");
                inward.credit -= ITEM_COST + i64::from(number(body.len()));
                inward.begun = Some((*fields, body));
            }
            Some((first, whole)) => {
                if !lied {
                    assert_continues(first, fields, &body);
                }
                inward.credit -= i64::from(number(body.len()));
                whole.extend(body);
            }
        }
        if fields.has(MORE) {
            return;
        }
        let (_, whole) = inward.begun.take().expect("it was put there");
        assert!(whole.len() <= THEIR_MESSAGE_BYTES || lied, "M3: an item of {} bytes", whole.len());
        assert!(is_item(&whole, inward.received) || lied, "another item than that of number {}", inward.received);
        inward.received += 1;
    }

    pub(super) fn hear_grant(&mut self, fields: &Fields, body: &[u8]) {
        let lied = self.peer.lied;
        let channel = u32::from_le_bytes(body.try_into().expect("X1: the body of a GRANT"));
        assert!(self.has_streams() || lied, "C12: a GRANT, but streams are not in use");
        assert!(fields.has(CREDIT) && fields.credit > 0, "X1: {fields:?}");
        let answered = channel != 0 && channel % 2 == parity(self.peer.side.peer());
        let Some(lane) = self.lanes().find(|lane| lane.channel == channel) else {
            assert!(answered || lied, "a GRANT for channel {channel}, which has got its final");
            return;
        };
        let Some(out) = lane.lanes.out.as_mut() else {
            assert!(lied, "C13: a GRANT for channel {channel}, which has no such stream");
            return;
        };
        out.credit += i64::from(fields.credit);
        assert!(out.credit <= WINDOW.into() || lied, "C15: a credit of {}, but {WINDOW} is the window", out.credit);
    }

    // ---- broken rules

    /// Breaks a rule in the one way that is chosen, if there is an occasion; gives the rule.
    ///
    /// Nothing is on its way in either direction, so that both sides know the same.
    pub(in crate::session) fn break_rule(&mut self, way: u8, which: u8) -> Option<&'static str> {
        // What could not be kept has broken its stream off, and nothing of it is looked at then.
        let all_kept = 2 * self.bytes_sent < INBOUND_BYTES_MAX;
        let unary_out = |lane: &Lane<'_>| lane.lanes.out.is_none() && lane.is_open;
        let spent = |lane: &Lane<'_>| {
            let out = lane.lanes.out.as_ref();
            lane.is_open && out.is_some_and(|out| out.credit <= 0 && !out.ended) && (all_kept || !lane.is_own)
        };
        let ended = |lane: &Lane<'_>| lane.is_open && all_kept && lane.lanes.out.as_ref().is_some_and(|out| out.ended);
        let (header, body, rule) = match way % 10 {
            0 => (self.pick_lane(which, unary_out)?.header(ITEM), Vec::new(), "C13"),
            1 => (self.pick_lane(which, |lane| !lane.is_own)?.header(END), Vec::new(), "C13"),
            2 => (self.pick_lane(which, spent)?.header(ITEM), Vec::new(), "C14"),
            3 => (self.pick_lane(which, ended)?.header(ITEM + u32::from(which % 2)), Vec::new(), "C13"),
            4 => {
                let has_credit = |lane: &Lane<'_>| lane.lanes.inward.as_ref().is_some_and(|inward| inward.credit >= 0);
                let channel = self.pick_lane(which, |lane| has_credit(lane) && lane.is_open)?.channel;
                return self.send_grant(CREDIT, channel, 1 << 31, "C15");
            }
            5 => {
                let without = |lane: &Lane<'_>| lane.lanes.inward.is_none() && lane.channel != 0;
                let channel = self.pick_lane(which, without)?.channel;
                return self.send_grant(CREDIT, channel, 1, "C13");
            }
            6 => return self.send_grant(0, u32::from(which), 0, "X1"),
            7 => {
                let header = self.pick_lane(which, |lane| lane.lanes.out.is_some() && lane.is_open)?.header(ITEM);
                (Fields { method: header.method ^ 1, ..header }, Vec::new(), "C2")
            }
            8 => {
                let header = (self.peer.side == Side::A).then(|| Fields::header(REQUEST | ITEMS | 1 << 24, 0, 2000))?;
                (header, Vec::new(), "C13")
            }
            _ => {
                let (_, header) = self.next_request(0)?;
                let header = Fields { flags: header.flags | CREDIT, credit: 1 << 31, ..header };
                (header, vec![1], "C15")
            }
        };
        // An item or an end on channel 0 breaks D3 before all else.
        let rule = match header.channel {
            0 if header.kind() != REQUEST => "D3",
            _ if !self.has_streams() => "C12",
            _ => rule,
        };
        self.peer.send(header, &body).then_some(rule)
    }

    fn send_grant(&mut self, flags: u32, channel: u32, credit: u32, rule: &'static str) -> Option<&'static str> {
        let header = Fields { credit, ..Fields::header(CONTROL | flags, 0, GRANT) };
        let rule = if self.has_streams() || flags == 0 { rule } else { "C12" };
        self.peer.send(header, &channel.to_le_bytes()).then_some(rule)
    }

    /// A channel for a call of its own, and the request's header.
    pub(super) fn next_request(&mut self, action: u8) -> Option<(usize, Fields)> {
        let index = self.asked[..CALLS_MAX as usize].iter().position(Option::is_none)?;
        self.generation = self.generation % 1000 + 1;
        let channel = self.generation << 13 | number(index) << 1 | parity(self.peer.side);
        Some((index, Fields::header(REQUEST | 1 << 24, channel, 1000 + u32::from(action % 10))))
    }
}

impl Lane<'_> {
    fn header(&self, kind: u32) -> Fields {
        Fields::header(kind, self.channel, self.method)
    }
}
