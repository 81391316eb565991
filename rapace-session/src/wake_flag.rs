//! The waker of a thread that runs a future while it waits on a session.

use std::sync::{Arc, Weak};
use std::task::Wake;

use crate::parker::Parker;
use crate::shared::Shared;
use crate::sync::{AtomicBool, Ordering};

/// Set when the future is to be polled again; the thread hears of it whether it leads, follows or is parked.
pub(crate) struct WakeFlag {
    woken: AtomicBool,
    parker: Parker,
    shared: Weak<Shared>,
}

impl WakeFlag {
    /// One that is set, for the current thread.
    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), parker: Parker::current(), shared: Arc::downgrade(shared) })
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        // A hint: `take` orders.
        self.woken.load(Ordering::Relaxed)
    }

    /// Clears it; says whether it was set.
    pub(crate) fn take(&self) -> bool {
        // Pairs with the Release of `wake_by_ref`: what the waker has done is seen by the future.
        self.woken.swap(false, Ordering::Acquire)
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Pairs with the Acquire of `take`.
        if !self.woken.swap(true, Ordering::Release) {
            self.parker.waker().wake_by_ref();
            if let Some(shared) = self.shared.upgrade() {
                shared.alarm().raise();
            }
        }
    }
}
