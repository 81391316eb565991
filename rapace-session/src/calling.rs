//! A call that a task makes and waits for: one future, because futures within futures are moved with each of them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::caller::Caller;
use crate::calls::{CallKey, Outcome};
use crate::opening::Opening;
use crate::patience::Patience;
use crate::pending;
use crate::session::CallOptions;
use crate::shared::Shared;

/// A call on its way, from [`Caller::call`]. Dropped before it is ready, it is cancelled.
#[must_use = "nothing is sent before the first poll"]
pub struct Calling<'a, B> {
    caller: &'a Caller,
    /// The session, if the caller may find another one next time.
    found: Option<Arc<Shared>>,
    method: u32,
    body: B,
    options: Cow<'a, CallOptions>,
    patience: Patience,
    stage: Stage,
    /// Whether this is the second attempt, at a session that has taken the place of one that ended.
    again: bool,
}

#[derive(Debug)]
enum Stage {
    /// Nothing has been done.
    New,
    /// The request has found no room yet.
    Opening(Opening),
    /// It was sent; whom to wake has been noted.
    Waiting(CallKey),
    /// It has ended.
    Over,
}

impl<'a, B: Deref<Target = [u8]>> Calling<'a, B> {
    pub(crate) fn new(caller: &'a Caller, method: u32, body: B, options: Cow<'a, CallOptions>) -> Self {
        Self {
            caller,
            found: None,
            method,
            body,
            options,
            patience: Patience::endless(),
            stage: Stage::New,
            again: false,
        }
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Self { caller, found, method, body, options, patience, stage, .. } = self;
        let shared = match (caller.fixed(), found) {
            (Some(shared), _) => shared,
            (None, Some(shared)) => shared,
            (None, found) => found.insert(caller.shared()?),
        };
        let first = matches!(stage, Stage::New);
        if first {
            *patience = shared.patience(options);
            *stage = Stage::Opening(Opening::default());
        }
        match stage {
            Stage::Opening(opening) => {
                let request = caller.request_at(shared, *method, body, options, patience, first);
                let (key, outcome) = ready!(opening.poll(shared, cx, &request, patience, true))?;
                match outcome {
                    Some(outcome) => Poll::Ready(outcome),
                    None => {
                        *stage = Stage::Waiting(key);
                        Poll::Pending
                    }
                }
            }
            Stage::Waiting(key) => {
                let mut state = shared.state();
                let outcome = pending::look(shared, &mut state, *key, patience, cx.waker());
                shared.leave(state);
                outcome.map_or(Poll::Pending, Poll::Ready)
            }
            // `poll` has asserted that it is not over.
            Stage::New | Stage::Over => Poll::Pending,
        }
    }
}

impl<B: Deref<Target = [u8]> + Unpin> Future for Calling<'_, B> {
    type Output = Outcome;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        assert!(!matches!(self.stage, Stage::Over), "a call that was ready is polled again");
        loop {
            let outcome = ready!(self.poll_outcome(cx));
            self.stage = Stage::Over;
            let ended = self.found.take().filter(|_| !self.again);
            let again = ended.and_then(|ended| self.caller.successor(&ended, &outcome, &self.options));
            if again.is_none() {
                return Poll::Ready(outcome);
            }
            (self.found, self.stage, self.again) = (again, Stage::New, true);
        }
    }
}

impl<B> Drop for Calling<'_, B> {
    fn drop(&mut self) {
        let Some(shared) = self.caller.fixed().or(self.found.as_ref()) else { return };
        match &mut self.stage {
            Stage::New | Stage::Over => {}
            Stage::Opening(opening) => opening.give_up(shared),
            Stage::Waiting(key) => shared.abandon(*key),
        }
    }
}

impl<B> fmt::Debug for Calling<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("method", &self.method).field("stage", &self.stage).finish_non_exhaustive()
    }
}
