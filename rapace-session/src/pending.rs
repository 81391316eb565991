//! A call that has been sent and not yet been answered.

use std::fmt;
use std::sync::Arc;

use crate::calls::{CallKey, Outcome, Reply};
use crate::error::CallError;
use crate::patience::Patience;
use crate::shared::{Purpose, Shared};

/// A call whose reply has not been taken. Dropped, it is cancelled.
#[must_use = "a call that is dropped is cancelled"]
pub struct PendingCall {
    shared: Arc<Shared>,
    key: CallKey,
    patience: Patience,
    taken: bool,
}

impl PendingCall {
    pub(crate) fn new(shared: Arc<Shared>, key: CallKey, patience: Patience) -> Self {
        Self { shared, key, patience, taken: false }
    }

    /// Waits for the reply, serving the peer's calls meanwhile.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn wait(mut self) -> Result<Reply, CallError> {
        let key = self.key;
        let outcome = self.shared.wait(Purpose::Reply(key), &mut self.patience, |state| state.machine.take(key));
        match outcome {
            Some(outcome) => {
                self.taken = true;
                outcome
            }
            // Dropping the call cancels it.
            None => Err(CallError::DeadlineExceeded { waited: self.patience.time() }),
        }
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
        let outcome = state.machine.take(self.key);
        self.shared.leave(state);
        match outcome {
            Some(outcome) => {
                self.taken = true;
                Ok(outcome)
            }
            None => Err(self),
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !self.taken {
            self.shared.abandon(self.key);
        }
    }
}

impl fmt::Debug for PendingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall").field("key", &self.key).finish()
    }
}
