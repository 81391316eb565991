//! The user of a session: its calls.

mod placed;
mod streams;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use rapace_core::Side;
use rapace_session::{Body, CallError, CallOptions, Code, Metadata, PendingCall, Reply, Role, Session, Status};

use self::placed::Placed;
pub(super) use self::placed::{PlacedOp, write};
use self::streams::Stream;
use super::desk::Desk;
use super::script::Size;
use super::{CALLS_MAX, INBOUND_BYTES_MAX, MESSAGE_BYTES_MAX, METADATA_BYTES_MAX, OUTBOUND_BYTES_MAX, WINDOW};

#[derive(Arbitrary, Debug)]
pub(super) enum OurOp {
    Start {
        size: Size,
        waits: bool,
        deadline: bool,
        metadata: bool,
    },
    Call(Size),
    Lifecycle(Size),
    TryWait(u8),
    Wait(u8),
    Abandon(u8),
    Serve,
    /// Serves for as long as it takes to go to sleep once.
    Nap,
    Look,
    Answer {
        which: u8,
        action: u8,
    },
    Heartbeat,
    GoAway {
        text: u16,
    },
    Close {
        text: u16,
    },
}

/// A call of `initialize` or `shutdown`, by the side that may make one.
pub(super) type Lifecycle<R> = fn(&Session<R>, &[u8], &CallOptions) -> Option<Result<Reply, CallError>>;

/// The user of a session.
pub(super) struct Ours<R: Role> {
    pub(super) session: Session<R>,
    pub(super) desk: Arc<Desk>,
    pub(super) lifecycle: Lifecycle<R>,
    /// Calls without an outcome, and their bodies.
    calls: Vec<(PendingCall, Vec<u8>)>,
    streams: Vec<Stream>,
    placed: Placed,
    /// Bodies of replies that a host was given, and copies of them.
    kept: RefCell<Vec<(Body, Vec<u8>)>>,
    pub(super) closed: bool,
}

impl<R: Role> Ours<R> {
    pub(super) fn new(session: Session<R>, desk: Arc<Desk>, lifecycle: Lifecycle<R>) -> Self {
        Self {
            session,
            desk,
            lifecycle,
            calls: Vec::new(),
            streams: Vec::new(),
            placed: Placed::default(),
            kept: RefCell::default(),
            closed: false,
        }
    }

    pub(super) fn play(&mut self, op: OurOp) {
        match op {
            OurOp::Start { size, waits, deadline, metadata } => {
                let body = crate::pattern(size.bytes());
                let options = if deadline { at_once() } else { CallOptions::new() };
                let options = if metadata { options.metadata(small_metadata()) } else { options };
                let call = if waits {
                    self.session.start(1, &body, &options)
                } else {
                    self.session.try_start(1, &body, &options)
                };
                match call {
                    Ok(call) => self.calls.push((call, body)),
                    Err(error) => self.judge(Err(error), &body),
                }
            }
            OurOp::Call(size) => {
                let body = crate::pattern(size.bytes());
                let outcome = self.session.call(1, &body, &at_once());
                self.judge(outcome, &body);
            }
            OurOp::Lifecycle(size) => {
                let body = crate::pattern(size.bytes());
                if let Some(outcome) = (self.lifecycle)(&self.session, &body, &at_once()) {
                    self.judge(outcome, &body);
                }
            }
            OurOp::TryWait(which) => {
                let Some((call, body)) = self.pick(which) else { return };
                match call.try_wait() {
                    Ok(outcome) => self.judge(outcome, &body),
                    Err(call) if self.session.end().is_none() => self.calls.push((call, body)),
                    // Another thread may have seen the end meanwhile.
                    Err(call) => self.judge(call.try_wait().expect("a call outlives its session"), &body),
                }
            }
            OurOp::Wait(which) => {
                if let Some((call, body)) = self.pick(which) {
                    let outcome = call.wait();
                    self.judge(outcome, &body);
                }
            }
            OurOp::Abandon(which) => drop(self.pick(which)),
            OurOp::Serve => drop(self.session.serve_for(Duration::ZERO)),
            OurOp::Nap => drop(self.session.serve_for(Duration::from_nanos(1))),
            OurOp::Look => drop(self.session.peer_state()),
            OurOp::Answer { which, action } => self.desk.answer(which, action),
            OurOp::Heartbeat => self.session.heartbeat(),
            OurOp::GoAway { text } => self.session.go_away(&reason(text)),
            OurOp::Close { text } => {
                self.session.close(&reason(text));
                self.closed = true;
            }
        }
    }

    fn pick(&mut self, which: u8) -> Option<(PendingCall, Vec<u8>)> {
        let count = self.calls.len();
        (count > 0).then(|| self.calls.swap_remove(usize::from(which) % count))
    }

    pub(super) fn judge(&self, outcome: Result<Reply, CallError>, body: &[u8]) {
        match outcome {
            Ok(reply) => {
                assert!(reply.body.len() <= MESSAGE_BYTES_MAX, "M3: a reply of {} bytes", reply.body.len());
                assert!(self.desk.lied() || *reply.body == *body, "another reply");
                let copy = reply.body.to_vec();
                // A plugin may be looking at its host's memory.
                if R::SIDE == Side::A {
                    self.kept.borrow_mut().push((reply.body, copy));
                }
            }
            Err(CallError::SessionEnded { .. }) => assert!(self.session.end().is_some()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }

    /// What holds behind every operation.
    pub(super) fn check(&self, slot_count: u32) {
        if let Some(complaint) = self.desk.complaint() {
            panic!("{complaint}");
        }
        let stats = self.session.stats();
        assert!(stats.calls_in_flight <= self.session.peer().calls_max as usize + 1, "{stats:?}");
        assert!(stats.served_in_flight <= CALLS_MAX as usize + 1, "{stats:?}");
        // One message may be beyond the bound: its buffer grows by more than what comes, and its metadata are taken out.
        // So may the queues of items, which are never larger than a window of empty ones makes them.
        let queue = 2 * WINDOW as usize / 64 * size_of::<Body>();
        let queues = queue * 2 * (CALLS_MAX as usize + self.session.peer().calls_max as usize).min(64);
        let beyond = MESSAGE_BYTES_MAX + 2 * METADATA_BYTES_MAX + queues;
        assert!(stats.inbound_bytes <= INBOUND_BYTES_MAX + beyond, "{stats:?}");
        // Errors and control may come on top.
        assert!(stats.outbound_bytes <= OUTBOUND_BYTES_MAX + 4096, "{stats:?}");
        assert!(stats.slots_free <= slot_count, "{stats:?}");
        // A plugin reads long bodies where they lie, until their users are done with them.
        assert!(stats.runs_held == 0 || R::SIDE == Side::B, "{stats:?}");
        if !self.desk.lied() {
            assert_eq!(stats.faults, 0, "an honest peer is blamed: {:?}", self.session.end());
        }
    }

    /// Takes the outcome of every call, all of which must have one.
    pub(super) fn take_all(&mut self) {
        let kept = self.session.stats().inbound_bytes;
        let mut bytes = 0;
        for (call, body) in std::mem::take(&mut self.calls) {
            let outcome = call.try_wait().expect("the call has ended");
            // What this side says of a call is short.
            bytes += match &outcome {
                Ok(reply) => reply.body.len(),
                Err(CallError::Status(status)) => status.message.len() + status.details.len(),
                Err(_) => 0,
            }
            .saturating_sub(256);
            self.judge(outcome, &body);
        }
        self.poll_all();
        assert!(!self.has_futures(), "a future has no outcome");
        self.drain_streams();
        assert!(self.streams.is_empty(), "a call with streams has no outcome");
        let same = self.kept.borrow().iter().all(|(body, copy)| **body == **copy);
        assert!(same, "the body of a reply has changed since it was taken");
        assert!(
            self.session.end().is_none() || bytes <= kept,
            "outcomes of {bytes} bytes, of which {kept} were counted"
        );
    }

    /// Nothing is left of any call.
    pub(super) fn assert_idle(&self) {
        let stats = self.session.stats();
        let left = (stats.calls_in_flight, stats.served_in_flight, stats.inbound_bytes, stats.outbound_bytes);
        assert_eq!(left, (0, 0, 0, 0), "{stats:?}");
        // What a plugin was reading where it lies when its session ended is nobody's any more.
        assert!(stats.runs_held == 0 || R::SIDE == Side::B && self.session.end().is_some(), "{stats:?}");
    }
}

pub(super) fn at_once() -> CallOptions {
    CallOptions::new().deadline(Duration::ZERO)
}

pub(super) fn small_metadata() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("tracestate", "fuzz=1").expect("the pair is well formed");
    metadata
}

fn reason(text: u16) -> Status {
    Status::new(Code::Unavailable, "x".repeat(usize::from(text) % 2000))
}
