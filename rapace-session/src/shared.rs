//! What all handles of a session share: its state under one lock, and what needs none. How they wait is in `waiting.rs`.

mod waiting;

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_core::Side;
use rapace_core::crash::{Point, crash_point};
use rapace_core::link::{Link, PayloadView, PeerView, Pulse};
use rapace_core::memory::Trust;
use rapace_core::socket::Socket;

use crate::alarm::Alarm;
use crate::calls::{CallKey, Outcome, Reply};
use crate::clock;
use crate::config::Config;
use crate::error::CallError;
use crate::executor::{drop_future, panic_guard};
use crate::flow::Streams;
use crate::handler::Handler;
use crate::hello::PeerInfo;
use crate::limits::Timeouts;
use crate::liveness::{Liveness, PeerState};
use crate::lock::{Guard, Lock};
use crate::machine::{Machine, Request, Unsent};
use crate::metadata::Metadata;
use crate::nesting::{Nesting, depth};
use crate::observe::Observe;
use crate::patience::Patience;
use crate::pending::PendingCall;
use crate::process::{Process, wait_for_end};
use crate::served::ServedKey;
use crate::session::CallOptions;
use crate::state::{Settled, State};
use crate::status::{Code, Status};
use crate::wakes;

/// What all handles of a session share.
pub(crate) struct Shared {
    side: Side,
    state: Lock<State>,
    socket: Arc<Socket>,
    view: PeerView,
    process: Option<Mutex<Process>>,
    /// A watch on the process that needs no lock.
    pidfd: Option<OwnedFd>,
    /// Wakes who leads, from within this process.
    alarm: Alarm,
    /// Whose executor polls handlers that are not ready, instead of the threads that wait here.
    #[cfg(feature = "tokio")]
    runtime: OnceLock<::tokio::runtime::Handle>,
    handler: Box<dyn Handler>,
    timeouts: Timeouts,
    peer: Arc<PeerInfo>,
    /// What is around the calls of clients.
    around: OnceLock<Arc<dyn Any + Send + Sync>>,
    #[cfg(feature = "fault-injection")]
    armed: Option<Box<crate::fault_injection::Armed>>,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The reply to a call.
    Reply(CallKey),
    /// Room to send.
    Room,
    /// Calls of the peer.
    Serve,
    /// A future that this thread runs is to be polled again.
    Future,
}

impl Purpose {
    fn wants_room(self) -> bool {
        matches!(self, Self::Room)
    }
}

impl Shared {
    pub(crate) fn new(
        side: Side,
        mut link: Link,
        process: Option<Process>,
        config: &Config,
        peer: PeerInfo,
        handler: Box<dyn Handler>,
    ) -> io::Result<Self> {
        let peer = Arc::new(peer);
        let (socket, view) = (Arc::clone(link.socket()), link.view());
        let mut machine = Machine::new(side, config.limits, Arc::clone(&peer), config.faults);
        if config.observe == Observe::Calls {
            // The peer is not to know which of its calls are timed.
            let seed = RandomState::new().hash_one(side);
            machine.observe(&config.registry, seed, clock::now);
        }
        let liveness = Liveness::new(config.timeouts.liveness, Instant::now());
        if config.read_in_place.applies_to(side) {
            link.trust_peer(Trust::peer_leaves_payloads_alone());
        }
        let mut state = State::new(link, machine, config.wait, liveness);
        state.link.set_pulse(Pulse::Dormant);
        Ok(Self {
            side,
            state: Lock::new(state),
            socket,
            view,
            alarm: Alarm::new()?,
            #[cfg(feature = "tokio")]
            runtime: OnceLock::new(),
            // Without a second descriptor the socket's end has to do.
            pidfd: process.as_ref().and_then(|process| process.as_fd().try_clone_to_owned().ok()),
            process: process.map(Mutex::new),
            handler,
            timeouts: config.timeouts,
            #[cfg(feature = "fault-injection")]
            armed: crate::fault_injection::Armed::new(config, &peer).map(Box::new),
            peer,
            around: OnceLock::new(),
        })
    }

    /// The state, under its lock. [`Shared::leave`] is due behind every change.
    #[inline]
    pub(crate) fn state(&self) -> Guard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn put_around(&self, around: Arc<dyn Any + Send + Sync>) {
        let _ = self.around.set(around);
    }

    pub(crate) fn around(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.around.get().cloned()
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// The peer's process, if this side started it.
    pub(crate) fn process(&self) -> Option<&Mutex<Process>> {
        self.process.as_ref()
    }

    /// Nobody waits for this call any more, for this reason.
    pub(crate) fn abandon(&self, key: CallKey, why: Code) {
        let mut state = self.state();
        let State { machine, link, .. } = &mut *state;
        machine.abandon(key, why, link);
        #[cfg(feature = "fault-injection")]
        state.replies.forget(key);
        state.flush();
        self.leave(state);
    }

    pub(crate) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn runtime(&self) -> Option<&::tokio::runtime::Handle> {
        self.runtime.get()
    }

    /// From now on this runtime polls handlers that are not ready. The first one stays.
    #[cfg(feature = "tokio")]
    pub(crate) fn set_runtime(&self, runtime: ::tokio::runtime::Handle) {
        let _ = self.runtime.set(runtime);
    }

    #[cfg(any(feature = "tokio", feature = "fault-injection"))]
    pub(crate) fn handler(&self) -> &dyn Handler {
        &*self.handler
    }

    /// What makes faults on purpose.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn armed(&self) -> Option<&crate::fault_injection::Armed> {
        self.armed.as_deref()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub(crate) fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Leaves the lock and wakes whoever is to be woken.
    #[inline]
    pub(crate) fn leave(&self, state: Guard<'_, State>) {
        if state.is_settled() {
            return drop(state);
        }
        self.settle(state);
    }

    fn settle(&self, mut state: Guard<'_, State>) {
        let settled = state.settle();
        drop(state);
        let Some(Settled { mut wakes, mut spent, unwanted, alarm }) = settled else { return };
        wakes.drain(..).for_each(Waker::wake);
        wakes::keep(wakes);
        if alarm {
            self.alarm.raise();
        }
        // What they own may come back to this session, and may panic.
        if !spent.is_empty() {
            panic_guard(|| spent.clear());
        }
        wakes::keep(spent);
        unwanted.into_iter().for_each(drop_future);
    }

    pub(crate) fn relock<'a>(&'a self, state: Guard<'a, State>, between: impl FnOnce()) -> Guard<'a, State> {
        self.leave(state);
        between();
        self.state()
    }

    /// A call that counts as nested as deep as it says, whichever thread makes it.
    pub(crate) fn call_at(self: &Arc<Self>, request: Request<'_>, patience: &mut Patience) -> Result<Reply, CallError> {
        let _nested = Self::nest(request.depth);
        self.call_within(request, patience)
    }

    /// This thread counts as nested as deep as a call of this depth says.
    pub(crate) fn nest(depth_of_call: u32) -> Option<Nesting> {
        let nested = u8::try_from(depth_of_call.saturating_sub(1)).unwrap_or(u8::MAX);
        // SPEC C6 goes by the call, not by the thread that it was moved to.
        (nested > depth()).then(|| Nesting::enter(nested))
    }

    pub(crate) fn patience(&self, options: &CallOptions) -> Patience {
        match options.deadline {
            Some(deadline) => Patience::new(deadline).started(),
            None => Patience::new(self.timeouts.call),
        }
    }

    pub(crate) fn try_start(
        self: &Arc<Self>,
        method: u32,
        body: &[u8],
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        let patience = self.patience(options);
        let request = request(method, body, options);
        #[cfg(feature = "fault-injection")]
        if self.armed.is_some() {
            let key = self.try_open_with_faults(&request)?;
            return Ok(PendingCall::new(Arc::clone(self), key, patience));
        }
        let mut state = self.state();
        let opened = state.try_open(&request);
        self.leave(state);
        Ok(PendingCall::new(Arc::clone(self), opened?, patience))
    }

    pub(crate) fn start(
        self: &Arc<Self>,
        request: Request<'_>,
        mut patience: Patience,
    ) -> Result<PendingCall, CallError> {
        let (state, key) = self.open(request, &mut patience)?;
        self.leave(state);
        Ok(PendingCall::new(Arc::clone(self), key, patience))
    }

    /// Sends a request and waits for its outcome.
    pub(crate) fn call(self: &Arc<Self>, request: Request<'_>, options: &CallOptions) -> Outcome {
        self.call_within(request, &mut self.patience(options))
    }

    fn call_within(self: &Arc<Self>, request: Request<'_>, patience: &mut Patience) -> Outcome {
        let (state, key) = self.open_by(request, patience, |state, request| {
            state.wake_up();
            state.open(request)
        })?;
        self.outcome(state, key, patience)
    }

    /// The outcome of a call, once, on its way out of the lock.
    pub(crate) fn take(self: &Arc<Self>, state: &mut State, key: CallKey) -> Option<Outcome> {
        #[cfg(feature = "fault-injection")]
        if self.armed.is_some() && crate::fault_injection::waits_for_death(self, state, key) {
            return None;
        }
        let mut outcome = state.machine.take(key)?;
        #[cfg(feature = "fault-injection")]
        if self.armed.is_some() {
            outcome = crate::fault_injection::meet_reply(state, key, outcome);
        }
        if let Ok(reply) = &mut outcome {
            reply.body.leave_for(self);
        }
        Some(outcome)
    }

    /// A payload that was read in place is done with.
    pub(crate) fn return_view(&self, view: PayloadView) {
        let mut state = self.state();
        state.link.return_view(view);
        state.flush();
        self.leave(state);
    }

    /// Sends a request, waiting for room if there is none; the lock is held when it has been sent.
    pub(crate) fn open<'a>(
        self: &'a Arc<Self>,
        request: Request<'_>,
        patience: &mut Patience,
    ) -> Result<(Guard<'a, State>, CallKey), CallError> {
        self.open_by(request, patience, |state, request| state.open(request))
    }

    /// The same, for any way to send it.
    fn open_by<'a>(
        self: &'a Arc<Self>,
        request: Request<'_>,
        patience: &mut Patience,
        open: impl FnMut(&mut State, &Request<'_>) -> Result<CallKey, Unsent>,
    ) -> Result<(Guard<'a, State>, CallKey), CallError> {
        #[cfg(feature = "fault-injection")]
        if self.armed.is_some() {
            return self.open_with_faults(request, patience, open);
        }
        self.open_now(request, patience, open)
    }

    pub(crate) fn open_now<'a>(
        self: &'a Arc<Self>,
        mut request: Request<'_>,
        patience: &mut Patience,
        mut open: impl FnMut(&mut State, &Request<'_>) -> Result<CallKey, Unsent>,
    ) -> Result<(Guard<'a, State>, CallKey), CallError> {
        let mut state = self.state();
        let opened = match open(&mut state, &request) {
            Ok(key) => return Ok((state, key)),
            Err(Unsent::Full) => {
                let mut clock = *patience;
                self.wait_from(state, Purpose::Room, patience, |state| {
                    if request.time_left.is_some() {
                        // One without an end stays so.
                        request.time_left = clock.left().or(request.time_left);
                    }
                    match open(state, &request) {
                        Err(Unsent::Full) => None,
                        opened => Some(opened),
                    }
                })
            }
            failed => {
                state.step_back(false);
                self.leave(state);
                Some(failed)
            }
        };
        match opened {
            Some(Ok(key)) => Ok((self.state(), key)),
            Some(Err(Unsent::Failed(error))) => Err(error),
            Some(Err(Unsent::Full)) | None => Err(CallError::NoRoom { waited: patience.time() }),
        }
    }

    /// Waits for the outcome of a call that was sent.
    pub(crate) fn outcome(self: &Arc<Self>, state: Guard<'_, State>, key: CallKey, patience: &mut Patience) -> Outcome {
        let outcome = self.wait_from(state, Purpose::Reply(key), patience, |state| self.take(state, key));
        outcome.unwrap_or_else(|| {
            self.abandon(key, Code::DeadlineExceeded);
            Err(CallError::DeadlineExceeded { waited: patience.time() })
        })
    }

    /// Sends the final message of a call of the peer.
    pub(crate) fn finish(&self, key: ServedKey, result: Result<&[u8], &Status>, metadata: &Metadata) {
        let mut state = self.state();
        let State { machine, link, .. } = &mut *state;
        crash_point(Point::BeforeReply);
        machine.finish(key, result, metadata, link);
        crash_point(Point::AfterReply);
        state.flush();
        self.leave(state);
    }

    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|fd| fd.as_fd())
    }

    /// How the process ended, if it has, or does so within the time.
    pub(crate) fn exit(&self, patience: Duration) -> Option<ExitStatus> {
        let process = self.process.as_ref()?;
        match self.pidfd() {
            // Without the lock, so that nobody else has to wait.
            Some(pidfd) => wait_for_end(pidfd, patience),
            None => return process.lock().wait(patience),
        }
        process.lock().exit()
    }

    pub(crate) fn peer_state(&self) -> PeerState {
        let mut state = self.state();
        if state.machine.end().is_none() && !state.leading {
            // Nobody looks at the socket at present. Nobody begins to, as the lock is kept: the bell that is read here
            // would be missed.
            let ready = self.socket.wait(self.pidfd(), Some(Duration::ZERO));
            if state.attendant.is_some() && ready.as_ref().is_ok_and(|ready| ready.socket) {
                // Its bell may be the one that is read: it looks next, and has so much begun with this.
                state.attend();
                state.wake_attendant();
            }
            state = self.read_socket(state, ready, Duration::ZERO);
        }
        let judged = state.judge(Instant::now());
        self.leave(state);
        match judged {
            PeerState::Gone { .. } => PeerState::Gone { exit: self.exit(Duration::ZERO) },
            other => other,
        }
    }

    pub(crate) fn takes_calls(&self) -> bool {
        self.state().machine.takes_calls()
    }

    pub(crate) fn retire(&self, reason: &Status) {
        let mut state = self.state();
        state.retire(reason);
        self.leave(state);
    }

    pub(crate) fn close(&self, reason: &Status) {
        let mut state = self.state();
        let State { machine, link, .. } = &mut *state;
        machine.close(reason, link);
        self.leave(state);
    }
}

/// A request from wherever this thread is.
pub(crate) fn request<'a>(method: u32, body: &'a [u8], options: &'a CallOptions) -> Request<'a> {
    Request {
        method,
        body,
        metadata: &options.metadata,
        time_left: options.deadline,
        depth: u32::from(depth()) + 1,
        lifecycle: false,
        streams: Streams::default(),
        by_slot: false,
    }
}
