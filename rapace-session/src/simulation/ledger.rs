//! What both sides have said and heard: the oracle.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rapace_core::Side;

use super::random::Random;
use crate::calls::Outcome;
use crate::clock;
use crate::error::CallError;
use crate::flow::Streams;
use crate::metadata::Metadata;
use crate::served::{Arrived, LIFECYCLE_METHODS};
use crate::status::{Code, Status};

/// Method ids of calls that are none of the lifecycle say which call it is.
const METHODS_FROM: u32 = 10_000;

/// A call, as both users see it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) opener: Side,
    pub(super) method: u32,
    pub(super) streams: Streams,
    pub(super) bytes: usize,
    pub(super) metadata: Metadata,
    pub(super) time_left: Option<Duration>,
    pub(super) depth: u32,
    pub(super) arrived: bool,
    pub(super) answer: Option<Answer>,
    /// All of its final had been published when its callee was lost.
    pub(super) final_published: bool,
    pub(super) given_up: bool,
    pub(super) ended: bool,
    pub(super) until: Option<Instant>,
    pub(super) up: Way,
    pub(super) down: Way,
}

/// What the handler said last.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Reply(usize, Metadata),
    Error(Status),
}

/// The items of one direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) sent: u64,
    under_way: VecDeque<usize>,
    pub(super) ended: bool,
}

/// All calls from the beginning.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) calls: Vec<Call>,
    lifecycle: Option<usize>,
    /// Who has asked for no more calls.
    pub(super) going_away: [bool; 2],
    /// Whether messages may be too many to be kept.
    pub(super) tight: bool,
}

/// Which bytes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Reply,
    Up(u64),
    Down(u64),
}

impl Ledger {
    pub(super) fn new(tight: bool) -> Self {
        Self { tight, ..Self::default() }
    }

    pub(super) fn add(&mut self, call: Call) -> usize {
        let id = self.calls.len();
        if call.method == 0 {
            self.calls.push(Call { method: METHODS_FROM + u32::try_from(id).unwrap(), ..call });
        } else {
            self.calls.push(call);
        }
        id
    }

    /// A lifecycle call has its channel. There is one at a time, so it is the one that arrives next.
    pub(super) fn opened(&mut self, id: usize) {
        if LIFECYCLE_METHODS.contains(&self.calls[id].method) {
            self.lifecycle = Some(id);
        }
    }

    /// A call has come to its callee: once, and as it was sent.
    pub(super) fn arrived(&mut self, arrived: &Arrived, at: Side) -> usize {
        let id = match arrived.method.checked_sub(METHODS_FROM) {
            Some(id) => id as usize,
            None => self.lifecycle.expect("a lifecycle call that nobody made"),
        };
        let call = &mut self.calls[id];
        assert_eq!(call.opener, at.peer(), "call {id} came back to its caller");
        assert!(!std::mem::replace(&mut call.arrived, true), "call {id} arrived twice");
        assert_eq!((arrived.method, u32::from(arrived.depth)), (call.method, call.depth), "call {id}");
        assert_eq!((arrived.streams, &arrived.metadata), (call.streams, &call.metadata), "call {id}");
        assert_eq!(arrived.deadline.is_some(), call.time_left.is_some(), "the deadline of call {id}");
        check(id, Part::Request, call.bytes, &arrived.body);
        id
    }

    /// An item has come.
    pub(super) fn took(&mut self, id: usize, down: bool, item: &[u8]) {
        let call = &mut self.calls[id];
        let way = if down { &mut call.down } else { &mut call.up };
        let index = way.sent - way.under_way.len() as u64;
        let bytes = way.under_way.pop_front().unwrap_or_else(|| panic!("call {id} has an item that nobody sent"));
        check(id, if down { Part::Down(index) } else { Part::Up(index) }, bytes, item);
    }

    /// Whether the caller, or its side on its behalf, may have cancelled a call.
    pub(super) fn may_be_cancelled(&self, id: usize) -> bool {
        let call = &self.calls[id];
        let is_late = call.until.is_some_and(|until| until <= clock::now());
        call.given_up || is_late && call.streams.any() || self.tight && call.streams.receives
    }

    /// A caller hears how its call has ended.
    pub(super) fn ended(&mut self, id: usize, outcome: &Outcome, drained: bool, bound: usize) {
        let going_away = self.going_away[index(self.calls[id].opener.peer())];
        let tight = self.tight;
        let call = &mut self.calls[id];
        assert!(!std::mem::replace(&mut call.ended, true), "call {id} ended twice");
        assert!(!call.given_up, "call {id} ended behind its cancel");
        let as_answered = match (outcome, &call.answer) {
            (Ok(reply), Some(Answer::Reply(bytes, metadata))) => {
                check(id, Part::Reply, *bytes, &reply.body);
                assert_eq!(&reply.metadata, metadata, "call {id}");
                true
            }
            (Ok(reply), answer) => {
                panic!("call {id} has a reply of {} bytes, but the answer was {answer:?}", reply.body.len())
            }
            (Err(CallError::Status(found)), Some(Answer::Error(status))) if found == status => true,
            (Err(CallError::Status(found)), answer) => {
                let too_long = matches!(answer, Some(Answer::Reply(bytes, _)) if *bytes > bound);
                let ok = match found.code {
                    Code::ResourceExhausted => tight || too_long,
                    Code::DeadlineExceeded => call.time_left.is_some() && call.answer.is_none(),
                    _ => false,
                };
                assert!(ok, "call {id} ended with {found}, but the answer was {answer:?}");
                false
            }
            (Err(CallError::Refused { .. }), answer) => {
                assert!(going_away && !call.arrived && answer.is_none(), "call {id} is said not to have run");
                false
            }
            (Err(CallError::SessionEnded { sent, .. }), _) => {
                assert!(*sent || !call.arrived, "call {id} is said not to have been sent");
                assert!(!call.final_published, "call {id} was answered before its callee was lost");
                false
            }
            (Err(CallError::DeadlineExceeded { .. }), _) => {
                assert!(call.until.is_some_and(|until| until <= clock::now()), "call {id} ended before its time");
                call.given_up = true;
                false
            }
            (Err(error), answer) => panic!("call {id} ended with {error}, but the answer was {answer:?}"),
        };
        if as_answered && drained && call.streams.receives {
            assert_eq!(call.down.under_way.len(), 0, "items of call {id} are lost");
        }
    }
}

impl Way {
    pub(super) fn accepted(&mut self, bytes: usize) {
        self.sent += 1;
        self.under_way.push_back(bytes);
    }

    /// Whether all items that were sent have been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

pub(super) fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

/// The bytes of a message: other ones for each.
pub(super) fn bytes_of(id: usize, part: Part, bytes: usize) -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut random = Random::new(0);
        (0..(BYTES_MAX + PLACES) / 8).flat_map(|_| random.next().to_le_bytes()).collect()
    });
    let (kind, number) = match part {
        Part::Request => (1, 0),
        Part::Reply => (2, 0),
        Part::Up(index) => (3, index),
        Part::Down(index) => (4, index),
    };
    let begin = Random::new((id as u64) << 40 ^ number << 8 ^ kind).below(PLACES);
    &noise[begin..begin + bytes]
}

/// The largest message.
pub(super) const BYTES_MAX: usize = 256 << 10;
/// Messages begin in so many places of one noise.
const PLACES: usize = 256 << 10;

fn check(id: usize, part: Part, bytes: usize, found: &[u8]) {
    assert_eq!(found.len(), bytes, "{part:?} of call {id}");
    assert!(found == bytes_of(id, part, bytes), "{part:?} of call {id} has other bytes");
}
