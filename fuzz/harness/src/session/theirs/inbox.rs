//! What the session sends, and what SPEC sections 10 to 12 say that it must be.

use rapace_session::Hello;

use super::streams::Lanes;
use super::{ACCEPT, CANCEL, CLOSE, GO_AWAY, GRANT, HELLO, PONG, REFUSE, Request, Theirs};
use crate::fields::{CONTROL, CREDIT, DEADLINE, END, ERROR, Fields, ITEM, ITEMS, METADATA, MORE, REPLY, REQUEST};
use crate::peer::Taken;
use crate::session::items::read_counts;
use crate::session::{ECHO, MESSAGE_BYTES_MAX, THEIR_CALLS, THEIR_DEPTH, WINDOW};

/// Longer replies are the handlers' own.
const LONGEST_ECHO: usize = 2 * MESSAGE_BYTES_MAX;

impl Theirs {
    /// Takes the session's next frame; says whether there was one.
    pub(in crate::session) fn take(&mut self) -> bool {
        let Some(Taken { fields, body }) = self.peer.take() else { return false };
        assert!(!self.heard.close, "X4: {fields:?} behind CLOSE");
        match fields.kind() {
            CONTROL => self.hear(&fields, &body),
            REQUEST => self.hear_request(fields, body),
            REPLY | ERROR => self.hear_final(fields, body),
            ITEM | END => self.hear_item(&fields, body),
            kind => panic!("D2: kind {kind}"),
        }
        true
    }

    fn hear(&mut self, fields: &Fields, body: &[u8]) {
        let verb = fields.method;
        assert!(verb == HELLO || !fields.has(MORE), "X1: verb {verb} in pieces");
        assert_eq!(verb == GRANT, fields.has(CREDIT), "X1: verb {verb}");
        let open = self.heard.hello && self.heard.accept;
        assert_eq!(matches!(verb, HELLO | ACCEPT | REFUSE), !open, "X2: verb {verb}");
        match verb {
            HELLO => {
                self.hello.extend(body);
                self.heard.hello = !fields.has(MORE);
                assert!(!self.heard.hello || Hello::decode(&self.hello).is_ok());
            }
            ACCEPT => {
                assert!(body.is_empty() && self.heard.hello);
                self.heard.accept = true;
            }
            PONG => {
                assert!(body.len() == 8 && (self.pings > 0 || self.peer.lied), "a PONG that nobody asked for");
                self.pings = self.pings.saturating_sub(1);
            }
            GRANT => self.hear_grant(fields, body),
            CANCEL => {
                let channel = u32::from_le_bytes(body.try_into().expect("X1: the body of a CANCEL"));
                let request = self.requests.iter_mut().find(|request| request.first.channel == channel);
                assert!(request.as_ref().is_none_or(|request| !request.cancelled), "C7: a second CANCEL");
                request.into_iter().for_each(|request| request.cancelled = true);
            }
            GO_AWAY => {
                assert!(!self.heard.go_away && body.len() >= 8);
                self.heard.go_away = true;
            }
            CLOSE => self.heard.close = body.len() >= 8,
            verb => assert_eq!(verb, REFUSE, "an unexpected verb"),
        }
    }

    fn hear_request(&mut self, fields: Fields, body: Vec<u8>) {
        let index = if fields.channel == 0 { THEIR_CALLS } else { fields.channel >> 1 & 0xFFF } as usize;
        let within = fields.depth() <= THEIR_DEPTH.into() && index < self.opened.len();
        assert!(within || self.mangled, "C1, C6: {fields:?}");
        assert!(fields.channel == 0 || fields.channel >> 13 != 0, "C1: {fields:?}");
        let streams = fields.flags & (ITEMS | CREDIT) != 0;
        assert!(!streams || self.streams && fields.channel != 0 || self.peer.lied, "C12, C13: {fields:?}");
        assert!(fields.credit <= WINDOW && fields.has(CREDIT) == (fields.credit > 0), "C15: {fields:?}");
        let Some(opened) = self.opened.get_mut(index) else { return };
        let begun =
            self.requests.iter_mut().find(|request| request.first.channel == fields.channel && !request.complete);
        if let Some(request) = begun {
            assert_continues(&request.first, &fields, &body);
            assert!(!request.cancelled || self.peer.lied, "M4: a piece behind CANCEL");
            request.body.extend(body);
            request.complete = !fields.has(MORE);
            assert_sent(request, self.peer.lied);
        } else {
            assert!(self.peer.lied || fields.channel == 0 || *opened != fields.channel, "C1: used again");
            *opened = fields.channel;
            let (complete, lanes) = (!fields.has(MORE), Lanes::new(&fields, false));
            let request = Request { first: fields, body, complete, cancelled: false, lanes };
            assert_sent(&request, self.peer.lied);
            self.requests.push(request);
        }
        // What was opened on the strength of a lie may be without end.
        self.requests.truncate(64);
    }

    fn hear_final(&mut self, fields: Fields, body: Vec<u8>) {
        let asked =
            self.asked.iter_mut().find(|asked| asked.as_ref().is_some_and(|asked| asked.channel == fields.channel));
        let Some(asked_slot) = asked else {
            assert!(self.peer.lied, "C2: {fields:?}, but no such call is in flight");
            return;
        };
        let Some(asked) = asked_slot else { return };
        assert!(asked.method == fields.method || self.peer.lied, "C2: another method");
        assert!(!asked.lanes.is_within_item() || self.peer.lied, "M2: {fields:?} within an item");
        let (first, whole) = asked.answer.get_or_insert_with(|| (fields, Vec::new()));
        if !whole.is_empty() {
            assert_continues(first, &fields, &body);
        }
        whole.extend(body);
        if fields.has(MORE) {
            return;
        }
        if fields.kind() == REPLY && asked.method % 10 == ECHO && !self.peer.lied {
            assert!(stripped(first, whole) == asked.body, "another reply");
        }
        if fields.kind() == REPLY && whole.len() > LONGEST_ECHO && !self.peer.lied {
            let body = stripped(first, whole);
            assert!(body == crate::pattern(body.len()), "another long reply");
        }
        if fields.kind() == REPLY
            && asked.lanes.any()
            && let Some((sent, taken)) = read_counts(stripped(first, whole)).filter(|_| asked.method % 10 == 1)
            && !self.peer.lied
        {
            let (received, all) = (asked.lanes.received(), asked.lanes.sent_to_the_end());
            assert_eq!(received, sent, "items that have come, and those that were sent");
            assert!(taken.is_none_or(|taken| all.is_none_or(|all| all == taken)), "{taken:?} of {all:?} items");
        }
        let channel = asked.channel;
        *asked_slot = None;
        self.withdraw_items(channel);
    }
}

/// The whole body has come as it went.
fn assert_sent(request: &Request, lied: bool) {
    let body = || stripped(&request.first, &request.body);
    assert!(lied || !request.complete || body() == crate::pattern(body().len()), "another request");
}

/// M1 and M2: a frame is the next piece of its message.
pub(super) fn assert_continues(first: &Fields, next: &Fields, body: &[u8]) {
    let header = |fields: &Fields| (fields.channel, fields.method, fields.flags & !MORE);
    assert_eq!(header(first), header(next), "M2: a message goes on as another one");
    assert!(!body.is_empty(), "M1: an empty piece");
}

/// The body without the prefix that its flags announce.
pub(super) fn stripped<'a>(first: &Fields, body: &'a [u8]) -> &'a [u8] {
    let body = if first.has(DEADLINE) { &body[8..] } else { body };
    if !first.has(METADATA) {
        return body;
    }
    let (length, rest) = body.split_first_chunk().expect("C9: the length of the metadata");
    &rest[u32::from_le_bytes(*length) as usize..]
}
