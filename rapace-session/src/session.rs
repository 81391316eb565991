//! A session, and the blocking way to use it.
//!
//! No thread belongs to a session. Whoever waits drains the ring meanwhile (`shared/waiting.rs` tells how), so that a reply needs
//! no hop from thread to thread, and a plain client no thread of its own.

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rapace_core::link::{Link, LinkStats};

use crate::caller::Caller;
use crate::calls::Reply;
use crate::config::Config;
use crate::drain::{Which, drained};
use crate::error::{CallError, SessionEnd};
use crate::handler::Handler;
use crate::hello::PeerInfo;
use crate::liveness::PeerState;
use crate::machine::Request;
use crate::metadata::Metadata;
use crate::observe::CallCounts;
use crate::patience::Patience;
use crate::pending::PendingCall;
use crate::process::Process;
use crate::role::{PeerA, Role};
use crate::shared::{Purpose, Shared, request};
use crate::state::State;
use crate::status::{Code, Status};

/// Options of one call.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    pub(crate) deadline: Option<Duration>,
    pub(crate) metadata: Metadata,
    pub(crate) idempotent: bool,
}

impl CallOptions {
    /// The session's default timeout, no metadata, and not idempotent.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait for the reply. The peer is told, and need not begin when the time is over.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// What goes beside the body.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// To run the call twice does no harm. One that may have run when its session has ended is made again, once, if there is
    /// another session, which only a [`Caller`] that outlives sessions can tell; both share one deadline.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The deadline, if it is not the session's default.
    pub fn get_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The metadata.
    pub fn get_metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether the call may be made again.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }
}

/// Counters of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Frames, bells and sleeps.
    pub link: LinkStats,
    /// Calls of this side that are in flight.
    pub calls_in_flight: usize,
    /// Calls of the peer that are in flight.
    pub served_in_flight: usize,
    /// Bytes of messages from the peer that are kept.
    pub inbound_bytes: usize,
    /// Bytes that wait for the peer to make room.
    pub outbound_bytes: usize,
    /// Own descriptors that the peer has yet to take, as far as it has said so: it says so at least once for half a ring.
    pub ring_used: u32,
    /// Descriptors of the own ring.
    pub ring_capacity: u32,
    /// Own slots that are free.
    pub slots_free: u32,
    /// Own slots.
    pub slot_count: u32,
    /// Runs of the peer's slots that this side holds.
    pub runs_held: u32,
    /// Handlers that wait for something, and for the threads of this session to poll them again.
    pub tasks: usize,
    /// Faults of the peer.
    pub faults: u32,
    /// Requests of the peer that were larger than is taken, and were answered with that.
    pub requests_refused: u64,
    /// Calls of the peer that were more than are served at once, and were answered with that.
    pub calls_refused: u64,
}

/// One end of an open session.
///
/// It is cheap to clone, and all its methods may be called from many threads at once. When the last clone is dropped the
/// session is closed, and a process that it was given is killed, if it has not ended.
pub struct Session<R: Role> {
    owner: Arc<Owner>,
    role: PhantomData<fn() -> R>,
}

/// Closes the session when the last of its user's handles is gone. Calls that are with handlers do not keep it open.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close(&Status::new(Code::Unavailable, "the session was dropped"));
        if let Some(process) = self.0.process() {
            process.lock().kill();
        }
    }
}

impl<R: Role> Clone for Session<R> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner), role: PhantomData }
    }
}

impl<R: Role> fmt::Debug for Session<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("side", &R::SIDE).field("peer", &self.peer().name).finish()
    }
}

impl<R: Role> Session<R> {
    pub(crate) fn new(
        link: Link,
        process: Option<Process>,
        config: Config,
        peer: PeerInfo,
        handler: Box<dyn Handler>,
    ) -> io::Result<Self> {
        let shared = Shared::new(R::SIDE, link, process, &config, peer, handler)?;
        Ok(Self { owner: Arc::new(Owner(Arc::new(shared))), role: PhantomData })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// What is known of the peer.
    pub fn peer(&self) -> &PeerInfo {
        self.shared().peer()
    }

    /// The number that tells the sessions of a host apart.
    pub fn nonce(&self) -> u64 {
        self.shared().state().link.nonce()
    }

    /// The id of the peer's process, if this side started it.
    pub fn process_id(&self) -> Option<u32> {
        self.shared().process().map(|process| process.lock().id())
    }

    /// Calls the peer and waits for its reply, serving its calls meanwhile.
    ///
    /// # Errors
    ///
    /// See [`CallError`]: each says by its variant whether the call may have been run.
    pub fn call(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        self.shared().call(request(method, body, options), options)
    }

    /// Sends a request and does not wait for the reply, though for room if there is none.
    ///
    /// # Errors
    ///
    /// As [`Session::call`].
    pub fn start(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<PendingCall, CallError> {
        self.shared().start(request(method, body, options), self.shared().patience(options))
    }

    /// Sends a request if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`CallError::WouldBlock`] when there is none; else as [`Session::call`].
    pub fn try_start(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<PendingCall, CallError> {
        self.shared().try_start(method, body, options)
    }

    /// The way to call the peer, for typed clients and for tasks.
    pub fn caller(&self) -> Caller {
        Caller::new(self.shared(), 0)
    }

    /// Runs a future on this thread, which drains the ring and serves the peer's calls meanwhile.
    ///
    /// A future that waits for another session gets on as far as somebody attends to that one.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.shared().block_on(future)
    }

    /// Serves the peer's calls on this thread until the session ends; says why it has.
    pub fn serve(&self) -> Arc<SessionEnd> {
        let shared = self.shared();
        loop {
            let end = shared.wait(Purpose::Serve, &mut Patience::endless(), |state| state.machine.end().cloned());
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Serves the peer's calls on this thread for so long; says why the session has ended, if it has.
    pub fn serve_for(&self, time: Duration) -> Option<Arc<SessionEnd>> {
        self.shared().wait(Purpose::Serve, &mut Patience::new(time), |state| state.machine.end().cloned())
    }

    /// Says that this side makes progress. Handling frames says so by itself; a handler that computes for longer than
    /// the peer's liveness timeout says it with this.
    pub fn heartbeat(&self) {
        self.shared().state().link.beat();
    }

    /// How the peer is.
    pub fn peer_state(&self) -> PeerState {
        self.shared().peer_state()
    }

    /// Whether the peer is there and, as far as it owes that, makes progress.
    pub fn is_peer_alive(&self) -> bool {
        matches!(self.peer_state(), PeerState::Alive | PeerState::Dormant)
    }

    /// Why the session has ended, if it has.
    pub fn end(&self) -> Option<Arc<SessionEnd>> {
        self.shared().state().machine.end().cloned()
    }

    /// Tells the peer to open no more calls; those in flight go on.
    pub fn go_away(&self, reason: &Status) {
        let mut state = self.shared().state();
        let State { machine, link, .. } = &mut *state;
        machine.go_away(reason, link);
        state.flush();
        self.shared().leave(state);
    }

    /// Puts this around the calls of all clients that are made of this session, or of a handler's calls, from now on: see
    /// [`AsCaller`](crate::AsCaller). What is there first stays.
    pub fn put_around(&self, around: Arc<dyn Any + Send + Sync>) {
        self.shared().put_around(around);
    }

    /// From now on calls by way of a [`CallerSlot`](crate::CallerSlot) are not begun here: they find another session. All others
    /// go on, those that handlers make included, and the peer is told nothing.
    ///
    /// To end a session without the loss of a call: put another one into the slots in its place, retire it, wait until it is
    /// [drained](Self::drained), tell the peer to [go away](Self::go_away), wait again, and close it.
    pub fn retire(&self, reason: &Status) {
        self.shared().retire(reason);
    }

    /// Takes calls by way of slots again, after it was [retired](Self::retire).
    pub fn reinstate(&self) {
        let mut state = self.shared().state();
        state.machine.reinstate();
        self.shared().leave(state);
    }

    /// Waits until no call is in flight, either way, those with streams included; serves the peer's calls meanwhile. Says
    /// `false` when the time is over first. Calls that were given up count until the peer is done with them.
    pub fn drained(&self, patience: Duration) -> bool {
        self.block_on(drained(Arc::clone(self.shared()), Which::All, Some(patience)))
    }

    /// The same for the calls that this side has made; the peer's may go on.
    pub fn calls_ended(&self, patience: Duration) -> bool {
        self.block_on(drained(Arc::clone(self.shared()), Which::Ours, Some(patience)))
    }

    /// The same for a task, without end.
    pub fn until_drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let drained = drained(Arc::clone(self.shared()), Which::All, None);
        async {
            drained.await;
        }
    }

    /// Ends the session: the peer is told why, and calls in flight end on both sides.
    pub fn close(&self, reason: &Status) {
        self.shared().close(reason);
    }

    /// Waits until the peer's process has ended, kills it when the time is over, and says how it ended; `None` when this
    /// side did not start it. The session ends with it.
    pub fn reap(&self, patience: Duration) -> Option<ExitStatus> {
        let shared = self.shared();
        let exit = shared.exit(patience).or_else(|| shared.process()?.lock().kill());
        if exit.is_some() {
            // Before this side closes it, so that calls in flight say what they have met.
            let mut state = shared.state();
            state.peer_gone(exit);
            shared.leave(state);
        }
        exit
    }

    /// Counters.
    pub fn stats(&self) -> SessionStats {
        let mut state = self.shared().state();
        let room = state.link.ring_used().and_then(|ring_used| Ok((ring_used, state.link.free_slots()?)));
        let (ring_used, slots_free) = room.unwrap_or_else(|fault| {
            state.fault(fault);
            (0, 0)
        });
        let (ring_capacity, slot_count) = (state.link.geometry().ring_capacity(), state.link.geometry().slot_count());
        let (calls_in_flight, served_in_flight) = state.machine.in_flight();
        let (inbound_bytes, outbound_bytes) = state.machine.bytes();
        let (requests_refused, calls_refused) = state.machine.refused();
        let stats = SessionStats {
            link: state.link.stats(),
            calls_in_flight,
            served_in_flight,
            inbound_bytes,
            outbound_bytes,
            ring_used,
            ring_capacity,
            slots_free,
            slot_count,
            runs_held: state.link.held_runs(),
            tasks: state.tasks.count(),
            faults: state.machine.faults(),
            requests_refused,
            calls_refused,
        };
        self.shared().leave(state);
        stats
    }
}

impl<R: Role> Session<R> {
    /// What was counted of calls, if the configuration says that they are: the methods that were called, in order of their ids.
    pub fn call_counts(&self) -> CallCounts {
        self.shared().state().machine.call_counts()
    }
}

impl Session<PeerA> {
    /// Calls `initialize` (2000) or `shutdown` (2002) of a plugin, on channel 0, one at a time.
    ///
    /// # Errors
    ///
    /// As [`Session::call`].
    pub fn call_lifecycle(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        let request = Request { lifecycle: true, ..request(method, body, options) };
        self.shared().call(request, options)
    }
}
