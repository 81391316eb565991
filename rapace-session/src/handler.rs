//! The serving side of a call: handlers, and what they are given.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rapace_core::crash::{Point, crash_point};
use rapace_core::slots::Class;

use rapace_registry::Registry;

use crate::body::Body;
use crate::caller::Caller;
use crate::calls::Reply;
use crate::draft::{Draft, DraftWriter};
use crate::error::CallError;
use crate::executor::panic_guard;
#[cfg(feature = "fault-injection")]
use crate::fault_injection::Coming;
use crate::flow::Streams;
use crate::in_place::Place;
use crate::machine::StreamKey;
use crate::metadata::Metadata;
use crate::nest::Nest;
use crate::nesting::Nesting;
use crate::served::{Arrived, ServedKey, Standing};
use crate::session::CallOptions;
use crate::shared::Shared;
use crate::state::State;
use crate::status::{Code, Status};
use crate::streaming::{self, Items};

/// Serves the peer's calls.
///
/// It runs on whatever thread drains the ring: one that serves, or one that waits for a reply of its own. It may answer at
/// once, or move the call elsewhere (it owns it) and answer later. One that blocks holds up the thread that it runs on,
/// and with it that thread's own call, beyond its deadline if need be. A panic is caught and becomes an `Internal` status.
///
/// Any `Fn(IncomingCall)` is a handler; [`Router`](crate::Router) chooses one by method.
pub trait Handler: Send + Sync + 'static {
    /// Takes a call of the peer.
    fn handle(&self, call: IncomingCall);

    /// What it serves, and what it expects of the peer: told to the peer where the session's configuration has no
    /// registry. One without services tells nothing.
    ///
    /// # Errors
    ///
    /// Why it cannot be described; there is no session then.
    fn registry(&self) -> Result<Registry, Status> {
        Ok(Registry::default())
    }
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

/// Hears how a call ends: well, or with a code; and how many bytes the reply has.
struct Watcher(Box<dyn FnOnce(Option<Code>, usize) + Send + Sync>);

/// A call of the peer, to be answered exactly once. Dropped without an answer, it is answered with `Internal`.
#[must_use = "a call that is dropped is answered with an error"]
pub struct IncomingCall {
    shared: Arc<Shared>,
    arrived: Arrived,
    answered: bool,
    /// Who hears of its end.
    watcher: Option<Box<Watcher>>,
    /// What it has yet to meet on purpose.
    #[cfg(feature = "fault-injection")]
    coming: Option<Box<Coming>>,
}

// It is moved whole on its way to a handler and back, and beyond this each of these moves is a call of `memcpy`.
#[cfg(not(feature = "fault-injection"))]
const _: () = assert!(size_of::<IncomingCall>() <= 128);

impl IncomingCall {
    pub(crate) fn new(shared: Arc<Shared>, mut arrived: Arrived) -> Self {
        arrived.body.leave_for(&shared);
        Self {
            shared,
            arrived,
            answered: false,
            watcher: None,
            #[cfg(feature = "fault-injection")]
            coming: None,
        }
    }

    /// The method that is called.
    pub fn method(&self) -> u32 {
        self.arrived.method
    }

    /// The argument's bytes. Those of a trusted peer, if they are many, are not copied: they are borrowed from its memory
    /// until the call goes, or the [taken](Self::take_body) body does.
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
        let cancelled = self.shared.state().machine.ask_whether_cancelled(self.arrived.key);
        cancelled || self.time_left().is_some_and(|left| left.is_zero())
    }

    /// Ready when nobody waits for the answer any more, because the caller has cancelled, as it does when its time is over,
    /// or the session has ended; and once the call was answered. Of several tasks that poll, the last is woken.
    pub fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_cancelled_as(0, cx)
    }

    /// The same, for as many as like to wait.
    pub async fn cancelled(&self) {
        let number = self.shared.state().machine.cancel_number();
        let waits = WaitsForCancel { call: self, number };
        std::future::poll_fn(|cx| waits.call.poll_cancelled_as(number, cx)).await;
    }

    fn poll_cancelled_as(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state();
        let over = state.machine.set_cancel_waker(self.arrived.key, number, cx.waker());
        self.shared.leave(state);
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What goes beside the request and the reply, as the caller has said.
    pub fn streams(&self) -> Streams {
        self.arrived.streams
    }

    /// The caller's items. They outlive the call no longer than to say so.
    pub fn items(&self) -> Items {
        Items::new(Arc::clone(&self.shared), self.arrived.key)
    }

    /// Sends the caller an item as soon as there is credit and room.
    ///
    /// # Errors
    ///
    /// When it will never go: it is too large, the caller takes none, has cancelled, or is gone.
    pub fn poll_send(&self, cx: &mut Context<'_>, item: &[u8]) -> Poll<Result<(), CallError>> {
        if !self.arrived.streams.receives {
            let status = Status::new(Code::FailedPrecondition, "the caller takes no items");
            return Poll::Ready(Err(CallError::Status(status)));
        }
        #[cfg(feature = "fault-injection")]
        if let Some(coming) = &self.coming
            && coming.poll_item(&self.shared, cx).is_pending()
        {
            return Poll::Pending;
        }
        let mut state = self.shared.state();
        if !state.leading {
            state.pump();
        }
        let sent = streaming::send(&mut state, StreamKey::Theirs(self.arrived.key), item, cx.waker());
        state.flush();
        self.shared.leave(state);
        #[cfg(feature = "fault-injection")]
        if let (Some(coming), Poll::Ready(Ok(()))) = (&self.coming, &sent) {
            coming.item_sent();
        }
        sent
    }

    /// The largest reply that the caller takes, in bytes.
    pub fn reply_bytes_max(&self) -> usize {
        self.shared.peer().message_bytes_max
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
        self.caller().call_blocking(method, body, options)
    }

    /// The way to call the caller back, nested in this call, also when it is kept for longer.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.shared, self.arrived.depth)
    }

    /// Runs a future for this call. It is polled at once, in place; if it is not ready it moves to the executor, which is
    /// tokio's when this session was given a runtime, and else the threads that wait on it.
    ///
    /// When the call is cancelled the future is dropped where it stands, unless it has asked for that itself, by
    /// [`is_cancelled`](Self::is_cancelled), [`cancelled`](Self::cancelled) or [`poll_cancelled`](Self::poll_cancelled):
    /// then it is polled, and ends as it likes.
    pub fn run_async<F, Fut>(self, make: F)
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (shared, depth, key) = (Arc::clone(&self.shared), self.arrived.depth, self.arrived.key);
        let mut future = Nest::new(make(self));
        #[cfg(feature = "tokio")]
        let _runtime = shared.runtime().map(::tokio::runtime::Handle::enter);
        // The executor polls again, with a waker of its own.
        match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => future.leave(),
            Poll::Pending => {
                let (shared_too, future) = (Arc::clone(&shared), Some(Box::pin(future) as _));
                let handler = Pending { shared: shared_too, key, future, asks: false, answered: false };
                shared.spawn(depth, Box::pin(handler));
            }
        }
    }

    /// Has somebody hear how the call ends, just before the caller does, and once: well, or with a code; and how many bytes
    /// the reply has. It is for who hands the call on to another handler. Of several, the last that was set hears of it.
    pub fn on_end(&mut self, watcher: impl FnOnce(Option<Code>, usize) + Send + Sync + 'static) {
        self.watcher = Some(Box::new(Watcher(Box::new(watcher))));
    }

    #[cold]
    fn tell(&mut self, code: Option<Code>, bytes: usize) {
        if let Some(watcher) = self.watcher.take() {
            // It is somebody else's code, and no matter of the handler's.
            panic_guard(|| watcher.0(code, bytes));
        }
    }

    /// Answers with a reply. It never waits: what finds no room is sent when there is some.
    pub fn reply(self, body: &[u8]) {
        self.answer(Ok(body), &Metadata::new());
    }

    /// Answers with a reply of `bytes` bytes that `fill` writes, straight into the memory that the caller reads if there is
    /// room for it. What is there before is zeros, or anything.
    pub fn reply_in_place(self, bytes: usize, fill: impl FnOnce(&mut [u8])) {
        // What is kept for replies is for those that cannot wait until this one is written.
        let Some(mut place) = Place::new(&self.shared, Class::Request, bytes) else {
            let mut body = vec![0; bytes];
            fill(&mut body);
            return self.reply(&body);
        };
        fill(&mut place.bytes()[..bytes]);
        self.reply_placed(place, bytes);
    }

    /// The reply, to be written with [`reply_draft`](Self::reply_draft) in view.
    #[doc(hidden)]
    pub fn draft(&self) -> DraftWriter<'_> {
        DraftWriter::of_reply(self)
    }

    /// Answers with what was written.
    #[doc(hidden)]
    pub fn reply_draft(self, draft: Draft) {
        match draft.into_placed() {
            Ok(placed) if placed.place.is_of(&self.shared) => self.reply_placed(placed.place, placed.bytes),
            Ok(placed) => self.reply(&placed),
            Err(buffer) => self.reply(&buffer),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Answers with what lies in slots.
    fn reply_placed(mut self, mut place: Place, bytes: usize) {
        #[cfg(feature = "fault-injection")]
        if self.coming.is_some() {
            let body = place.bytes()[..bytes].to_vec();
            drop(place);
            return self.reply(&body);
        }
        let shared = Arc::clone(&self.shared);
        let Some(loan) = place.loan().take() else { return };
        if self.watcher.is_some() {
            self.tell(None, bytes);
        }
        let mut state = shared.state();
        let State { machine, link, .. } = &mut *state;
        *place.loan() = machine.finish_in_place(self.arrived.key, loan, bytes, link);
        state.flush();
        shared.leave(state);
        if place.loan().is_some() {
            // It has to wait for room, and not in the slots.
            let body = place.bytes()[..bytes].to_vec();
            drop(place);
            return self.reply(&body);
        }
        self.answered = true;
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
        #[cfg(feature = "fault-injection")]
        let other = self.coming.take().and_then(|coming| coming.answer(&self.shared, result.ok()));
        #[cfg(feature = "fault-injection")]
        let result = other.as_deref().map_or(result, Ok);
        if self.watcher.is_some() {
            match result {
                Ok(body) if body.len() > self.reply_bytes_max() => self.tell(Some(Code::ResourceExhausted), 0),
                Ok(body) => self.tell(None, body.len()),
                Err(status) => self.tell(Some(status.code), 0),
            }
        }
        self.shared.finish(self.arrived.key, result, metadata);
    }

    /// Runs `handler` on this call, with nested calls counted as such.
    pub(crate) fn run(self, handler: &dyn Handler) {
        #[cfg(feature = "fault-injection")]
        if self.shared.armed().is_some() {
            if let Some(call) = crate::fault_injection::meet(self) {
                call.begin(handler);
            }
            return;
        }
        self.begin(handler);
    }

    /// The same, without what is met on purpose.
    pub(crate) fn begin(self, handler: &dyn Handler) {
        if self.time_left().is_some_and(|left| left.is_zero()) {
            // SPEC C8: nobody waits for what it would do.
            return self.fail(Status::new(Code::DeadlineExceeded, "the caller's time was over before the call began"));
        }
        let _nested = Nesting::enter(self.depth());
        // A handler that panics drops the call, which answers it.
        crash_point(Point::BeforeHandler);
        panic_guard(|| handler.handle(self));
        crash_point(Point::AfterHandler);
    }
}

#[cfg(feature = "fault-injection")]
impl IncomingCall {
    /// From now on it has this body; gives the one that it had.
    pub(crate) fn replace_body(&mut self, body: Body) -> Body {
        std::mem::replace(&mut self.arrived.body, body)
    }

    /// Something is to be met later.
    pub(crate) fn set_coming(&mut self, coming: Option<Coming>) {
        self.coming = coming.map(Box::new);
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        #[cfg(feature = "fault-injection")]
        if let Some(coming) = &self.coming {
            coming.give_up(&self.shared);
        }
        if !self.answered {
            let method = self.arrived.method;
            let cancelled = self.shared.state().machine.is_cancelled(self.arrived.key);
            let status = if std::thread::panicking() {
                let message = format!("the handler of method {method} panicked: the callee's output says why");
                Status::new(Code::Internal, message)
            } else if cancelled {
                Status::new(Code::Cancelled, "the caller cancelled the call")
            } else {
                Status::new(Code::Internal, format!("the handler of method {method} ended without an answer"))
            };
            self.tell(Some(status.code), 0);
            self.shared.finish(self.arrived.key, Err(&status), &Metadata::new());
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

/// A handler that is not ready, until it is, or nobody wants it any more.
struct Pending {
    shared: Arc<Shared>,
    key: ServedKey,
    future: Option<crate::tasks::Future>,
    /// It wants to hear of a cancel itself.
    asks: bool,
    /// Its call has been answered: it goes on for reasons of its own.
    answered: bool,
}

impl Future for Pending {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.answered {
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state();
            let (standing, ended) = (state.machine.stands(self.key, cx.waker()), state.machine.end().is_some());
            shared.leave(state);
            match standing {
                Standing::Wanted { asks } => self.asks = asks,
                Standing::Gone if !ended => self.answered = true,
                Standing::Gone if self.asks => {}
                Standing::Gone | Standing::Unwanted => {
                    // With it goes the call, which is answered by that.
                    self.future = None;
                    return Poll::Ready(());
                }
            }
        }
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// One of those that wait for a call to be cancelled.
struct WaitsForCancel<'a> {
    call: &'a IncomingCall,
    number: u64,
}

impl Drop for WaitsForCancel<'_> {
    fn drop(&mut self) {
        let mut state = self.call.shared.state();
        state.machine.remove_cancel_waker(self.call.arrived.key, self.number);
        self.call.shared.leave(state);
    }
}
