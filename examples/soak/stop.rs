//! The sign that it is time to stop, and rests that end with it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        self.is_set.store(true, Relaxed);
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    /// Waits for so long, or until it is time to stop.
    pub(crate) fn rest(&self, time: Duration) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(lock, time, |()| !self.is_set()));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_rest_ends_when_it_is_time_to_stop() {
        // Whether it has begun by then, or not yet.
        for turns in 0..100 {
            let stop = Stop::default();
            thread::scope(|scope| {
                scope.spawn(|| stop.rest(Duration::from_secs(100_000)));
                (0..turns).for_each(|_| thread::yield_now());
                stop.set();
            });
        }
    }
}
