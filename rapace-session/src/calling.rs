//! A call that a task makes and waits for: one future, because futures within futures are moved with each of them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::caller::{Caller, Target};
use crate::calls::{CallKey, Outcome};
use crate::opening::Opening;
use crate::patience::Patience;
use crate::pending;
use crate::session::CallOptions;
use crate::slot::{Found, Route};
use crate::status::Code;

/// A call on its way, from [`Caller::call`]. Dropped before it is ready, it is cancelled.
#[must_use = "nothing is sent before the first poll"]
pub struct Calling<'a, B> {
    caller: &'a Caller,
    /// The way that it takes, if the caller may find another session next time, and where it is.
    route: Route,
    found: Option<Found>,
    method: u32,
    body: B,
    options: Cow<'a, CallOptions>,
    patience: Option<Patience>,
    stage: Stage,
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
        Self { caller, route: Route::default(), found: None, method, body, options, patience: None, stage: Stage::New }
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Self { caller, route, found, method, body, options, patience, stage } = self;
        let shared = match (caller.target(), found) {
            (Target::Session(shared), _) => shared,
            (Target::Slot(_), Some(found)) => &found.shared,
            (Target::Slot(slot), found) => {
                let new = ready!(route.poll_find(slot, cx, patience, options))?;
                &found.insert(new).shared
            }
        };
        let patience = patience.get_or_insert_with(|| shared.patience(options));
        let mut first = false;
        if matches!(stage, Stage::New) {
            first = route.is_fresh();
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
            let Target::Slot(slot) = self.caller.target() else { return Poll::Ready(outcome) };
            let Self { route, found, patience, options, stage, .. } = &mut *self;
            if let (Some(found), Err(error), Some(patience)) = (found.take(), &outcome, patience)
                && route.goes_on(slot, &found.shared, error, patience, options)
            {
                *stage = Stage::New;
                continue;
            }
            route.ended(&outcome);
            return Poll::Ready(outcome);
        }
    }
}

impl<B> Drop for Calling<'_, B> {
    fn drop(&mut self) {
        let shared = match (self.caller.target(), &self.found) {
            (Target::Session(shared), _) => shared,
            (Target::Slot(_), Some(found)) => &found.shared,
            (Target::Slot(_), None) => return,
        };
        match &mut self.stage {
            Stage::New | Stage::Over => {}
            Stage::Opening(opening) => opening.give_up(shared),
            Stage::Waiting(key) => shared.abandon(*key, Code::Cancelled),
        }
    }
}

impl<B> fmt::Debug for Calling<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("method", &self.method).field("stage", &self.stage).finish_non_exhaustive()
    }
}
