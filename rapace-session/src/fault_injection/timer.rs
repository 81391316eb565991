//! A time for which a task waits. Whoever waits on the session keeps it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::shared::Shared;
use crate::state::State;
use crate::waiters::Waits;

/// Ready when its time is over, or the session has ended.
#[derive(Debug)]
pub(crate) struct Timer {
    /// Never, if it is none.
    until: Option<Instant>,
    id: Option<u64>,
}

impl Timer {
    pub(super) fn until(until: Option<Instant>) -> Self {
        Self { until, id: None }
    }

    /// A time that the clock cannot show is without end.
    pub(super) fn after(time: Duration) -> Self {
        Self::until(Instant::now().checked_add(time))
    }

    /// The same, or earlier.
    pub(super) fn or_at(self, at: Instant) -> Self {
        Self { until: Some(self.until.map_or(at, |until| until.min(at))), ..self }
    }

    pub(super) fn poll(&mut self, shared: &Shared, cx: &Context<'_>) -> Poll<()> {
        let mut state = shared.state();
        self.unregister(&mut state);
        let is_over = self.until.is_some_and(|until| until <= Instant::now()) || state.machine.end().is_some();
        if !is_over {
            let waits = Waits { until: self.until, ..Waits::NOTHING };
            self.id = Some(state.waiters.add(cx.waker(), waits));
            if let Some(until) = self.until {
                state.note_deadline(until);
            }
        }
        shared.leave(state);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Nobody waits any more. It is due before this goes, unless it was ready.
    pub(super) fn give_up(&mut self, shared: &Shared) {
        if self.id.is_some() {
            let mut state = shared.state();
            self.unregister(&mut state);
            shared.leave(state);
        }
    }

    fn unregister(&mut self, state: &mut State) {
        if let Some(id) = self.id.take() {
            let spent = state.waiters.remove(id);
            state.machine.spent().extend(spent);
        }
    }
}

/// A timer as a future of its own.
pub(super) struct Delay {
    shared: Arc<Shared>,
    timer: Timer,
}

impl Delay {
    pub(super) fn new(shared: &Arc<Shared>, time: Duration) -> Self {
        Self { shared: Arc::clone(shared), timer: Timer::after(time) }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, timer } = &mut *self;
        timer.poll(shared, cx)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.timer.give_up(&self.shared);
    }
}
