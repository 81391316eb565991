//! The peer of a session, which keeps the rules of SPEC sections 10 to 12 as long as it does not lie.

mod inbox;
mod streams;

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use rapace_core::Side;
use rapace_session::{Code, Features, Hello, Status};

use self::inbox::stripped;
use self::streams::Lanes;
use super::items::counts;
use super::script::Size;
use super::{CALLS_MAX, DEPTH_MAX, THEIR_CALLS, THEIR_DEPTH, THEIR_MESSAGE_BYTES};
use crate::fields::{CONTROL, DEADLINE, ERROR, Fields, METADATA, MORE, REPLY, REQUEST, parity};
use crate::lie::Lie;
use crate::peer::Peer;

/// The longest piece of a message: with all slots returned there is room for it at every geometry.
const PIECE_BYTES: usize = 2048;
/// The longest one where there are enough slots: a plugin reads so many bytes where they lie.
const LONG_PIECE_BYTES: usize = 4500;

const HELLO: u32 = 1;
const ACCEPT: u32 = 2;
const REFUSE: u32 = 3;
const PING: u32 = 4;
const PONG: u32 = 5;
const GRANT: u32 = 6;
const CANCEL: u32 = 7;
const GO_AWAY: u32 = 8;
const CLOSE: u32 = 9;

#[derive(Arbitrary, Clone, Debug)]
pub(super) enum TheirOp {
    Ask { action: u8, size: Size, pieces: u8, deadline: Option<u64>, metadata: bool, depth: u8 },
    AskLifecycle { shutdown: bool },
    Cancel(u8),
    Take,
    GiveBack(u8),
    Answer { which: u8, fail: bool, metadata: bool, pieces: u8 },
    Ping(u64),
    Ring,
    GoAway,
    Close,
}

/// An answer to a call of the session that has perhaps not been published, or not in whole.
#[derive(Arbitrary, Debug)]
pub(super) struct Guess {
    index: u8,
    ahead: u8,
    more: bool,
    size: Size,
}

/// How the peer begins.
#[derive(Arbitrary, Debug)]
pub(super) struct Greeting {
    pieces: u8,
    mangled: Option<(u16, u8)>,
    before: Option<Lie>,
    between: Option<Lie>,
}

impl Greeting {
    /// As it should be.
    pub(super) fn plain() -> Self {
        Self { pieces: 1, mangled: None, before: None, between: None }
    }
}

/// The peer of a session.
pub(super) struct Theirs {
    pub(super) peer: Peer,
    outbox: VecDeque<(Fields, Vec<u8>)>,
    /// Its own calls in flight, by index; the last is on channel 0.
    asked: Vec<Option<Asked>>,
    generation: u32,
    /// The session's calls that it has not answered.
    requests: Vec<Request>,
    /// The last channel that the session opened at each index.
    opened: [u32; THEIR_CALLS as usize + 1],
    hello: Vec<u8>,
    /// Its hello may have said anything of its limits.
    mangled: bool,
    heard: Heard,
    /// Its hello said that it knows streams.
    streams: bool,
    /// Bytes that the session may have kept of it, at most.
    bytes_sent: usize,
    pings: u32,
    pub(super) closed: bool,
}

#[derive(Debug)]
struct Asked {
    channel: u32,
    method: u32,
    body: Vec<u8>,
    answer: Option<(Fields, Vec<u8>)>,
    cancelled: bool,
    lanes: Lanes,
}

#[derive(Debug)]
struct Request {
    first: Fields,
    body: Vec<u8>,
    complete: bool,
    cancelled: bool,
    lanes: Lanes,
}

#[derive(Debug, Default)]
struct Heard {
    hello: bool,
    accept: bool,
    go_away: bool,
    close: bool,
}

impl Theirs {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            outbox: VecDeque::new(),
            asked: (0..=CALLS_MAX).map(|_| None).collect(),
            generation: 0,
            requests: Vec::new(),
            opened: [0; THEIR_CALLS as usize + 1],
            hello: Vec::new(),
            mangled: false,
            heard: Heard::default(),
            streams: false,
            bytes_sent: 0,
            pings: 0,
            closed: false,
        }
    }

    /// Publishes the hello and its acceptance of the other's.
    pub(super) fn greet(&mut self, greeting: Greeting, may_lie: bool, streams: bool) {
        self.streams = streams;
        let hello = Hello {
            major: 1,
            minor: 0,
            role: u8::from(self.peer.side == Side::B),
            features: if streams { Features::STREAMS } else { Features::NONE },
            max_message_bytes: THEIR_MESSAGE_BYTES as u64,
            max_metadata_bytes: 64,
            max_calls: THEIR_CALLS,
            max_depth: THEIR_DEPTH,
            name: "peer".to_owned(),
            version: "1".to_owned(),
            registry: Vec::new(),
        };
        let mut bytes = hello.encode().expect("the hello is small");
        let Greeting { pieces, mangled, before, between } = greeting;
        if let Some((at, with)) = mangled.filter(|(_, with)| may_lie && *with != 0) {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= with;
            (self.mangled, self.peer.lied) = (true, true);
        }
        if let Some(lie) = before.filter(|_| may_lie) {
            lie.tell(&mut self.peer);
        }
        self.queue(Fields::header(CONTROL, 0, HELLO), &bytes, pieces);
        while self.send_next() {}
        if let Some(lie) = between.filter(|_| may_lie) {
            lie.tell(&mut self.peer);
        }
        self.queue(Fields::header(CONTROL, 0, ACCEPT), &[], 1);
        while self.send_next() {}
    }

    pub(super) fn play(&mut self, op: TheirOp) {
        if self.closed && !matches!(op, TheirOp::Take | TheirOp::GiveBack(_) | TheirOp::Ring) {
            return;
        }
        match op {
            TheirOp::Ask { action, size, pieces, deadline, metadata, depth } => {
                let prefix = Prefix { deadline, metadata };
                let depth = 1 + u32::from(depth) % (u32::from(DEPTH_MAX) + 1);
                let Some((index, header)) = self.next_request(action) else { return };
                self.ask(index, Fields { flags: REQUEST | depth << 24, ..header }, prefix, size, pieces);
            }
            TheirOp::AskLifecycle { shutdown } => {
                let index = CALLS_MAX as usize;
                if self.peer.side == Side::A && self.asked[index].is_none() {
                    let method = if shutdown { 2002 } else { 2000 };
                    self.ask(index, Fields::header(REQUEST | 1 << 24, 0, method), Prefix::default(), Size::SMALL, 1);
                }
            }
            TheirOp::Cancel(which) => {
                // What has not been published yet is not in flight, and stays in the order of the queue.
                let channels: Vec<u32> = self.asked.iter().flatten().map(|asked| asked.channel).collect();
                if let Some(channel) = channels.get(usize::from(which) % channels.len().max(1)) {
                    let asked = self.asked.iter_mut().flatten().find(|asked| asked.channel == *channel);
                    asked.into_iter().for_each(|asked| asked.cancelled = true);
                    self.queue(Fields::header(CONTROL, 0, CANCEL), &channel.to_le_bytes(), 1);
                }
            }
            TheirOp::Take => drop(self.take()),
            TheirOp::GiveBack(which) => drop(self.peer.give_back(which)),
            TheirOp::Answer { which, fail, metadata, pieces } => self.answer(which, fail, metadata, pieces),
            TheirOp::Ping(nonce) => {
                if self.pings < 16 {
                    self.pings += 1;
                    self.queue(Fields::header(CONTROL, 0, PING), &nonce.to_le_bytes(), 1);
                }
            }
            TheirOp::Ring => self.peer.ring(),
            TheirOp::GoAway => self.queue_status(GO_AWAY),
            TheirOp::Close => {
                self.queue_status(CLOSE);
                self.closed = true;
            }
        }
    }

    fn ask(&mut self, index: usize, header: Fields, prefix: Prefix, size: Size, pieces: u8) {
        if self.heard.go_away || self.heard.close {
            return;
        }
        let body = crate::pattern(size.bytes());
        let header = Fields { flags: header.flags | prefix.flags(), ..header };
        self.queue(header, &[prefix.bytes(), body.clone()].concat(), pieces);
        let lanes = Lanes::new(&header, true);
        let Fields { channel, method, .. } = header;
        self.asked[index] = Some(Asked { channel, method, body, answer: None, cancelled: false, lanes });
    }

    /// Answers one of the session's calls that has come in whole, or was cancelled.
    pub(super) fn answer(&mut self, which: u8, fail: bool, metadata: bool, pieces: u8) {
        let ready = |request: &Request| request.complete || request.cancelled;
        let all: Vec<usize> = (0..self.requests.len()).filter(|at| ready(&self.requests[*at])).collect();
        let Some(at) = all.get(usize::from(which) % all.len().max(1)) else { return };
        let request = self.requests.swap_remove(*at);
        let body = if request.complete { stripped(&request.first, &request.body) } else { &[] };
        let prefix = Prefix { deadline: None, metadata };
        let (kind, body) = match (request.complete, fail) {
            (false, _) => (ERROR, Status::new(Code::Cancelled, "before it was complete").encode()),
            (true, true) => (ERROR, Status { details: body.to_vec(), ..Status::new(Code::Aborted, "no") }.encode()),
            (true, false) if request.lanes.any() => {
                let (sent, taken) = request.lanes.counts();
                (REPLY, counts(sent, taken))
            }
            (true, false) => (REPLY, body.to_vec()),
        };
        let header = Fields::header(kind | prefix.flags(), request.first.channel, request.first.method);
        self.queue(header, &[prefix.bytes(), body].concat(), pieces);
    }

    /// Answers a call whose channel it guesses.
    pub(super) fn guess(&mut self, Guess { index, ahead, more, size }: Guess) {
        self.peer.lied = true;
        let index = u32::from(index) % THEIR_CALLS;
        let generation = (self.opened[index as usize] >> 13) + u32::from(ahead) % 3;
        let channel = generation << 13 | index << 1 | parity(self.peer.side.peer());
        let kind = if more { REPLY | MORE } else { REPLY };
        // As one piece, which may be the only one.
        let piece = crate::pattern(size.bytes().min(PIECE_BYTES));
        self.outbox.push_back((Fields::header(kind, channel, 1), piece));
    }

    fn queue_status(&mut self, verb: u32) {
        self.queue(
            Fields::header(CONTROL, 0, verb),
            &Status::new(Code::Unavailable, "a reason of some length").encode(),
            1,
        );
    }

    fn queue(&mut self, header: Fields, bytes: &[u8], pieces: u8) {
        let size = bytes.len().div_ceil(usize::from(pieces % 5).max(1)).clamp(1, self.piece_bytes());
        let mut chunks = bytes.chunks(size).peekable();
        if bytes.is_empty() {
            self.outbox.push_back((header, Vec::new()));
        }
        while let Some(chunk) = chunks.next() {
            let more = if chunks.peek().is_some() { MORE } else { 0 };
            self.outbox.push_back((Fields { flags: header.flags | more, ..header }, chunk.to_vec()));
        }
    }

    /// Sends the next frame that waits, if there is one and room for it; says whether that was so.
    pub(super) fn send_next(&mut self) -> bool {
        let sent = self.outbox.front().is_some_and(|(header, bytes)| self.peer.send(*header, bytes));
        if sent && let Some((header, bytes)) = self.outbox.pop_front() {
            self.note_sent(&header, &bytes);
        }
        sent
    }

    fn piece_bytes(&self) -> usize {
        let is_roomy = self.peer.geometry.pool_bytes() >= 4 * LONG_PIECE_BYTES;
        if is_roomy { LONG_PIECE_BYTES } else { PIECE_BYTES }
    }

    fn has_streams(&self) -> bool {
        self.streams
    }

    /// A call of its own is over, as far as it is heard.
    pub(super) fn forget(&mut self, channel: u32) {
        let asked = self.asked.iter_mut().find(|asked| asked.as_ref().is_some_and(|asked| asked.channel == channel));
        asked.into_iter().for_each(|asked| *asked = None);
        self.withdraw_items(channel);
    }

    /// Whether something waits to be sent, or has come in part.
    pub(super) fn is_busy(&self) -> bool {
        !self.outbox.is_empty()
            || self.requests.iter().any(|request| !request.complete && !request.cancelled)
            || self.asked.iter().flatten().any(|asked| asked.answer.is_some() || asked.lanes.is_within_item())
    }

    /// Whether nothing is left to be done.
    pub(super) fn is_settled(&self) -> bool {
        self.outbox.is_empty() && self.requests.is_empty() && self.asked.iter().all(Option::is_none)
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, Default)]
struct Prefix {
    deadline: Option<u64>,
    metadata: bool,
}

impl Prefix {
    fn flags(self) -> u32 {
        let flag = |set, flag| if set { flag } else { 0 };
        flag(self.deadline.is_some(), DEADLINE) | flag(self.metadata, METADATA)
    }

    fn bytes(self) -> Vec<u8> {
        let pairs = b"\x0b\0traceparent\x03\x000-1\x01\0k\0\0";
        let metadata = [&crate::fields::number(pairs.len()).to_le_bytes(), &pairs[..]].concat();
        let deadline = self.deadline.into_iter().flat_map(u64::to_le_bytes);
        deadline.chain(self.metadata.then_some(metadata).into_iter().flatten()).collect()
    }
}
