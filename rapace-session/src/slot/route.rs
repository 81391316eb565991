//! The way of a call by a slot: to a session, and to another one if it was surely not run there.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::gate::{Admitted, Passage};
use super::lobby::Awaiting;
use super::{Found, Slot};
use crate::error::CallError;
use crate::patience::Patience;
use crate::session::CallOptions;
use crate::shared::Shared;

/// Sessions that one call may try. Each of those that refuse it is forgotten, so that more are needed only where sessions come
/// and go faster than calls.
const ATTEMPTS_MAX: u8 = 16;

/// The way of one call.
#[derive(Default)]
pub(crate) struct Route {
    begun: bool,
    attempts: u8,
    /// Whether a call that may have run was made again.
    run_again: bool,
    admitted: Admitted,
    /// What the last attempt has met.
    error: Option<Box<CallError>>,
    awaiting: Option<Box<Awaiting>>,
}

impl Route {
    /// A session for the next attempt, for which this thread waits if there is none.
    pub(crate) fn find(
        &mut self,
        slot: &Arc<Slot>,
        preferred: Option<&Arc<Shared>>,
        patience: &mut Option<Patience>,
        options: &CallOptions,
    ) -> Result<Found, CallError> {
        self.begin(slot, patience, options)?;
        if let Some(found) = slot.pick(preferred) {
            return Ok(found);
        }
        let found = self.awaiting(slot).wait(patience.as_mut());
        self.found(found)
    }

    /// The same for a task.
    pub(crate) fn poll_find(
        &mut self,
        slot: &Arc<Slot>,
        cx: &Context<'_>,
        patience: &mut Option<Patience>,
        options: &CallOptions,
    ) -> Poll<Result<Found, CallError>> {
        self.begin(slot, patience, options)?;
        if self.awaiting.is_none()
            && let Some(found) = slot.pick(None)
        {
            return Poll::Ready(Ok(found));
        }
        match self.awaiting(slot).poll(cx.waker(), patience.as_mut()) {
            Poll::Ready(found) => Poll::Ready(self.found(found)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether nothing has taken time yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.attempts == 0
    }

    /// An attempt has failed; says whether there is to be another one.
    #[cold]
    pub(crate) fn goes_on(
        &mut self,
        slot: &Slot,
        shared: &Arc<Shared>,
        error: &CallError,
        patience: &mut Patience,
        options: &CallOptions,
    ) -> bool {
        let may_go_on = match error {
            CallError::Refused { .. } | CallError::SessionEnded { sent: false, .. } => true,
            // Once, lest a call that its callee does not survive goes from one to the next.
            CallError::SessionEnded { .. } => options.idempotent && !std::mem::replace(&mut self.run_again, true),
            _ => false,
        };
        self.attempts = self.attempts.saturating_add(1);
        // What it has met is for good as a rule, so nobody else need meet it.
        if may_go_on {
            slot.passes_over(shared);
        }
        let goes_on =
            may_go_on && self.attempts < ATTEMPTS_MAX && patience.left_if_begun().is_none_or(|left| !left.is_zero());
        if goes_on {
            self.error = Some(Box::new(error.clone()));
        }
        goes_on
    }

    /// The call has been sent, and ends elsewhere.
    pub(crate) fn leave(&mut self, found: Found) -> (Arc<Shared>, Passage) {
        (found.shared, Passage::new(std::mem::take(&mut self.admitted), found.counted))
    }

    /// The call has ended.
    #[inline]
    pub(crate) fn ended<T>(&mut self, outcome: &Result<T, CallError>) {
        self.admitted.ended(outcome.as_ref().map(|_| ()));
    }

    fn begin(
        &mut self,
        slot: &Arc<Slot>,
        patience: &mut Option<Patience>,
        options: &CallOptions,
    ) -> Result<(), CallError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.admitted = Admitted::at(slot)?;
            // To wait for a session is a part of the call.
            *patience = options.deadline.map(|deadline| Patience::new(deadline).started());
        }
        Ok(())
    }

    fn awaiting(&mut self, slot: &Arc<Slot>) -> &mut Awaiting {
        // Time goes by from here on.
        self.attempts = self.attempts.max(1);
        self.awaiting.get_or_insert_with(|| Box::new(Awaiting::new(slot)))
    }

    /// A wait is over. Without a session it is what the last attempt has met that says how the call has ended.
    fn found(&mut self, found: Result<Found, CallError>) -> Result<Found, CallError> {
        self.awaiting = None;
        found.map_err(|error| self.error.take().map_or(error, |met| *met))
    }
}

impl Slot {
    /// Makes a call, on this thread: by `attempt`, with sessions one after the other. It is told how long it may take, and
    /// whether that is all of the call's time.
    pub(crate) fn call<T>(
        self: &Arc<Self>,
        preferred: Option<&Arc<Shared>>,
        options: &CallOptions,
        mut attempt: impl FnMut(&Arc<Shared>, &mut Patience, bool) -> Result<T, CallError>,
    ) -> Result<(T, Passage), CallError> {
        let (mut route, mut patience, mut preferred) = (Route::default(), None, preferred);
        let error = loop {
            let found = match route.find(self, preferred.take(), &mut patience, options) {
                Ok(found) => found,
                Err(error) => break error,
            };
            let patience = patience.get_or_insert_with(|| found.shared.patience(options));
            match attempt(&found.shared, patience, route.is_fresh()) {
                Ok(value) => return Ok((value, route.leave(found).1)),
                Err(error) if route.goes_on(self, &found.shared, &error, patience, options) => {}
                Err(error) => break error,
            }
        };
        route.admitted.ended(Err(&error));
        Err(error)
    }
}
