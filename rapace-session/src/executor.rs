//! How a session runs futures: those that a thread blocks on, and handlers that are not ready.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::lock::Guard;
#[cfg(feature = "tokio")]
use crate::nesting::Nested;
use crate::nesting::{Nesting, depth};
use crate::parker::Parker;
use crate::patience::Patience;
use crate::shared::{Purpose, Shared};
use crate::state::State;
use crate::tasks::{Future, Runnable, TaskId};
use crate::wake_flag::WakeFlag;

impl Shared {
    /// Runs a future on this thread, which drains the ring and serves the peer's calls meanwhile.
    pub(crate) fn block_on<F: std::future::Future>(self: &Arc<Self>, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let flag = WakeFlag::new(self);
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = std::task::Context::from_waker(&waker);
        loop {
            if flag.take()
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                return output;
            }
            let mut looked = false;
            let ended = self.wait(Purpose::Future, &mut Patience::endless(), |state| {
                // A future that is always ready again lets a call or a task have its turn between two polls.
                if !std::mem::replace(&mut looked, true) && state.has_work(depth()) {
                    return None;
                }
                if flag.is_set() { Some(false) } else { state.machine.end().map(|_| true) }
            });
            if ended == Some(true) && !flag.is_set() {
                // Nothing comes of this session any more, but what the future waits for may be something else.
                Parker::current().park(Duration::ZERO, None);
            }
        }
    }

    /// Hands a handler that is not ready to the executor: tokio's, or the threads that wait on this session.
    pub(crate) fn spawn(self: &Arc<Self>, depth: u8, future: Future) {
        #[cfg(feature = "tokio")]
        if let Some(runtime) = self.runtime() {
            runtime.spawn(Nested { depth, future });
            return;
        }
        let mut state = self.state();
        if state.machine.end().is_some() {
            self.leave(state);
            return drop_future(future);
        }
        state.tasks.add(self, depth, future);
        state.share_work();
        state.alarm_due = true;
        self.leave(state);
    }

    /// A task is to be polled.
    pub(crate) fn wake_task(&self, id: TaskId) {
        let mut state = self.state();
        if state.tasks.wake(id) {
            state.share_work();
            state.alarm_due = true;
        }
        self.leave(state);
    }

    /// Polls a task without the lock, as a handler that has begun.
    pub(crate) fn run_task<'a>(&'a self, mut state: Guard<'a, State>, task: Runnable) -> Guard<'a, State> {
        let Runnable { id, depth, mut future, waker } = task;
        let mut left = None;
        state = self.relock(state, || {
            let _nested = Nesting::enter(depth);
            let mut context = std::task::Context::from_waker(&waker);
            // A handler that panics drops its call, which answers it.
            let polled = panic_guard(|| future.as_mut().poll(&mut context));
            match polled {
                Some(Poll::Pending) => left = Some(future),
                Some(Poll::Ready(())) | None => drop_future(future),
            }
        });
        state.end_handler();
        if let Some(unwanted) = state.tasks.put_back(id, left) {
            state = self.relock(state, || drop_future(unwanted));
        }
        state
    }
}

/// Runs code of a user's; a panic in it ends here, and is `None`.
pub fn panic_guard<T>(code: impl FnOnce() -> T) -> Option<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            tracing::error!("a handler panicked");
            // What was thrown may throw in turn when it is dropped: that is forgotten, and only that, because a peer may
            // be able to make a handler panic as often as it likes.
            let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
            let _ = dropped.map_err(std::mem::forget);
            None
        }
    }
}

/// Drops what is left of a handler, which may panic.
pub(crate) fn drop_future(future: Future) {
    panic_guard(|| drop(future));
}
