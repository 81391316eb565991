//! Waiting for a session as a whole: until nothing is in flight on it, or until it has ended.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::SessionEnd;
use crate::patience::Patience;
use crate::shared::Shared;
use crate::state::State;
use crate::waiters::Waits;

/// Which calls are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that this side has made.
    Ours,
    /// Those of the peer, too.
    All,
}

/// Waits until none of these calls is in flight, or the time is over; says which.
pub(crate) async fn drained(shared: Arc<Shared>, which: Which, time: Option<Duration>) -> bool {
    let mut patience = time.map_or_else(Patience::endless, |time| Patience::new(time).started());
    let mut waiting = Waiting { shared: &shared, id: None };
    std::future::poll_fn(|cx| {
        let mut state = shared.state();
        if !state.leading {
            state.pump();
        }
        let (ours, theirs) = state.machine.in_flight();
        let drained = ours == 0 && (theirs == 0 || which == Which::Ours);
        let over = patience.left().is_some_and(|left| left.is_zero());
        waiting.leave(&mut state);
        if !drained && !over {
            let until = patience.until();
            waiting.join(&mut state, cx, Waits { drains: true, until, ..Waits::NOTHING });
            if let Some(until) = until {
                state.note_deadline(until);
            }
        }
        shared.leave(state);
        if drained || over { Poll::Ready(drained) } else { Poll::Pending }
    })
    .await
}

/// Waits until a session ends.
pub(crate) async fn ended(shared: &Arc<Shared>) -> Arc<SessionEnd> {
    let mut waiting = Waiting { shared, id: None };
    std::future::poll_fn(|cx| {
        let mut state = shared.state();
        if let Some(end) = state.machine.end() {
            return Poll::Ready(Arc::clone(end));
        }
        waiting.leave(&mut state);
        waiting.join(&mut state, cx, Waits::NOTHING);
        shared.leave(state);
        Poll::Pending
    })
    .await
}

/// A task among those that wait, until it goes.
struct Waiting<'a> {
    shared: &'a Shared,
    id: Option<u64>,
}

impl Waiting<'_> {
    fn join(&mut self, state: &mut State, cx: &Context<'_>, waits: Waits) {
        self.id = Some(state.waiters.add(cx.waker(), waits));
    }

    fn leave(&mut self, state: &mut State) {
        if let Some(id) = self.id.take() {
            let spent = state.waiters.remove(id);
            state.machine.spent().extend(spent);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.id.is_some() {
            let mut state = self.shared.state();
            self.leave(&mut state);
            self.shared.leave(state);
        }
    }
}
