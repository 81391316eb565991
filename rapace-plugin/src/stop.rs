//! The word that a plugin is to stop, for tasks and for threads.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Said once.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    state: Mutex<State>,
    said: Condvar,
}

#[derive(Debug, Default)]
struct State {
    said: bool,
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

impl Stop {
    /// Tells everybody.
    pub(crate) fn say(&self) {
        let mut state = self.state.lock();
        state.said = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.said.notify_all();
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(crate) fn is_said(&self) -> bool {
        self.state.lock().said
    }

    /// Waits for so long, or without end; says whether it was said.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> bool {
        // A time beyond what the clock can say is without end.
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let endless = patience.is_none() || deadline.is_none();
        let mut state = self.state.lock();
        match deadline {
            Some(deadline) if !endless => {
                self.said.wait_while_until(&mut state, |state| !state.said, deadline);
            }
            _ => self.said.wait_while(&mut state, |state| !state.said),
        }
        state.said
    }
}

/// Ready when the plugin is to stop.
#[must_use = "it is to be awaited"]
pub struct Stopped {
    life: Arc<crate::life::Life>,
    number: Option<u64>,
}

impl Stopped {
    pub(crate) fn new(life: Arc<crate::life::Life>) -> Self {
        Self { life, number: None }
    }
}

impl Future for Stopped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let life = Arc::clone(&self.life);
        let mut state = life.stop.state.lock();
        if state.said {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.wakers.retain(|(of, _)| *of != number);
        state.wakers.push((number, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.life.stop.state.lock().wakers.retain(|(of, _)| *of != number);
        }
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped").field("is_said", &self.life.stop.is_said()).finish()
    }
}
