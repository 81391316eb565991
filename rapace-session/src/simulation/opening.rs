//! A side's users that begin calls, at once or when there is room.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use rapace_core::Side;
use rapace_core::slots::Class;

use super::caller::Ours;
use super::ledger::{Call, Ledger, Part, Way, bytes_of, index};
use super::peer::{Flag, Peer};
use super::plan::Plan;
use super::random::Random;
use crate::calls::CallKey;
use crate::clock;
use crate::error::CallError;
use crate::flow::Streams;
use crate::machine::{Request, Unsent};
use crate::metadata::Metadata;
use crate::prefix::Prefix;
use crate::served::LIFECYCLE_METHODS;
use crate::state::State;
use crate::status::Code;
use crate::waiters::Waits;

/// Who builds a body in slots takes some more than it needs.
pub(super) const TAIL_BYTES: usize = 256;

/// A call that waits for room.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) id: usize,
    waiter: Option<u64>,
    pub(super) flag: Arc<Flag>,
}

impl Peer {
    /// A user begins a call.
    pub(super) fn open(&mut self, ledger: &mut Ledger, plan: &Plan, random: &mut Random) {
        let lifecycle = self.side == Side::A && random.chance(5);
        let mut streams = Streams::default();
        if !lifecycle && random.chance(if plan.streams { 60 } else { 2 }) {
            streams = Streams { sends: random.chance(60), receives: random.chance(60) };
        }
        let mut metadata = Metadata::new();
        if random.chance(10) {
            metadata.insert("key", vec![7; random.below(280)]).unwrap();
        }
        let time_left = random.chance(8).then(|| Duration::from_millis(random.next() % 200));
        let id = ledger.add(Call {
            opener: self.side,
            method: if lifecycle { random.pick(&LIFECYCLE_METHODS) } else { 0 },
            streams,
            bytes: plan.size(self.bound, random),
            metadata,
            time_left,
            depth: if random.chance(80) { 1 } else { random.pick(&[2, 2, 3, 3, 3, 4]) },
            arrived: false,
            answer: None,
            final_published: false,
            given_up: false,
            ended: false,
            until: time_left.map(|left| clock::now() + left),
            up: Way::default(),
            down: Way::default(),
        });
        let opening = Opening { id, waiter: None, flag: Flag::new() };
        if random.chance(25) { self.open_in_place(opening, ledger) } else { self.try_open(opening, ledger) }
    }

    /// Sends a request whose body is built in slots.
    fn open_in_place(&mut self, opening: Opening, ledger: &mut Ledger) {
        let call = &ledger.calls[opening.id];
        let request = request(call, &[]);
        let begin = Prefix::new(request.time_left, request.metadata).bytes().len();
        let bytes = call.bytes;
        let opened = self.with(|state| {
            let State { machine, link, .. } = state;
            let mut loan = link.try_loan(Class::Request, begin + bytes + TAIL_BYTES).ok()?;
            loan[begin..begin + bytes].copy_from_slice(bytes_of(opening.id, Part::Request, bytes));
            let mut place = Some(loan);
            let opened = machine.open_in_place(&request, &mut place, bytes, link);
            assert_eq!(opened.is_ok(), place.is_none());
            if let Some(loan) = place {
                link.return_loan(loan);
                state.room_was_made();
            }
            Some(opened)
        });
        match opened {
            Some(Err(Unsent::Full)) | None => self.try_open(opening, ledger),
            Some(Err(Unsent::Failed(error))) => self.not_opened(opening.id, &error, ledger),
            Some(Ok(key)) => self.opened(opening.id, key, ledger),
        }
    }

    /// Sends a request, or waits for room.
    pub(super) fn try_open(&mut self, mut opening: Opening, ledger: &mut Ledger) {
        let call = &ledger.calls[opening.id];
        opening.flag.take();
        let body = bytes_of(opening.id, Part::Request, call.bytes);
        let request = request(call, body);
        let opened = self.with(|state| {
            loop {
                let opened = state.open(&request);
                if let Some(waiter) = opening.waiter.take() {
                    state.waiters.remove(waiter);
                }
                if !matches!(opened, Err(Unsent::Full)) || call.until.is_some_and(|until| until <= clock::now()) {
                    return opened;
                }
                let waker = Waker::from(Arc::clone(&opening.flag));
                let waits = Waits { wants_room: true, until: call.until, ..Waits::NOTHING };
                opening.waiter = Some(state.waiters.add(&waker, waits));
                if let Some(until) = call.until {
                    state.note_deadline(until);
                }
                if !state.widen_sleep() {
                    return opened;
                }
            }
        });
        match opened {
            Err(Unsent::Full) if opening.waiter.is_some() => self.openings.push(opening),
            // Its time is over.
            Err(Unsent::Full) => ledger.calls[opening.id].ended = true,
            Err(Unsent::Failed(error)) => self.not_opened(opening.id, &error, ledger),
            Ok(key) => self.opened(opening.id, key, ledger),
        }
    }

    fn not_opened(&self, id: usize, error: &CallError, ledger: &mut Ledger) {
        let going_away = ledger.going_away[index(self.side.peer())];
        let call = &mut ledger.calls[id];
        let ok = match error {
            CallError::SessionEnded { .. } => self.is_over(),
            CallError::Refused { .. } => going_away,
            CallError::TooLarge { .. } => call.bytes > self.bound || call.metadata.encoded().len() > 300,
            CallError::TooDeep { .. } => call.depth > 3,
            // Streams that the peer does not know.
            CallError::Status(status) => call.streams.any() && status.code == Code::Unimplemented,
            _ => false,
        };
        assert!(ok && !call.arrived, "call {id} was not sent: {error}");
        call.ended = true;
    }

    fn opened(&mut self, id: usize, key: CallKey, ledger: &mut Ledger) {
        ledger.opened(id);
        let call = &ledger.calls[id];
        self.seen.sent(call.bytes);
        let streams = call.streams;
        let (outcome, item, send) = (Flag::new(), Flag::new(), Flag::new());
        let (ended, until) = (!streams.sends, call.until);
        let drained = !streams.receives;
        self.ours.push(Ours { id, key, streams, outcome, item, send, to_send: None, ended, drained, until });
    }
}

fn request<'a>(call: &'a Call, body: &'a [u8]) -> Request<'a> {
    Request {
        method: call.method,
        body,
        metadata: &call.metadata,
        time_left: call.until.map(|until| until.saturating_duration_since(clock::now())),
        depth: call.depth,
        lifecycle: LIFECYCLE_METHODS.contains(&call.method),
        streams: call.streams,
        by_slot: false,
    }
}
