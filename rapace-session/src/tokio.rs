//! A session in a tokio program.
//!
//! One task per session attends to the socket while nobody else drains the ring. A call first looks at the ring for a
//! moment on its own, if it is the only one in flight, so that a quick reply needs no task switch; then it leaves that
//! to the attendant.

mod handshake;
mod listener;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::runtime::Handle;
use ::tokio::task::spawn_blocking;
use ::tokio::time::{Instant, Sleep, sleep_until, timeout};
use rapace_core::sleep;

use crate::caller::{AsCaller, Caller};
use crate::calls::{CallKey, Reply};
use crate::drain::ended;
use crate::error::{CallError, SessionEnd};
use crate::handler::IncomingCall;
use crate::handshake::EXIT_PATIENCE;
use crate::lock::Guard;
use crate::pending::PendingCall;
use crate::role::{PeerA, Role};
use crate::session::{CallOptions, Session};
use crate::shared::{Purpose, Shared};
use crate::state::{SocketRead, State};
use crate::status::{Code, Status};

pub use listener::AsyncListener;

/// Calls of the peer that are run before other tasks have their turn.
const CALLS_PER_POLL: usize = 32;

/// A session that tasks use.
///
/// Handlers run on the attendant's task or that of a caller, and must not block it: one that has to wait takes its
/// [`IncomingCall`] to a task of its own, as [`IncomingCall::run_async`] does.
pub struct AsyncSession<R: Role> {
    session: Session<R>,
}

impl<R: Role> Clone for AsyncSession<R> {
    fn clone(&self) -> Self {
        Self { session: self.session.clone() }
    }
}

impl<R: Role> fmt::Debug for AsyncSession<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncSession").field(&self.session).finish()
    }
}

impl<R: Role> AsCaller for AsyncSession<R> {
    fn as_caller(&self) -> Caller {
        self.caller()
    }
}

impl<R: Role> AsyncSession<R> {
    /// Takes a session into the current runtime, and serves the peer's calls from then on.
    ///
    /// # Errors
    ///
    /// When the socket cannot be registered.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time.
    pub fn new(session: Session<R>) -> io::Result<Self> {
        let shared = Arc::clone(session.shared());
        let socket = watch(shared.socket().as_fd().try_clone_to_owned()?)?;
        let process = shared.pidfd().map(|fd| fd.try_clone_to_owned().and_then(watch)).transpose()?;
        shared.set_runtime(Handle::current());
        ::tokio::spawn(Attendant { shared, socket, process }.attend());
        Ok(Self { session })
    }

    /// The session, for all that does not wait.
    pub fn session(&self) -> &Session<R> {
        &self.session
    }

    /// The way to call the peer, for typed clients.
    pub fn caller(&self) -> Caller {
        self.session.caller()
    }

    /// Calls the peer and waits for its reply. Dropped, the call is cancelled.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn call(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        self.session.caller().call(method, body, options).await
    }

    /// Sends a request, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn start(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<PendingCall, CallError> {
        self.session.caller().start(method, body, options).await
    }

    /// Waits until the session ends.
    pub async fn ended(&self) -> Arc<SessionEnd> {
        ended(self.session.shared()).await
    }
}

impl AsyncSession<PeerA> {
    /// Calls `initialize` (2000) or `shutdown` (2002) of a plugin, on channel 0, one at a time.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn call_lifecycle(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        self.call(method, body, options).await
    }
}

impl<R: Role> Session<R> {
    /// From now on handlers that are not ready when they are first polled are tasks of this runtime, and all handlers of
    /// [`IncomingCall::run_async`] are polled within it. Nothing else changes: threads serve the session, and the runtime is
    /// kept going by whoever made it. The first runtime that a session is given is the one that it keeps.
    pub fn run_handlers_on(&self, runtime: Handle) {
        self.shared().set_runtime(runtime);
    }
}

impl State {
    /// Takes the lead for a call that is the only one of `calls` in flight, if nobody else does and looking pays: a quick
    /// reply needs no task switch then. [`look_alone`] or [`State::resign`] is due behind it.
    pub(crate) fn leads_alone(&mut self, calls: usize) -> bool {
        if self.leading || self.attendant.is_none() || self.machine.in_flight().0 > calls {
            return false;
        }
        let spinner = self.spinner(Purpose::Future);
        if spinner.budget_of_task().is_zero() {
            spinner.left();
            return false;
        }
        self.lead();
        true
    }
}

/// Looks for the reply to a call for a moment, in the lead, and gives it up.
pub(crate) fn look_alone<'a>(shared: &'a Arc<Shared>, mut state: Guard<'a, State>, key: CallKey) -> Guard<'a, State> {
    state.pump();
    if !state.machine.has_outcome(key)
        && let Ok(watch) = state.link.watch(sleep::Interest::Frames)
    {
        let budget = state.spinner(Purpose::Reply(key)).budget_of_task();
        let came;
        (state, came) = shared.look_on(state, &watch, budget);
        state.pump();
        let spinner = state.spinner(Purpose::Reply(key));
        if came { spinner.paid() } else { spinner.left() }
    }
    if state.has_work(0) {
        // The attendant runs what has come meanwhile.
        state.wake_attendant();
    }
    state.resign();
    state
}

/// The task that attends to a session.
struct Attendant {
    socket: AsyncFd<OwnedFd>,
    process: Option<AsyncFd<OwnedFd>>,
    /// Dropped last: with it goes the socket itself, whose close may hold one up unless it is the last.
    shared: Arc<Shared>,
}

/// Registers a descriptor with the current runtime.
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "its replacement is unsafe for the sake of other types: an OwnedFd stays open, and the same"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Takes what frames there are, of a peer that has rung or not, and notes whether anybody had use for them.
fn pump(state: &mut State, rung: bool) {
    let (frames, useful) = (state.link.stats().frames_received, state.useful_frames());
    // A bell may tell of room.
    let rung = rung && !state.wants_room();
    state.pump();
    let came = state.link.stats().frames_received > frames;
    if state.useful_frames() > useful {
        state.pace.of_use();
    } else if came || rung && useful == state.useful_at_sleep {
        // What it was rung for may have been taken before the bell was read, or by somebody else.
        state.pace.in_vain(std::time::Instant::now());
    }
}

/// Sees to it that the task is woken for the session's next deadline, or at the end of a rest; says whether that is due.
fn set_timer(
    state: &mut State,
    rests_until: Option<std::time::Instant>,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> bool {
    state.attendant_looks = state.soonest().into_iter().chain(rests_until).min();
    let Some(next) = state.attendant_looks.map(Instant::from_std) else { return false };
    if timer.deadline() != next {
        timer.as_mut().reset(next);
    }
    timer.poll(cx).is_ready()
}

/// Why an attendant has nothing more to do.
enum Done {
    /// The session has ended.
    Ended,
    /// The peer is gone.
    Gone,
}

impl Drop for Attendant {
    /// With the runtime goes whoever would wake for the peer: it is told, rather than left to wait.
    fn drop(&mut self) {
        self.shared.close(&Status::new(Code::Unavailable, "the runtime that attended to the session has shut down"));
    }
}

impl Attendant {
    async fn attend(self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        if let Done::Gone = poll_fn(|cx| self.poll(cx, timer.as_mut())).await {
            let exit = self.exit().await;
            let mut state = self.shared.state();
            state.peer_gone(exit);
            self.shared.leave(state);
        }
    }

    fn poll(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Done> {
        let mut served = false;
        // Whether the socket was read since the last look at the ring.
        let mut rung = false;
        for _ in 0..CALLS_PER_POLL {
            let mut state = self.shared.state();
            if state.machine.end().is_some() {
                self.shared.leave(state);
                return Poll::Ready(Done::Ended);
            }
            match &mut state.attendant {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            let rests_until = state.pace.rests_until(std::time::Instant::now);
            if !state.leading && rests_until.is_none() {
                state.attend();
                pump(&mut state, std::mem::take(&mut rung));
            }
            state.expire_deadlines();
            if let Some(arrived) = state.next_arrived(0) {
                state.spinner(Purpose::Serve).came();
                served = true;
                state.begin_handler();
                self.shared.leave(state);
                IncomingCall::new(Arc::clone(&self.shared), arrived).run(self.shared.handler());
                self.shared.state().end_handler();
                continue;
            }
            if let Some(task) = state.tasks.next(0) {
                // One that came before there was a runtime.
                state.begin_handler();
                let state = self.shared.run_task(state, task);
                self.shared.leave(state);
                continue;
            }
            if state.leading {
                // The leader sleeps on the socket: a bell that were read here would be lost to it.
                state.attendant_held_off = true;
                self.shared.leave(state);
                return Poll::Pending;
            }
            if set_timer(&mut state, rests_until, timer.as_mut(), cx) {
                self.shared.leave(state);
                continue;
            }
            if rests_until.is_some() {
                self.shared.leave(state);
                return Poll::Pending;
            }
            let next = self.poll_socket(cx, &mut state);
            let again = match next {
                Poll::Ready(Some(done)) => {
                    self.shared.leave(state);
                    return Poll::Ready(done);
                }
                Poll::Ready(None) => {
                    rung = true;
                    true
                }
                Poll::Pending if std::mem::take(&mut served) && state.machine.in_flight().1 == 0 => {
                    state = self.look_for_more(state);
                    true
                }
                Poll::Pending => {
                    state.calibrate();
                    let came = state.arm();
                    if !came {
                        state.rest();
                    }
                    came
                }
            };
            self.shared.leave(state);
            if !again {
                return Poll::Pending;
            }
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The calls that have come are answered: looks for the next, which often follows at once, before the task waits.
    fn look_for_more<'a>(&'a self, mut state: Guard<'a, State>) -> Guard<'a, State> {
        let budget = state.spinner(Purpose::Serve).budget_of_task();
        let mut came = false;
        if !budget.is_zero()
            && let Ok(watch) = state.link.watch(sleep::Interest::Frames)
        {
            (state, came) = self.shared.look_on(state, &watch, budget);
        }
        let spinner = state.spinner(Purpose::Serve);
        if came {
            spinner.paid()
        } else {
            spinner.left()
        }
        state
    }

    /// Reads the socket if there is something; `Ready(None)` means to look again.
    fn poll_socket(&self, cx: &mut Context<'_>, state: &mut State) -> Poll<Option<Done>> {
        if let Some(process) = &self.process
            && process.poll_read_ready(cx).is_ready()
        {
            return Poll::Ready(Some(Done::Gone));
        }
        let Ok(mut guard) = ready!(self.socket.poll_read_ready(cx)) else {
            // The runtime shuts down.
            return Poll::Ready(Some(Done::Ended));
        };
        match state.read_socket() {
            SocketRead::Ended => Poll::Ready(Some(Done::Gone)),
            SocketRead::More => Poll::Ready(None),
            SocketRead::Drained => {
                guard.clear_ready();
                Poll::Ready(None)
            }
        }
    }

    /// How the process ended, which may take a moment longer than the end of its socket.
    async fn exit(&self) -> Option<ExitStatus> {
        if let Some(process) = &self.process {
            // Without an end in time there is no status.
            let _ = timeout(EXIT_PATIENCE, process.readable()).await;
        }
        // Whoever sees the end of a process ends what that has started, which may take its time: others wait on this thread.
        let shared = Arc::clone(&self.shared);
        let seen = spawn_blocking(move || shared.exit(Duration::ZERO));
        // It fails only when the runtime shuts down.
        seen.await.unwrap_or_default()
    }
}
