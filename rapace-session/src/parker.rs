//! A thread that waits for another thread of its own process.

use std::cell::OnceCell;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use rapace_core::wait::look;

use crate::clock;
use crate::sync::{self, AtomicBool, Ordering, Thread};

/// The current thread's way to be woken. Waking a thread that has not gone to sleep yet is no system call.
#[derive(Clone, Debug)]
pub(crate) struct Parker {
    unparker: Arc<Unparker>,
    waker: Waker,
}

#[derive(Debug)]
struct Unparker {
    woken: AtomicBool,
    thread: Thread,
}

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Pairs with the Acquire in `Parker::take`: what the waker has done is seen by the woken thread.
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

impl Parker {
    /// That of the current thread.
    pub(crate) fn current() -> Self {
        sync::thread_local!(static PARKER: OnceCell<Parker> = const { OnceCell::new() });
        PARKER.with(|parker| {
            parker
                .get_or_init(|| {
                    let unparker = Arc::new(Unparker { woken: AtomicBool::new(false), thread: sync::current() });
                    Self { waker: Waker::from(Arc::clone(&unparker)), unparker }
                })
                .clone()
        })
    }

    /// Wakes this thread.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Waits until somebody wakes this thread, or the time is over; looks for a while before it sleeps.
    ///
    /// It may return early: the caller looks again at what it waits for.
    pub(crate) fn park(&self, spin: Duration, patience: Option<Duration>) {
        let start = clock::now();
        while clock::now().duration_since(start) < spin {
            if look(|| self.unparker.woken.load(Ordering::Relaxed)) {
                break;
            }
        }
        if self.take() {
            return;
        }
        sync::park(patience, || self.unparker.woken.load(Ordering::Relaxed));
        self.take();
    }

    fn take(&self) -> bool {
        // Pairs with the Release in `wake_by_ref`.
        self.unparker.woken.swap(false, Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_wake_before_the_park_is_not_lost() {
        let parker = Parker::current();
        parker.waker().wake_by_ref();
        parker.park(Duration::ZERO, None);
        let waker = parker.waker().clone();
        let other = thread::spawn(move || waker.wake());
        parker.park(Duration::from_micros(10), None);
        other.join().unwrap();
    }
}
