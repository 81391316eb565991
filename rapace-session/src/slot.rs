//! Where callers that outlive sessions find the one to call: one of several, the next one, or one that is still to come.
//!
//! ```text
//!   route.rs    the way of a call: a session, and another one if it was not run there
//!   lobby.rs    where calls wait for a session, and who is asked for one
//!   gate.rs     who may keep calls out, and hears how they end
//!   timer.rs    wakes tasks that wait where no session would
//! ```

mod gate;
mod lobby;
mod route;
mod timer;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use crate::caller::Caller;
use crate::error::CallError;
use crate::role::Role;
use crate::session::Session;
use crate::shared::Shared;
use crate::status::Status;
use crate::sync::{AtomicUsize, Ordering, RwLock};

pub use gate::Gate;
pub(crate) use gate::Passage;
pub use lobby::{Absence, OnAbsence};
pub(crate) use route::Route;

use lobby::Lobby;

/// Where [`Caller`]s find the session that a call goes to: of several the one with the fewest calls in flight that were made
/// by way of this slot. Cheap to clone; it does not keep the sessions open.
///
/// A call that was surely not run, because its session was closed, was [retired](Session::retire), or takes no more calls, is
/// made again with another one, within its deadline, as far as its body is still at hand.
#[derive(Clone)]
pub struct CallerSlot(Arc<Slot>);

pub(crate) struct Slot {
    sessions: RwLock<Vec<Entry>>,
    /// Moves on with each call, so that sessions with as many calls take turns.
    turn: AtomicUsize,
    lobby: Lobby,
    gate: Option<Box<dyn Gate>>,
    /// What is around the calls of clients.
    around: OnceLock<Arc<dyn Any + Send + Sync>>,
}

#[derive(Clone)]
struct Entry {
    session: Weak<Shared>,
    /// Calls in flight, counted while there is a choice.
    load: Arc<AtomicUsize>,
}

/// A session for a call.
pub(crate) struct Found {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counted: Counted,
}

/// A call in the count of its session, until this goes.
#[derive(Default)]
pub(crate) struct Counted(Option<Arc<AtomicUsize>>);

impl CallerSlot {
    /// Knows of no session. `absent` is asked when a call finds none: a text is what such calls are refused with.
    pub fn new(absent: impl OnAbsence) -> Self {
        Self::with(Box::new(absent), None)
    }

    /// The same with a gate before each call.
    pub fn gated(absent: impl OnAbsence, gate: impl Gate) -> Self {
        Self::with(Box::new(absent), Some(Box::new(gate)))
    }

    fn with(absent: Box<dyn OnAbsence>, gate: Option<Box<dyn Gate>>) -> Self {
        let (sessions, turn) = (RwLock::new(Vec::new()), AtomicUsize::new(0));
        Self(Arc::new(Slot { sessions, turn, lobby: Lobby::new(absent), gate, around: OnceLock::new() }))
    }

    /// Puts this around the calls of all clients that are made of it from now on: see [`AsCaller`](crate::AsCaller). What is
    /// there first stays.
    pub fn put_around(&self, around: Arc<dyn Any + Send + Sync>) {
        let _ = self.0.around.set(around);
    }

    /// From now on this is the session, and the only one.
    pub fn set<R: Role>(&self, session: &Session<R>) {
        self.set_all(std::slice::from_ref(session));
    }

    /// From now on these are the sessions. With none, the next call finds none.
    pub fn set_all<R: Role>(&self, sessions: &[Session<R>]) {
        self.put(&sessions.iter().map(Session::shared).collect::<Vec<_>>());
    }

    pub(crate) fn put(&self, sessions: &[&Arc<Shared>]) {
        let mut list = self.0.sessions.write();
        let entry = |shared: &&Arc<Shared>| {
            let known = list.iter().find(|entry| entry.is(shared));
            known.cloned().unwrap_or_else(|| Entry::new(shared))
        };
        let new = sessions.iter().map(entry).collect();
        *list = new;
        drop(list);
        if !sessions.is_empty() {
            self.0.lobby.arrived();
        }
    }

    /// One more session.
    pub fn add<R: Role>(&self, session: &Session<R>) {
        let mut list = self.0.sessions.write();
        if !list.iter().any(|entry| entry.is(session.shared())) {
            list.push(Entry::new(session.shared()));
        }
        drop(list);
        self.0.lobby.arrived();
    }

    /// One session less. Calls that are in flight there go on; one that is about to be made may still be, unless the session
    /// is [retired](Session::retire).
    pub fn remove<R: Role>(&self, session: &Session<R>) {
        self.0.forget(session.shared());
    }

    /// No session has come: calls that wait for one are refused with this. The next call asks again.
    pub fn fail(&self, reason: &Status) {
        self.0.lobby.fail(reason);
    }

    /// How many sessions there are to choose from, as far as is known.
    pub fn session_count(&self) -> usize {
        self.0.sessions.read().iter().filter(|entry| entry.session.strong_count() > 0).count()
    }

    /// The way to call whichever session is there when a call is made.
    pub fn caller(&self) -> Caller {
        Caller::of_slot(&self.0)
    }
}

impl fmt::Debug for CallerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.caller().fmt(f)
    }
}

impl Slot {
    pub(crate) fn around(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.around.get().cloned()
    }

    /// A session for a call: the preferred one if it is there, or that with the fewest calls in flight.
    pub(crate) fn pick(&self, preferred: Option<&Arc<Shared>>) -> Option<Found> {
        let sessions = self.sessions.read();
        if let [only] = &sessions[..] {
            return only.session.upgrade().map(|shared| Found { shared, counted: Counted::default() });
        }
        let preferred = preferred.and_then(|shared| sessions.iter().find(|entry| entry.is(shared)));
        if let Some(found) = preferred.and_then(Entry::take) {
            return Some(found);
        }
        // Orders nothing: it only spreads.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..sessions.len()).map(|at| &sessions[turn.wrapping_add(at) % sessions.len()]);
        loop {
            let there = in_turn().filter(|entry| entry.session.strong_count() > 0);
            let least = there.min_by_key(|entry| entry.load.load(Ordering::Relaxed))?;
            // One that goes meanwhile is not there the next time.
            if let Some(found) = least.take() {
                return Some(found);
            }
        }
    }

    /// The same for what is no call.
    pub(crate) fn peek(&self) -> Option<Arc<Shared>> {
        self.pick(None).map(|found| found.shared)
    }

    /// Runs a future on this thread, which waits on one of the sessions meanwhile, once there is one.
    pub(crate) fn block_on<F: Future>(self: &Arc<Self>, future: F) -> Result<F::Output, CallError> {
        match self.peek() {
            Some(shared) => Ok(shared.block_on(future)),
            None => lobby::block_on(self, future),
        }
    }

    /// A session has not taken a call, and is to have no others, unless it was [reinstated](Session::reinstate) meanwhile.
    fn passes_over(&self, shared: &Arc<Shared>) {
        // Whoever reinstates one puts it here behind that.
        self.sessions.write().retain(|entry| !entry.is(shared) || shared.takes_calls());
    }

    /// A session takes no more calls.
    fn forget(&self, shared: &Arc<Shared>) {
        self.sessions.write().retain(|entry| !entry.is(shared));
    }
}

impl Entry {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { session: Arc::downgrade(shared), load: Arc::new(AtomicUsize::new(0)) }
    }

    fn is(&self, shared: &Arc<Shared>) -> bool {
        std::ptr::eq(self.session.as_ptr(), Arc::as_ptr(shared))
    }

    /// The session, with one more call.
    fn take(&self) -> Option<Found> {
        let shared = self.session.upgrade()?;
        // Orders nothing, nor does its counterpart: it is a figure to choose by.
        self.load.fetch_add(1, Ordering::Relaxed);
        Some(Found { shared, counted: Counted(Some(Arc::clone(&self.load))) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(load) = &self.0 {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
