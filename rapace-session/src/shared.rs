//! How threads wait on a session.
//!
//! One thread at a time leads: it drains the ring, first looking at it, with the lock until somebody else wants it, then
//! asleep on the socket. The others follow: they are woken when what they wait for has come, when the leader leaves, or
//! when a call of the peer has come that the leader may not run (SPEC C6).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_core::Side;
#[cfg(feature = "tokio")]
use rapace_core::link::Watch;
use rapace_core::link::{Link, PayloadView, PeerView, Pulse};
use rapace_core::memory::Trust;
use rapace_core::socket::{Readiness, Socket};
use rapace_core::wait::look;

use crate::alarm::Alarm;
use crate::calls::{CallKey, Outcome, Reply};
use crate::config::Config;
use crate::error::CallError;
use crate::executor::{drop_future, panic_guard};
use crate::flow::Streams;
use crate::handler::{Handler, IncomingCall, Nesting, depth};
use crate::handshake::EXIT_PATIENCE;
use crate::hello::PeerInfo;
use crate::limits::Timeouts;
use crate::liveness::{Liveness, PeerState};
use crate::lock::{Guard, Lock};
use crate::machine::{Machine, Request, Unsent};
use crate::metadata::Metadata;
use crate::parker::Parker;
use crate::patience::Patience;
use crate::pending::PendingCall;
use crate::process::{Process, wait_for_end};
use crate::served::ServedKey;
use crate::session::CallOptions;
use crate::state::{Settled, SocketRead, State};
use crate::status::Status;
use crate::waiters::Waits;
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
    runtime: std::sync::OnceLock<::tokio::runtime::Handle>,
    handler: Box<dyn Handler>,
    timeouts: Timeouts,
    peer: Arc<PeerInfo>,
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

/// A strategy without end looks for so long between two looks at the socket.
const SPIN_SLICE: Duration = Duration::from_millis(10);
/// A look as long as this ends with the time of whoever waits.
const LONG_LOOK_MIN: Duration = Duration::from_millis(1);

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
        let machine = Machine::new(side, config.limits, Arc::clone(&peer), config.faults);
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
            runtime: std::sync::OnceLock::new(),
            // Without a second descriptor the socket's end has to do.
            pidfd: process.as_ref().and_then(|process| process.as_fd().try_clone_to_owned().ok()),
            process: process.map(Mutex::new),
            handler,
            timeouts: config.timeouts,
            peer,
        })
    }

    /// The state, under its lock. [`Shared::leave`] is due behind every change.
    #[inline]
    pub(crate) fn state(&self) -> Guard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// The peer's process, if this side started it.
    pub(crate) fn process(&self) -> Option<&Mutex<Process>> {
        self.process.as_ref()
    }

    /// Nobody waits for this call any more.
    pub(crate) fn abandon(&self, key: CallKey) {
        let mut state = self.state();
        let State { machine, link, .. } = &mut *state;
        machine.abandon(key, link);
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

    #[cfg(feature = "tokio")]
    pub(crate) fn handler(&self) -> &dyn Handler {
        &*self.handler
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
    pub(crate) fn call_at(self: &Arc<Self>, request: Request<'_>, options: &CallOptions) -> Result<Reply, CallError> {
        let _nested = Self::nest(request.depth);
        self.call(request, options)
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
        let mut state = self.state();
        let opened = state.open(&request(method, body, options));
        self.leave(state);
        match opened {
            Ok(key) => Ok(PendingCall::new(Arc::clone(self), key, patience)),
            Err(Unsent::Full) => Err(CallError::WouldBlock),
            Err(Unsent::Failed(error)) => Err(error),
        }
    }

    pub(crate) fn start(
        self: &Arc<Self>,
        request: Request<'_>,
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        let mut patience = self.patience(options);
        let (state, key) = self.open(request, &mut patience)?;
        self.leave(state);
        Ok(PendingCall::new(Arc::clone(self), key, patience))
    }

    /// Sends a request and waits for its outcome.
    pub(crate) fn call(self: &Arc<Self>, request: Request<'_>, options: &CallOptions) -> Outcome {
        let mut patience = self.patience(options);
        let (state, key) = self.open_by(request, &mut patience, |state, request| {
            state.wake_up();
            state.open(request)
        })?;
        self.outcome(state, key, &mut patience)
    }

    /// The outcome of a call, once, on its way out of the lock.
    pub(crate) fn take(self: &Arc<Self>, state: &mut State, key: CallKey) -> Option<Outcome> {
        let mut outcome = state.machine.take(key)?;
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
            self.abandon(key);
            Err(CallError::DeadlineExceeded { waited: patience.time() })
        })
    }

    /// Sends the final message of a call of the peer.
    pub(crate) fn finish(&self, key: ServedKey, result: Result<&[u8], &Status>, metadata: &Metadata) {
        let mut state = self.state();
        let State { machine, link, .. } = &mut *state;
        machine.finish(key, result, metadata, link);
        state.flush();
        self.leave(state);
    }

    /// Waits until `attempt` gives something, or the patience is over. Frames are handled and calls are served meanwhile.
    pub(crate) fn wait<T>(
        self: &Arc<Self>,
        purpose: Purpose,
        patience: &mut Patience,
        attempt: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        self.wait_from(self.state(), purpose, patience, attempt)
    }

    /// The same for who has the lock already.
    pub(crate) fn wait_from<'a, T>(
        self: &'a Arc<Self>,
        mut state: Guard<'a, State>,
        purpose: Purpose,
        patience: &mut Patience,
        mut attempt: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let below = depth();
        let mut leads = false;
        // Whether this thread has looked in vain since it last did something, and whether it has waited at all.
        let mut spun = false;
        let mut waited = false;
        // Once the time is over: calls that are still begun, which are those that waited then, if to serve is all that
        // this thread does. A peer that keeps calling does not hold it beyond that.
        let mut last_calls = None;
        let found = loop {
            if leads {
                self.alarm.clear();
            }
            if leads || !state.leading {
                state.pump();
            }
            if waited {
                state.expire_deadlines();
            }
            if let Some(found) = attempt(&mut state) {
                break Some(found);
            }
            // The clock is read only by who has waited or served: a call that is answered at once does without.
            if waited && patience.left().is_some_and(|left| left.is_zero()) {
                let serves = matches!(purpose, Purpose::Serve);
                let calls = last_calls.get_or_insert_with(|| if serves { state.machine.arrived() } else { 0 });
                match calls.checked_sub(1) {
                    Some(fewer) => *calls = fewer,
                    None => break None,
                }
            }
            // A task that is ready has its turn behind a call.
            let task_first = state.task_is_due && last_calls.is_none() && state.tasks.has_next(below);
            if !task_first && let Some(arrived) = state.next_arrived(below) {
                state.task_is_due = true;
                state.step_back(std::mem::take(&mut leads));
                // There may be more than this thread takes, for others.
                state.share_work();
                (spun, waited) = (false, true);
                state.begin_handler();
                state = self.relock(state, || IncomingCall::new(Arc::clone(self), arrived).run(&*self.handler));
                state.end_handler();
                continue;
            }
            if last_calls.is_some() {
                break None;
            }
            if let Some(task) = state.tasks.next(below) {
                state.task_is_due = false;
                state.step_back(std::mem::take(&mut leads));
                state.share_work();
                (spun, waited) = (false, true);
                state = self.run_task(state, task);
                continue;
            }
            if state.leading && !leads {
                state = self.follow(state, purpose, patience, below);
                (spun, waited) = (false, true);
                continue;
            }
            if !leads {
                leads = true;
                state.lead();
            }
            state.share_work();
            (state, spun) =
                if spun { (self.sleep(state, purpose, patience), false) } else { self.spin(state, purpose, patience) };
            waited = true;
        };
        state.step_back(leads);
        // This thread may be the one that was woken for a call, and has something else now.
        state.share_work();
        self.leave(state);
        found
    }

    /// Looks for the next frame; says whether that was in vain. The lock stays here until somebody else wants it.
    fn spin<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        purpose: Purpose,
        patience: &mut Patience,
    ) -> (Guard<'a, State>, bool) {
        let interest = state.interest(purpose.wants_room());
        let watch = match state.link.watch(interest) {
            Ok(watch) => watch,
            Err(fault) => {
                state.fault(fault);
                return (state, false);
            }
        };
        let budget = state.spinner(purpose).budget();
        let (slice, soonest) = (budget.unwrap_or(SPIN_SLICE), state.soonest());
        // A long look does not outlast whoever waits.
        let cut = |slice| {
            if slice < LONG_LOOK_MIN {
                return slice;
            }
            let soonest = soonest.map(|at| at.saturating_duration_since(Instant::now()));
            [patience.left(), soonest].into_iter().flatten().fold(slice, Duration::min)
        };
        let has_come = || watch.came(&self.view) || self.alarm.is_raised();
        let came;
        (state, came) = self.look_with(state, slice, cut, has_come);
        if came {
            state.spinner(purpose).paid();
        }
        if budget.is_some() {
            return (state, !came);
        }
        // This strategy never sleeps: it looks at the socket now and then.
        if !came {
            state.link.beat();
            let ready = self.socket.wait(self.pidfd(), Some(Duration::ZERO));
            state = self.read_socket(state, ready, EXIT_PATIENCE);
        }
        (state, !came)
    }

    /// Sleeps until the peer rings, the patience is over, or it is time to look whether the peer still lives.
    fn sleep<'a>(&'a self, mut state: Guard<'a, State>, purpose: Purpose, patience: &mut Patience) -> Guard<'a, State> {
        if state.spinner(purpose).budget().is_none() {
            return state;
        }
        state.calibrate();
        let interest = state.interest(purpose.wants_room());
        state.link.arm(interest);
        state.link.set_pulse(Pulse::Dormant);
        if self.alarm.fall_asleep() && !state.has_news(interest) {
            let start = Instant::now();
            let mut timeout = patience.left();
            let mut at_most = |time: Duration| timeout = Some(timeout.map_or(time, |left| left.min(time)));
            if let Some(next) = state.soonest() {
                at_most(next.saturating_duration_since(start));
            }
            if state.machine.in_flight().0 > 0 {
                // Somebody depends on the peer, so its silence is noted when it begins.
                let _ = state.judge(start);
                at_most(state.liveness.next_look());
            }
            state.leader_wants_room = purpose.wants_room();
            state = self.look_at_socket(state, timeout);
            state.leader_wants_room = false;
            state.spinner(purpose).slept(start.elapsed());
        }
        self.alarm.wake_up(false);
        state.link.disarm();
        state.link.set_pulse(Pulse::Active);
        state
    }

    /// Waits on the socket, without the lock, and reads it.
    fn look_at_socket<'a>(&'a self, state: Guard<'a, State>, timeout: Option<Duration>) -> Guard<'a, State> {
        let mut ready = Ok(Readiness::default());
        let begun = Instant::now();
        let state = self.relock(state, || {
            ready = self.socket.wait_or_alarm(self.pidfd(), Some(self.alarm.event()), timeout);
            self.alarm.wake_up(matches!(ready, Ok(Readiness { alarm: true, .. })));
        });
        // The exit status may take a moment longer than the end of the socket, but not longer than the waiter has.
        let left = timeout.map_or(EXIT_PATIENCE, |timeout| timeout.saturating_sub(begun.elapsed()));
        self.read_socket(state, ready, left.min(EXIT_PATIENCE))
    }

    /// Reads the socket, if there is something on it. A peer that is gone has so long to leave its exit status.
    fn read_socket<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        ready: io::Result<Readiness>,
        exit_patience: Duration,
    ) -> Guard<'a, State> {
        match ready {
            Ok(ready) => {
                let ended = ready.socket && state.read_socket() == SocketRead::Ended;
                if ended || ready.hangup || ready.process {
                    let mut exit = None;
                    state = self.relock(state, || exit = self.exit(exit_patience));
                    state.peer_gone(exit);
                }
            }
            // Nothing that the peer can cause: the descriptor is ours. Without it there is no session.
            Err(error) => {
                tracing::error!(%error, "cannot wait on the session's socket");
                state.peer_gone(None);
            }
        }
        state
    }

    /// Waits for the leader to wake this thread.
    fn follow<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        purpose: Purpose,
        patience: &mut Patience,
        below: u8,
    ) -> Guard<'a, State> {
        let parker = Parker::current();
        if let Purpose::Reply(key) = purpose {
            state.machine.set_waker(key, parker.waker());
        }
        let waits = Waits { serves_below: Some(below), wants_room: purpose.wants_room(), leads: true, until: None };
        if purpose.wants_room() && state.widen_sleep() {
            return state;
        }
        let id = state.waiters.add(parker.waker(), waits);
        // A crowd that looks would take the core from the one that drains the ring.
        let alone = state.waiters.threads() == 1;
        let spin = if alone { state.spinner(purpose).budget().unwrap_or(SPIN_SLICE) } else { Duration::ZERO };
        let left = patience.left();
        state = self.relock(state, || parker.park(spin, left));
        state.waiters.remove(id);
        state
    }

    /// Looks at the ring for so long; says whether something has come.
    #[cfg(feature = "tokio")]
    pub(crate) fn look_on<'a>(
        &'a self,
        state: Guard<'a, State>,
        watch: &Watch,
        time: Duration,
    ) -> (Guard<'a, State>, bool) {
        self.look_with(state, time, |time| time, || watch.came(&self.view))
    }

    /// Looks for so long, with the lock until somebody else wants it; says whether it was found.
    #[inline]
    fn look_with<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        slice: Duration,
        mut cut: impl FnMut(Duration) -> Duration,
        mut find: impl FnMut() -> bool,
    ) -> (Guard<'a, State>, bool) {
        let mut found = false;
        let mut wanted = !state.is_settled();
        if !wanted {
            look_for(slice, &mut cut, || {
                found = find();
                wanted = self.state.is_wanted();
                found || wanted
            });
        }
        if wanted && !found {
            state = self.relock(state, || found = look_for(slice, cut, find));
        }
        (state, found)
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
            state = self.read_socket(state, ready, Duration::ZERO);
            // Its bell may be the one that was read.
            state.wake_attendant();
        }
        let judged = state.judge(Instant::now());
        self.leave(state);
        match judged {
            PeerState::Gone { .. } => PeerState::Gone { exit: self.exit(Duration::ZERO) },
            other => other,
        }
    }

    pub(crate) fn close(&self, reason: &Status) {
        let mut state = self.state();
        let State { machine, link, .. } = &mut *state;
        machine.close(reason, link);
        self.leave(state);
    }
}

/// Looks for a slice of time, or less where `cut` says so once the first looks were in vain; says whether it was found.
#[inline]
fn look_for(slice: Duration, cut: impl FnOnce(Duration) -> Duration, mut find: impl FnMut() -> bool) -> bool {
    if slice.is_zero() {
        return find();
    }
    if look(&mut find) {
        return true;
    }
    let (start, time) = (Instant::now(), cut(slice));
    while start.elapsed() < time {
        if look(&mut find) {
            return true;
        }
    }
    false
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
    }
}
