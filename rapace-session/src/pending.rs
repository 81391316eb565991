//! A call that has been sent and not yet been answered.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::calls::{CallKey, Outcome, Reply};
use crate::error::CallError;
use crate::patience::Patience;
use crate::shared::{Purpose, Shared};
use crate::slot::Passage;
use crate::state::State;
use crate::status::Code;

/// A call whose reply has not been taken, to be waited for by a thread or by a task. Dropped, it is cancelled.
#[must_use = "a call that is dropped is cancelled"]
pub struct PendingCall {
    shared: Arc<Shared>,
    key: CallKey,
    patience: Patience,
    /// Whether a task has looked.
    polled: bool,
    taken: bool,
    passage: Passage,
}

impl PendingCall {
    pub(crate) fn new(shared: Arc<Shared>, key: CallKey, patience: Patience) -> Self {
        Self { shared, key, patience, polled: false, taken: false, passage: Passage::default() }
    }

    /// The same call, which was made by way of a slot.
    pub(crate) fn by(mut self, passage: Passage) -> Self {
        self.passage = passage;
        self
    }

    /// Waits for the reply on this thread, serving the peer's calls meanwhile.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn wait(mut self) -> Result<Reply, CallError> {
        let key = self.key;
        let shared = Arc::clone(&self.shared);
        let outcome = shared.wait(Purpose::Reply(key), &mut self.patience, |state| shared.take(state, key));
        self.taken = true;
        let outcome = outcome.unwrap_or_else(|| {
            shared.abandon(key, Code::DeadlineExceeded);
            Err(CallError::DeadlineExceeded { waited: self.patience.time() })
        });
        self.passage.ended(&outcome);
        outcome
    }

    /// The outcome, if it is there, without waiting. Nothing is left to wait for then.
    ///
    /// # Errors
    ///
    /// The call itself, as long as it has no outcome.
    pub fn try_wait(mut self) -> Result<Outcome, Self> {
        let mut state = self.shared.state();
        if !state.leading {
            state.pump();
        }
        let outcome = self.shared.take(&mut state, self.key);
        self.shared.leave(state);
        match outcome {
            Some(outcome) => {
                self.taken = true;
                self.passage.ended(&outcome);
                Ok(outcome)
            }
            None => Err(self),
        }
    }
}

/// The outcome of a call, or who is to be woken for it.
pub(crate) fn look(
    shared: &Arc<Shared>,
    state: &mut State,
    key: CallKey,
    patience: &mut Patience,
    waker: &Waker,
) -> Option<Outcome> {
    if !state.leading {
        state.pump();
    }
    let outcome = shared.take(state, key);
    if outcome.is_some() {
        state.spinner(Purpose::Reply(key)).came();
        return outcome;
    }
    if patience.left().is_some_and(|left| left.is_zero()) {
        let State { machine, link, .. } = state;
        machine.abandon(key, Code::DeadlineExceeded, link);
        #[cfg(feature = "fault-injection")]
        state.replies.forget(key);
        state.flush();
        return Some(Err(CallError::DeadlineExceeded { waited: patience.time() }));
    }
    note(state, key, patience, waker);
    None
}

/// Notes who is to be woken for a call, and when at the latest.
pub(crate) fn note(state: &mut State, key: CallKey, patience: &mut Patience, waker: &Waker) {
    state.machine.set_waker(key, waker);
    if let Some(until) = patience.until() {
        state.machine.set_deadline(key, until);
        state.note_deadline(until);
    }
}

impl Future for PendingCall {
    type Output = Result<Reply, CallError>;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(!this.taken, "a call that was ready is polled again");
        #[cfg_attr(not(feature = "tokio"), expect(unused_variables, reason = "only an attendant lets a task look"))]
        let polled = std::mem::replace(&mut this.polled, true);
        let shared = Arc::clone(&this.shared);
        let mut state = shared.state();
        #[cfg(feature = "tokio")]
        if !polled && state.leads_alone(1) {
            state = crate::tokio::look_alone(&shared, state, this.key);
        }
        let outcome = look(&shared, &mut state, this.key, &mut this.patience, cx.waker());
        shared.leave(state);
        this.taken = outcome.is_some();
        if let Some(outcome) = &outcome {
            this.passage.ended(outcome);
        }
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !self.taken {
            self.shared.abandon(self.key, Code::Cancelled);
        }
    }
}

impl fmt::Debug for PendingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall").field("key", &self.key).finish()
    }
}
