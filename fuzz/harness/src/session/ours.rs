//! The user of a session: its calls, and its handler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arbitrary::Arbitrary;
use rapace_session::{CallError, CallOptions, Code, IncomingCall, Metadata, PendingCall, Reply, Role, Session, Status};

use super::{
    CALLS_MAX, DEPTH_MAX, ECHO, INBOUND_BYTES_MAX, MESSAGE_BYTES_MAX, METADATA_BYTES_MAX, OUTBOUND_BYTES_MAX, Size,
};

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
    pub(super) closed: bool,
}

impl<R: Role> Ours<R> {
    pub(super) fn new(session: Session<R>, desk: Arc<Desk>, lifecycle: Lifecycle<R>) -> Self {
        Self { session, desk, lifecycle, calls: Vec::new(), closed: false }
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
                    Err(call) => {
                        assert!(self.session.end().is_none(), "a call outlives its session");
                        self.calls.push((call, body));
                    }
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

    fn judge(&self, outcome: Result<Reply, CallError>, body: &[u8]) {
        match outcome {
            Ok(reply) => {
                assert!(reply.body.len() <= MESSAGE_BYTES_MAX, "M3: a reply of {} bytes", reply.body.len());
                assert!(self.desk.lied() || *reply.body == *body, "another reply");
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
        let beyond = MESSAGE_BYTES_MAX + 2 * METADATA_BYTES_MAX;
        assert!(stats.inbound_bytes <= INBOUND_BYTES_MAX + beyond, "{stats:?}");
        // Errors and control may come on top.
        assert!(stats.outbound_bytes <= OUTBOUND_BYTES_MAX + 4096, "{stats:?}");
        assert!(stats.slots_free <= slot_count && stats.runs_held == 0, "{stats:?}");
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
        assert_eq!(stats.runs_held, 0);
    }
}

/// The handler's state.
#[derive(Debug, Default)]
pub(super) struct Desk {
    held: Mutex<Vec<IncomingCall>>,
    /// What was wrong with a call. The session catches a handler's panics, so it is said later.
    complaint: Mutex<Option<String>>,
    lied: AtomicBool,
}

impl Desk {
    /// Takes note of whether the peer has lied.
    pub(super) fn note(&self, lied: bool) {
        self.lied.store(lied, Ordering::Relaxed);
    }

    fn lied(&self) -> bool {
        self.lied.load(Ordering::Relaxed)
    }

    fn complaint(&self) -> Option<String> {
        self.complaint.lock().expect("no panic holds this lock").take()
    }

    fn held(&self) -> MutexGuard<'_, Vec<IncomingCall>> {
        self.held.lock().expect("no panic holds this lock")
    }

    pub(super) fn handle(&self, call: IncomingCall) {
        let metadata = call.metadata().iter().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>();
        let sound = call.body().len() <= MESSAGE_BYTES_MAX
            && metadata <= METADATA_BYTES_MAX
            && (1..=DEPTH_MAX).contains(&call.depth())
            && (self.lied() || call.body() == crate::pattern(call.body().len()));
        if !sound {
            *self.complaint.lock().expect("no panic holds this lock") = Some(format!("{call:?}"));
        }
        let action = call.method() % 10;
        if action == 1 { self.held().push(call) } else { act(call, action) }
    }

    /// Answers one of the calls that are held.
    fn answer(&self, which: u8, action: u8) {
        let mut held = self.held();
        let count = held.len();
        let call = (count > 0).then(|| held.swap_remove(usize::from(which) % count));
        drop(held);
        if let Some(call) = call {
            // A panic outside a handler is the user's own.
            act(call, if action % 10 == 3 { 4 } else { u32::from(action % 10) });
        }
    }

    /// Answers all that are held.
    pub(super) fn answer_all(&self) {
        while !self.held().is_empty() {
            self.answer(0, 0);
        }
    }
}

/// Ends a call, in one of ten ways.
fn act(mut call: IncomingCall, action: u32) {
    match action {
        ECHO => {
            let body = call.take_body();
            call.reply(&body);
        }
        2 => call.fail(Status { details: vec![7; 100], ..Status::new(Code::NotFound, "not here") }),
        // The fuzzer's own hook would end the process at a plain panic.
        3 => std::panic::resume_unwind(Box::new("the handler panics")),
        4 => drop(call),
        5 => {
            let nested = call.call_back(1, call.body(), &at_once());
            call.fail(Status::new(nested.map_or_else(|error| error.code(), |_| Code::Internal), "nested"));
        }
        6 => call.reply_with(b"decorated", &small_metadata()),
        7 => call.reply(&crate::pattern(9000)),
        8 => call.reply(&crate::pattern(20_000)),
        _ if call.is_cancelled() => call.fail(Status::new(Code::Cancelled, "")),
        _ => call.unimplemented(),
    }
}

fn at_once() -> CallOptions {
    CallOptions::new().deadline(Duration::ZERO)
}

fn small_metadata() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("tracestate", "fuzz=1").expect("the pair is well formed");
    metadata
}

fn reason(text: u16) -> Status {
    Status::new(Code::Unavailable, "x".repeat(usize::from(text) % 2000))
}
