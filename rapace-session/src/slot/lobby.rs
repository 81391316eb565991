//! Where calls wait that find no session: who is asked for one, once, and who is woken when one has come.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::timer::Timer;
use super::{Found, Slot};
use crate::clock;
use crate::error::CallError;
use crate::parker::Parker;
use crate::patience::Patience;
use crate::status::{Code, Status};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Is asked when a call finds no session.
///
/// It is asked on the thread of that call, and must not block. A text refuses calls with the code `Unavailable`.
pub trait OnAbsence: Send + Sync + 'static {
    /// What is to become of calls. Once it has said that a session is on its way, it is not asked again before that has come,
    /// or has [failed](super::CallerSlot::fail) to, or its time is over.
    fn absent(&self) -> Absence;
}

/// What becomes of calls while there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// They are refused, for this reason.
    Refused(Status),
    /// A session is on its way: they wait for it, those without a deadline of their own no longer than this.
    Coming {
        /// From now on.
        within: Duration,
    },
}

impl<F: Fn() -> Absence + Send + Sync + 'static> OnAbsence for F {
    fn absent(&self) -> Absence {
        self()
    }
}

impl OnAbsence for &'static str {
    fn absent(&self) -> Absence {
        Absence::Refused(Status::new(Code::Unavailable, *self))
    }
}

impl OnAbsence for String {
    fn absent(&self) -> Absence {
        Absence::Refused(Status::new(Code::Unavailable, self.as_str()))
    }
}

pub(super) struct Lobby {
    hook: Box<dyn OnAbsence>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// How often a session has come, or has failed to.
    news: u64,
    /// The last failure, and which of the news it was.
    failure: Option<(u64, Status)>,
    waiting: Vec<(u64, Waker)>,
    next: u64,
}

#[derive(Clone, Copy, Default)]
enum Stage {
    /// Nobody has been asked for a session.
    #[default]
    Unasked,
    /// Somebody is being asked.
    Asked,
    /// It is on its way, until then. None is for ever.
    Coming(Option<Instant>),
}

impl Lobby {
    pub(super) fn new(hook: Box<dyn OnAbsence>) -> Self {
        Self { hook, state: Mutex::new(State::default()) }
    }

    /// There is a session.
    pub(super) fn arrived(&self) {
        let mut state = self.state.lock();
        state.news += 1;
        state.stage = Stage::Unasked;
        let woken = std::mem::take(&mut state.waiting);
        drop(state);
        wake(woken);
    }

    /// There will be none.
    pub(super) fn fail(&self, reason: &Status) {
        let mut state = self.state.lock();
        let woken = state.fail(reason);
        drop(state);
        wake(woken);
    }

    /// Asks for a session, unless there is news since it was decided to ask.
    fn ask(&self, decided_at: u64) {
        let mut asking = Asking { lobby: self, decided_at, answer: None };
        asking.answer = Some(self.hook.absent());
    }
}

/// Takes the answer, or takes note that there is none because whoever was asked has panicked.
struct Asking<'a> {
    lobby: &'a Lobby,
    decided_at: u64,
    answer: Option<Absence>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.lobby.state.lock();
        if state.news != self.decided_at {
            return;
        }
        let woken = match self.answer.take() {
            Some(Absence::Refused(reason)) => state.fail(&reason),
            Some(Absence::Coming { within }) => {
                state.stage = Stage::Coming(clock::now().checked_add(within));
                // They have not known how long to wait.
                std::mem::take(&mut state.waiting)
            }
            None => {
                state.stage = Stage::Unasked;
                std::mem::take(&mut state.waiting)
            }
        };
        drop(state);
        wake(woken);
    }
}

impl State {
    fn fail(&mut self, reason: &Status) -> Vec<(u64, Waker)> {
        self.news += 1;
        self.stage = Stage::Unasked;
        self.failure = Some((self.news, reason.clone()));
        std::mem::take(&mut self.waiting)
    }

    fn remove(&mut self, id: u64) -> Option<Waker> {
        let at = self.waiting.iter().position(|(other, _)| *other == id)?;
        Some(self.waiting.swap_remove(at).1)
    }
}

fn wake(woken: Vec<(u64, Waker)>) {
    woken.into_iter().for_each(|(_, waker)| waker.wake());
}

/// A call that waits for a session, until it goes.
pub(super) struct Awaiting {
    slot: Arc<Slot>,
    /// Its place among those that are woken.
    id: Option<u64>,
    /// When it began to wait, and what was the last of the news then.
    since: Option<(Instant, u64)>,
    /// When it waits no longer.
    until: Option<Instant>,
    timer: Option<Timer>,
}

impl Awaiting {
    pub(super) fn new(slot: &Arc<Slot>) -> Self {
        Self { slot: Arc::clone(slot), id: None, since: None, until: None, timer: None }
    }

    /// Waits on this thread. The patience is that of a call with a deadline.
    pub(super) fn wait(&mut self, patience: Option<&mut Patience>) -> Result<Found, CallError> {
        let deadline = patience.and_then(Patience::until);
        let parker = Parker::current();
        loop {
            match self.look(parker.waker(), deadline) {
                Poll::Ready(found) => return found,
                Poll::Pending => {
                    parker.park(Duration::ZERO, self.until.map(|until| until.saturating_duration_since(clock::now())));
                }
            }
        }
    }

    /// The same for a task.
    pub(super) fn poll(&mut self, waker: &Waker, patience: Option<&mut Patience>) -> Poll<Result<Found, CallError>> {
        let found = self.look(waker, patience.and_then(Patience::until));
        self.timer = None;
        if found.is_pending()
            && let Some(until) = self.until
        {
            match Timer::start(until, waker) {
                Ok(timer) => self.timer = Some(timer),
                Err(error) => {
                    let text = format!("the call cannot wait for a session: {error}");
                    let reason = Status::new(Code::ResourceExhausted, text);
                    return Poll::Ready(Err(CallError::Refused { reason }));
                }
            }
        }
        found
    }

    fn look(&mut self, waker: &Waker, deadline: Option<Instant>) -> Poll<Result<Found, CallError>> {
        let slot = Arc::clone(&self.slot);
        let lobby = &slot.lobby;
        loop {
            let mut state = lobby.state.lock();
            let spent = self.id.take().and_then(|id| state.remove(id));
            let seen = self.seen(&slot, &mut state, deadline);
            if let Seen::Nothing = seen {
                state.next += 1;
                self.id = Some(state.next);
                let id = state.next;
                state.waiting.push((id, waker.clone()));
            }
            let news = state.news;
            drop(state);
            // It is not ours: it may do anything when it goes.
            drop(spent);
            match seen {
                Seen::Found(found) => return Poll::Ready(found),
                Seen::Nothing => return Poll::Pending,
                Seen::Unasked => lobby.ask(news),
            }
        }
    }

    fn seen(&mut self, slot: &Slot, state: &mut State, deadline: Option<Instant>) -> Seen {
        // Whoever brings a session puts it there before it takes this lock to tell.
        if let Some(found) = slot.pick(None) {
            return Seen::Found(Ok(found));
        }
        let now = clock::now();
        let is_new = self.since.is_none();
        let (begun, since) = *self.since.get_or_insert((now, state.news));
        if let Some((at, reason)) = &state.failure
            && *at > since
        {
            return Seen::Found(Err(CallError::Refused { reason: reason.clone() }));
        }
        self.until = self.until.or(deadline);
        if let Stage::Coming(until) = state.stage {
            if is_new && until.is_some_and(|until| until <= now) {
                // Whoever was to bring one has forgotten it.
                state.stage = Stage::Unasked;
            } else {
                self.until = self.until.or(until);
            }
        }
        if !is_new && self.until.is_some_and(|until| until <= now) {
            return Seen::Found(Err(CallError::NoSession { waited: now.saturating_duration_since(begun) }));
        }
        match state.stage {
            Stage::Unasked => {
                state.stage = Stage::Asked;
                Seen::Unasked
            }
            Stage::Asked | Stage::Coming(_) => Seen::Nothing,
        }
    }
}

/// What a call sees that waits for a session.
enum Seen {
    /// A session, or that there will be none.
    Found(Result<Found, CallError>),
    /// Nobody has been asked for one: this call is to ask.
    Unasked,
    /// One is on its way.
    Nothing,
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let spent = self.slot.lobby.state.lock().remove(id);
            drop(spent);
        }
    }
}

/// Runs a future on this thread, which waits for a session beside it, and on that one when it has come.
pub(super) fn block_on<F: Future>(slot: &Arc<Slot>, future: F) -> Result<F::Output, CallError> {
    let (mut future, mut awaiting) = (std::pin::pin!(future), Awaiting::new(slot));
    let flag = Arc::new(Flag { woken: AtomicBool::new(true), thread: Parker::current().waker().clone() });
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    loop {
        // Pairs with the Release in `wake_by_ref`.
        if !flag.woken.swap(false, Ordering::Acquire) {
            Parker::current()
                .park(Duration::ZERO, awaiting.until.map(|until| until.saturating_duration_since(clock::now())));
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if let Poll::Ready(found) = awaiting.look(&waker, None) {
            return Ok(found?.shared.block_on(future));
        }
    }
}

/// Wakes a thread, and says so to whatever else parks it.
struct Flag {
    woken: AtomicBool,
    thread: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // What the waker has done is seen by the woken thread.
        self.woken.store(true, Ordering::Release);
        self.thread.wake_by_ref();
    }
}
