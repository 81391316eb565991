//! The way to call a peer that is handed around: to typed clients, to tasks, to handlers that call back.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;

use rapace_core::Side;

use crate::calling::Calling;
use crate::calls::{CallKey, Outcome, Reply};
use crate::draft::{Draft, DraftWriter};
use crate::drain::ended;
use crate::error::{CallError, SessionEnd};
use crate::flow::Streams;
use crate::in_place::{self, Written};
use crate::machine::Request;
use crate::opening::Opening;
use crate::patience::Patience;
use crate::pending::PendingCall;
use crate::role::Role;
use crate::served::LIFECYCLE_METHODS;
use crate::session::{CallOptions, Session};
use crate::shared::{Shared, request};
use crate::slot::{Passage, Route, Slot};
use crate::status::{Code, Status};
use crate::streaming::StreamingCall;

/// Calls a peer. Cheap to clone, and used from any thread or task; it does not keep the session open.
///
/// Futures of it get on while somebody attends to the session: a thread that waits on it in any way, as
/// [`Session::serve`] and [`Caller::block_on`] do, or the task of an `AsyncSession`.
#[derive(Clone)]
pub struct Caller {
    target: Target,
    /// How deep in a chain of nested calls the calls are at least nested.
    depth: u8,
}

#[derive(Clone)]
pub(crate) enum Target {
    Session(Arc<Shared>),
    Slot(Arc<Slot>),
}

/// Whatever leads to a [`Caller`].
pub trait AsCaller {
    /// The way to call the peer.
    fn as_caller(&self) -> Caller;

    /// What a plugin that is built into this process gives to typed clients, which call it without a session then. It means
    /// something to them alone: a handle of such a plugin passes on what the plugin gives.
    fn built_in(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// What whoever leads to the peer puts around the calls of typed and dynamic clients: see
    /// `rapace_service::intercept::SharedInterceptors`. It means something to them alone.
    fn interceptors(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.as_caller().around()
    }
}

impl AsCaller for Caller {
    fn as_caller(&self) -> Caller {
        self.clone()
    }

    fn interceptors(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.around()
    }
}

impl<R: Role> AsCaller for Session<R> {
    fn as_caller(&self) -> Caller {
        self.caller()
    }
}

impl Caller {
    pub(crate) fn new(shared: &Arc<Shared>, depth: u8) -> Self {
        Self { target: Target::Session(Arc::clone(shared)), depth }
    }

    pub(crate) fn of_slot(slot: &Arc<Slot>) -> Self {
        Self { target: Target::Slot(Arc::clone(slot)), depth: 0 }
    }

    #[inline]
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The session, or one of them, as far as it is there.
    pub(crate) fn peek(&self) -> Option<Arc<Shared>> {
        match &self.target {
            Target::Session(shared) => Some(Arc::clone(shared)),
            Target::Slot(slot) => slot.peek(),
        }
    }

    /// What is around the calls of clients that are made of this.
    fn around(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.target {
            Target::Session(shared) => shared.around(),
            Target::Slot(slot) => slot.around(),
        }
    }

    /// The name of the peer, if there is a session.
    pub fn peer_name(&self) -> Option<String> {
        self.peek().map(|shared| shared.peer().name.clone())
    }

    pub(crate) fn request<'a>(
        &self,
        shared: &Shared,
        method: u32,
        body: &'a [u8],
        options: &'a CallOptions,
    ) -> Request<'a> {
        let request = request(method, body, options);
        let lifecycle = shared.side() == Side::A && LIFECYCLE_METHODS.contains(&method);
        let by_slot = matches!(self.target, Target::Slot(_));
        Request { lifecycle, by_slot, depth: request.depth.max(u32::from(self.depth) + 1), ..request }
    }

    /// Calls the peer and waits for its reply on this thread, serving its calls meanwhile. The lifecycle calls of a
    /// plugin (2000, 2002) go one at a time.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_blocking(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        match &self.target {
            Target::Session(shared) => {
                let request = self.request(shared, method, body, options);
                shared.call_at(request, &mut shared.patience(options))
            }
            Target::Slot(slot) => {
                let called = slot.call(None, options, |shared, patience, fresh| {
                    shared.call_at(self.request_at(shared, method, body, options, patience, fresh), patience).map(Ok)
                });
                replied(called)
            }
        }
    }

    /// The same with a body of `bytes` bytes that `fill` writes, straight into the memory that the peer reads if there is
    /// room for it. What is there before is zeros, or anything.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_in_place(
        &self,
        method: u32,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
        options: &CallOptions,
    ) -> Result<Reply, CallError> {
        let (mut fill, mut body) = (Some(fill), None);
        // What may be sent twice is not given away.
        let keeps = options.idempotent;
        match &self.target {
            Target::Session(shared) => {
                let request = self.request(shared, method, b"", options);
                let body = written(&mut body, &mut fill, shared, &request, bytes, false)?;
                body.call(shared, request, &mut shared.patience(options))
            }
            Target::Slot(slot) => replied(slot.call(None, options, |shared, patience, fresh| {
                let request = self.request_at(shared, method, b"", options, patience, fresh);
                written(&mut body, &mut fill, shared, &request, bytes, keeps)?.try_call(shared, request, patience)
            })),
        }
    }

    /// The same without waiting for the reply, so that one body is written while the peer reads another. It waits for room
    /// if there is none.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn start_in_place(
        &self,
        method: u32,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        let (mut fill, mut body) = (Some(fill), None);
        let mut start = |shared: &Arc<Shared>, request: Request<'_>, patience| {
            let body = written(&mut body, &mut fill, shared, &request, bytes, false)?;
            // Calls of the peer are served while there is no room.
            let _nested = Shared::nest(request.depth);
            body.start(shared, request, patience)
        };
        match &self.target {
            Target::Session(shared) => {
                start(shared, self.request(shared, method, b"", options), shared.patience(options))
            }
            Target::Slot(slot) => {
                let started = slot.call(None, options, |shared, patience, fresh| {
                    let request = self.request_at(shared, method, b"", options, patience, fresh);
                    start(shared, request, *patience)
                });
                started.map(|(pending, passage)| pending.by(passage))
            }
        }
    }

    /// The body of a request with these options, to be written for [`call_draft`](Self::call_draft).
    #[doc(hidden)]
    pub fn draft<'a>(&'a self, options: &'a CallOptions) -> DraftWriter<'a> {
        DraftWriter::of_request(self, options)
    }

    /// [`call_blocking`](Self::call_blocking) with what was written.
    #[doc(hidden)]
    pub fn call_draft(&self, method: u32, draft: Draft, options: &CallOptions) -> Result<Reply, CallError> {
        let mut body = match draft.into_placed() {
            Ok(placed) => Written::Placed(*placed),
            Err(buffer) => return self.call_blocking(method, &buffer, options),
        };
        match &self.target {
            Target::Session(shared) => {
                let request = self.request(shared, method, b"", options);
                body.call(shared, request, &mut shared.patience(options))
            }
            Target::Slot(slot) => {
                let home = body.home();
                replied(slot.call(home.as_ref(), options, |shared, patience, fresh| {
                    body.try_call(shared, self.request_at(shared, method, b"", options, patience, fresh), patience)
                }))
            }
        }
    }

    /// Calls the peer and waits for its reply. Dropped, the call is cancelled.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call<'a>(&'a self, method: u32, body: &'a [u8], options: &'a CallOptions) -> Calling<'a, &'a [u8]> {
        self.call_with(method, body, Cow::Borrowed(options))
    }

    /// The same with a body, and perhaps options, of the future's own.
    #[doc(hidden)]
    pub fn call_with<'a, B: Deref<Target = [u8]>>(
        &'a self,
        method: u32,
        body: B,
        options: Cow<'a, CallOptions>,
    ) -> Calling<'a, B> {
        Calling::new(self, method, body, options)
    }

    /// Sends a request, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn start(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<PendingCall, CallError> {
        let (shared, key, patience, passage) = self.opened(method, body, Streams::default(), options).await?;
        Ok(PendingCall::new(shared, key, patience).by(passage))
    }

    /// Opens a call with items beside its request and its reply, and waits for room if there is none. It has the deadline
    /// of the options, and without one no end.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn open(
        &self,
        method: u32,
        body: &[u8],
        streams: Streams,
        options: &CallOptions,
    ) -> Result<StreamingCall, CallError> {
        let (shared, key, patience, passage) = self.opened(method, body, streams, options).await?;
        Ok(StreamingCall::new(shared, key, patience, passage))
    }

    /// Opens a call.
    async fn opened(
        &self,
        method: u32,
        body: &[u8],
        streams: Streams,
        options: &CallOptions,
    ) -> Result<(Arc<Shared>, CallKey, Patience, Passage), CallError> {
        let begun = |shared: &Shared| match options.deadline {
            None if streams.any() => Patience::endless(),
            _ => shared.patience(options),
        };
        let slot = match &self.target {
            Target::Slot(slot) => slot,
            Target::Session(shared) => {
                let mut patience = begun(shared);
                let key = self.opened_at(shared, method, body, streams, &mut patience, true, options).await?;
                return Ok((Arc::clone(shared), key, patience, Passage::default()));
            }
        };
        let (mut route, mut patience) = (Route::default(), None);
        let outcome = loop {
            let found = match poll_fn(|cx| route.poll_find(slot, cx, &mut patience, options)).await {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let patience = patience.get_or_insert_with(|| begun(&found.shared));
            let fresh = route.is_fresh();
            match self.opened_at(&found.shared, method, body, streams, patience, fresh, options).await {
                Ok(key) => {
                    let (shared, passage) = route.leave(found);
                    return Ok((shared, key, *patience, passage));
                }
                Err(error) if route.goes_on(slot, &found.shared, &error, patience, options) => {}
                Err(error) => break Err(error),
            }
        };
        route.ended(&outcome);
        outcome
    }

    /// Opens a call of a session.
    #[expect(clippy::too_many_arguments, reason = "what a request is made of, and when")]
    async fn opened_at(
        &self,
        shared: &Arc<Shared>,
        method: u32,
        body: &[u8],
        streams: Streams,
        patience: &mut Patience,
        mut fresh: bool,
        options: &CallOptions,
    ) -> Result<CallKey, CallError> {
        let mut waiting = WaitsForRoom { shared, opening: Opening::default() };
        let opened = poll_fn(|cx| {
            let mut request = self.request_at(shared, method, body, options, patience, std::mem::take(&mut fresh));
            request.lifecycle &= !streams.any();
            request.streams = streams;
            waiting.opening.poll(shared, cx, &request, patience, false)
        });
        Ok(opened.await?.0)
    }

    /// A request of the polling thread: it is this one that knows how deep it is. Behind the `first` poll less time is left.
    pub(crate) fn request_at<'a>(
        &self,
        shared: &Shared,
        method: u32,
        body: &'a [u8],
        options: &'a CallOptions,
        patience: &mut Patience,
        first: bool,
    ) -> Request<'a> {
        let mut request = self.request(shared, method, body, options);
        if !first && request.time_left.is_some() {
            // One without an end stays so.
            request.time_left = patience.left().or(request.time_left);
        }
        request
    }

    /// Waits until the session that is there now ends; of several, one of them.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn ended(&self) -> Result<Arc<SessionEnd>, CallError> {
        let nobody = || CallError::Refused { reason: Status::new(Code::Unavailable, "there is no session") };
        Ok(ended(&self.peek().ok_or_else(nobody)?).await)
    }

    /// Runs a future on this thread, which drains the ring and serves the peer's calls meanwhile. By way of a slot this is
    /// the ring of one of its sessions, and while there is none but one is on its way, the thread only runs the future.
    ///
    /// # Errors
    ///
    /// When there is no session to wait on.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, CallError> {
        match &self.target {
            Target::Session(shared) => Ok(shared.block_on(future)),
            Target::Slot(slot) => slot.block_on(future),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("peer", &self.peer_name()).finish()
    }
}

/// A task that waits for room, until it goes.
struct WaitsForRoom<'a> {
    shared: &'a Shared,
    opening: Opening,
}

impl Drop for WaitsForRoom<'_> {
    fn drop(&mut self) {
        self.opening.give_up(self.shared);
    }
}

/// The reply to a call by way of a slot.
fn replied(called: Result<(Outcome, Passage), CallError>) -> Outcome {
    let (outcome, mut passage) = called?;
    passage.ended(&outcome);
    outcome
}

/// The body of a call in place, which is written for its first attempt.
fn written<'a>(
    body: &'a mut Option<Written>,
    fill: &mut Option<impl FnOnce(&mut [u8])>,
    shared: &Arc<Shared>,
    request: &Request<'_>,
    bytes: usize,
    keeps: bool,
) -> Result<&'a mut Written, CallError> {
    if let Some(fill) = fill.take() {
        *body = Some(in_place::written(shared, request, bytes, keeps, fill)?);
    }
    body.as_mut().ok_or(CallError::WouldBlock)
}
