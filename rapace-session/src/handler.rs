//! The serving side of a call: handlers, and what they are given.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::body::Body;
use crate::calls::Reply;
use crate::error::CallError;
use crate::metadata::Metadata;
use crate::served::Arrived;
use crate::session::CallOptions;
use crate::shared::Shared;
use crate::status::{Code, Status};

/// Serves the peer's calls.
///
/// It runs on whatever thread drains the ring: one that serves, or one that waits for a reply of its own. It may answer at
/// once, or move the call elsewhere (it owns it) and answer later. One that blocks holds up the thread that it runs on,
/// and with it that thread's own call, beyond its deadline if need be. A panic is caught and becomes an `Internal` status.
///
/// Any `Fn(IncomingCall)` is a handler; [`Router`] chooses one by method.
pub trait Handler: Send + Sync + 'static {
    /// Takes a call of the peer.
    fn handle(&self, call: IncomingCall);
}

impl<F: Fn(IncomingCall) + Send + Sync + 'static> Handler for F {
    fn handle(&self, call: IncomingCall) {
        self(call);
    }
}

/// Serves nothing: every call is answered with `Unimplemented`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoService;

impl Handler for NoService {
    fn handle(&self, call: IncomingCall) {
        call.unimplemented();
    }
}

/// Chooses a handler by method; a method that it does not know is `Unimplemented`.
#[derive(Default)]
pub struct Router {
    methods: HashMap<u32, Box<dyn Handler>>,
}

impl Router {
    /// Knows no methods.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method. A later handler of the same method takes the place of an earlier one.
    #[must_use]
    pub fn method(mut self, method: u32, handler: impl Handler) -> Self {
        self.methods.insert(method, Box::new(handler));
        self
    }
}

impl Handler for Router {
    fn handle(&self, call: IncomingCall) {
        match self.methods.get(&call.method()) {
            Some(handler) => handler.handle(call),
            None => call.unimplemented(),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}

/// A call of the peer, to be answered exactly once. Dropped without an answer, it is answered with `Internal`.
#[must_use = "a call that is dropped is answered with an error"]
pub struct IncomingCall {
    shared: Arc<Shared>,
    arrived: Arrived,
    answered: bool,
}

impl IncomingCall {
    pub(crate) fn new(shared: Arc<Shared>, arrived: Arrived) -> Self {
        Self { shared, arrived, answered: false }
    }

    /// The method that is called.
    pub fn method(&self) -> u32 {
        self.arrived.method
    }

    /// The argument's bytes.
    pub fn body(&self) -> &[u8] {
        &self.arrived.body
    }

    /// Takes the argument's bytes out of the call.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.arrived.body)
    }

    /// What came beside the body.
    pub fn metadata(&self) -> &Metadata {
        &self.arrived.metadata
    }

    /// How deep in a chain of nested calls this is, from 1.
    pub fn depth(&self) -> u8 {
        self.arrived.depth
    }

    /// Until when the caller waits, if it has said so.
    pub fn deadline(&self) -> Option<Instant> {
        self.arrived.deadline
    }

    /// How long the caller still waits, if it has said so.
    pub fn time_left(&self) -> Option<Duration> {
        self.arrived.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether nobody waits for the answer any more: the caller has cancelled, its time is over, or the session has ended.
    pub fn is_cancelled(&self) -> bool {
        self.time_left().is_some_and(|left| left.is_zero())
            || self.shared.state().machine.is_cancelled(self.arrived.key)
    }

    /// The name of the calling peer.
    pub fn peer(&self) -> &str {
        &self.shared.peer().name
    }

    /// Calls the caller, nested in this call, and waits for its reply. It works from any thread.
    ///
    /// # Errors
    ///
    /// As [`Session::call`](crate::Session::call).
    pub fn call_back(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        self.shared.call_at(self.arrived.depth, method, body, options)
    }

    /// Answers with a reply. It never waits: what finds no room is sent when there is some.
    pub fn reply(self, body: &[u8]) {
        self.answer(Ok(body), &Metadata::new());
    }

    /// Answers with a reply and metadata.
    pub fn reply_with(self, body: &[u8], metadata: &Metadata) {
        self.answer(Ok(body), metadata);
    }

    /// Answers with an error.
    pub fn fail(self, status: Status) {
        self.answer(Err(&status), &Metadata::new());
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) {
        let message = format!("method {} is not served here", self.method());
        self.fail(Status::new(Code::Unimplemented, message));
    }

    fn answer(mut self, result: Result<&[u8], &Status>, metadata: &Metadata) {
        self.answered = true;
        self.shared.finish(self.arrived.key, result, metadata);
    }

    /// Runs `handler` on this call, with nested calls counted as such.
    pub(crate) fn run(self, handler: &dyn Handler) {
        if self.time_left().is_some_and(|left| left.is_zero()) {
            // SPEC C8: nobody waits for what it would do.
            return self.fail(Status::new(Code::DeadlineExceeded, "the caller's time was over before the call began"));
        }
        let _nested = Nesting::enter(self.depth());
        // A handler that panics drops the call, which answers it.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler.handle(self)));
        if let Err(payload) = outcome {
            tracing::error!("a handler panicked");
            // What was thrown may throw in turn when it is dropped: that is forgotten, and only that, because a peer may
            // be able to make a handler panic as often as it likes.
            let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
            let _ = dropped.map_err(std::mem::forget);
        }
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if !self.answered {
            let message =
                if std::thread::panicking() { "the handler panicked" } else { "the handler ended without an answer" };
            self.shared.finish(self.arrived.key, Err(&Status::new(Code::Internal, message)), &Metadata::new());
        }
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("channel", &self.arrived.key.channel())
            .field("method", &self.arrived.method)
            .field("depth", &self.arrived.depth)
            .field("bytes", &self.arrived.body.len())
            .finish()
    }
}

thread_local!(static DEPTH: Cell<u8> = const { Cell::new(0) });

/// The depth of the handler that this thread runs, or 0.
pub(crate) fn depth() -> u8 {
    DEPTH.get()
}

/// While this lives, the thread runs a handler of some depth.
pub(crate) struct Nesting {
    outer: u8,
}

impl Nesting {
    pub(crate) fn enter(depth: u8) -> Self {
        Self { outer: DEPTH.replace(depth) }
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        DEPTH.set(self.outer);
    }
}
