//! The way to call a peer that is handed around: to typed clients, to tasks, to handlers that call back.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use rapace_core::Side;

use crate::calling::Calling;
use crate::calls::{CallKey, Reply};
use crate::draft::{Draft, DraftWriter};
use crate::drain::ended;
use crate::error::{CallError, SessionEnd};
use crate::flow::Streams;
use crate::in_place;
use crate::machine::Request;
use crate::opening::Opening;
use crate::patience::Patience;
use crate::pending::PendingCall;
use crate::prefix::Prefix;
use crate::role::Role;
use crate::scratch::Scratch;
use crate::served::LIFECYCLE_METHODS;
use crate::session::{CallOptions, Session};
use crate::shared::{Shared, request};
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
enum Target {
    Session(Arc<Shared>),
    Slot(Arc<Slot>),
}

struct Slot {
    session: RwLock<Weak<Shared>>,
    /// What is said when there is none.
    absent: String,
}

/// Whatever leads to a [`Caller`].
pub trait AsCaller {
    /// The way to call the peer.
    fn as_caller(&self) -> Caller;
}

impl AsCaller for Caller {
    fn as_caller(&self) -> Caller {
        self.clone()
    }
}

impl<R: Role> AsCaller for Session<R> {
    fn as_caller(&self) -> Caller {
        self.caller()
    }
}

/// Where the [`Caller`]s of a session that is not there yet find it, or that of its successor.
#[derive(Clone)]
pub struct CallerSlot(Arc<Slot>);

impl CallerSlot {
    /// Knows of no session. Calls are refused with this message as long as there is none.
    pub fn new(absent: impl Into<String>) -> Self {
        Self(Arc::new(Slot { session: RwLock::default(), absent: absent.into() }))
    }

    /// From now on this is the session.
    pub fn set<R: Role>(&self, session: &Session<R>) {
        *self.0.session.write() = Arc::downgrade(session.shared());
    }

    /// The way to call whichever session is there when a call is made.
    pub fn caller(&self) -> Caller {
        Caller { target: Target::Slot(Arc::clone(&self.0)), depth: 0 }
    }
}

impl fmt::Debug for CallerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.caller().fmt(f)
    }
}

impl Caller {
    pub(crate) fn new(shared: &Arc<Shared>, depth: u8) -> Self {
        Self { target: Target::Session(Arc::clone(shared)), depth }
    }

    /// The session itself, if this calls no other.
    #[inline]
    pub(crate) fn fixed(&self) -> Option<&Arc<Shared>> {
        match &self.target {
            Target::Session(shared) => Some(shared),
            Target::Slot(_) => None,
        }
    }

    /// The session, as far as it is there.
    pub(crate) fn shared(&self) -> Result<Arc<Shared>, CallError> {
        match &self.target {
            Target::Session(shared) => Ok(Arc::clone(shared)),
            Target::Slot(slot) => slot.session.read().upgrade().ok_or_else(|| {
                let reason = Status::new(Code::Unavailable, slot.absent.as_str());
                CallError::Refused { reason }
            }),
        }
    }

    /// The name of the peer, if there is a session.
    pub fn peer_name(&self) -> Option<String> {
        self.shared().ok().map(|shared| shared.peer().name.clone())
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
        Request { lifecycle, depth: request.depth.max(u32::from(self.depth) + 1), ..request }
    }

    /// Calls the peer and waits for its reply on this thread, serving its calls meanwhile. The lifecycle calls of a
    /// plugin (2000, 2002) go one at a time.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_blocking(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        match &self.target {
            Target::Session(shared) => shared.call_at(self.request(shared, method, body, options), options),
            Target::Slot(_) => {
                let shared = self.shared()?;
                let outcome = shared.call_at(self.request(&shared, method, body, options), options);
                match self.successor(&shared, &outcome, options) {
                    Some(again) => again.call_at(self.request(&again, method, body, options), options),
                    None => outcome,
                }
            }
        }
    }

    /// The session that has taken the place of one whose end a call has met, if the call is to be made again.
    pub(crate) fn successor(
        &self,
        ended: &Arc<Shared>,
        outcome: &Result<Reply, CallError>,
        options: &CallOptions,
    ) -> Option<Arc<Shared>> {
        let again = options.idempotent && matches!(outcome, Err(CallError::SessionEnded { .. }));
        let shared = again.then(|| self.shared().ok()).flatten()?;
        (!Arc::ptr_eq(&shared, ended)).then_some(shared)
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
        let shared = self.shared()?;
        let request = self.request(&shared, method, b"", options);
        match in_place::written(&shared, &request, bytes, fill)? {
            Ok(place) => in_place::call(&shared, request, place, bytes, options),
            Err(body) => shared.call_at(Request { body: &body, ..request }, options),
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
        let shared = self.shared()?;
        let request = self.request(&shared, method, b"", options);
        let written = in_place::written(&shared, &request, bytes, fill)?;
        // Calls of the peer are served while there is no room.
        let _nested = Shared::nest(request.depth);
        match written {
            Ok(place) => in_place::start(&shared, request, place, bytes, options),
            Err(body) => shared.start(Request { body: &body, ..request }, options),
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
        let placed = match draft.into_placed() {
            Ok(placed) => placed,
            Err(buffer) => return self.call_blocking(method, &buffer, options),
        };
        let shared = self.shared()?;
        let begin = Prefix::new(options.deadline, &options.metadata).bytes().len();
        if !placed.place.is_of(&shared) || placed.begin != begin || options.idempotent {
            // Its slots may be all that there are, so they go back before the copy asks for some.
            let mut body = Scratch::with_room(placed.bytes);
            body.extend(&placed);
            drop(placed);
            return self.call_blocking(method, &body, options);
        }
        in_place::call(&shared, self.request(&shared, method, b"", options), placed.place, placed.bytes, options)
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
        let shared = self.shared()?;
        let patience = shared.patience(options);
        let (key, patience) = self.opened(&shared, method, body, Streams::default(), patience, options).await?;
        Ok(PendingCall::new(shared, key, patience))
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
        let shared = self.shared()?;
        let patience = options.deadline.map_or_else(Patience::endless, |deadline| Patience::new(deadline).started());
        let (key, patience) = self.opened(&shared, method, body, streams, patience, options).await?;
        Ok(StreamingCall::new(shared, key, patience))
    }

    /// Opens a call.
    async fn opened(
        &self,
        shared: &Arc<Shared>,
        method: u32,
        body: &[u8],
        streams: Streams,
        patience: Patience,
        options: &CallOptions,
    ) -> Result<(CallKey, Patience), CallError> {
        let mut waiting = WaitsForRoom { shared, opening: Opening::default() };
        let (mut patience, mut first) = (patience, true);
        let opened = std::future::poll_fn(|cx| {
            let mut request = self.request_at(shared, method, body, options, &mut patience, std::mem::take(&mut first));
            request.lifecycle &= !streams.any();
            request.streams = streams;
            waiting.opening.poll(shared, cx, &request, &mut patience, false)
        });
        let (key, _) = opened.await?;
        Ok((key, patience))
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

    /// Waits until the session that is there now ends.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn ended(&self) -> Result<Arc<SessionEnd>, CallError> {
        Ok(ended(&self.shared()?).await)
    }

    /// Runs a future on this thread, which drains the ring and serves the peer's calls meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no session to wait on.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, CallError> {
        Ok(self.shared()?.block_on(future))
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
