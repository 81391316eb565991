//! The lock of a session: one atomic exchange takes it, and a plain store leaves it.
//!
//! A call takes it a few times, nearly always without anybody beside it. A lock that wakes its waiters needs an exchange to
//! be left, too, which waits for all stores before it: as much as the rest of a call's bookkeeping. Here whoever finds the
//! lock taken queues at a gate, an ordinary lock, and the first of the queue asks again until it has it.

use std::time::Duration;

use crossbeam::utils::Backoff;

use crate::sync::{AtomicUsize, Mutex, Ordering, SpinMutex, SpinMutexGuard, sleep};

/// Between two attempts of one that waits for long: the holder has lost its processor.
const PAUSE: Duration = Duration::from_micros(20);

/// A value for one thread at a time. No section that it guards may block.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    value: SpinMutex<T>,
    gate: Mutex<()>,
    waiting: AtomicUsize,
}

/// Access to the value, until it is dropped.
pub(crate) type Guard<'a, T> = SpinMutexGuard<'a, T>;

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: SpinMutex::new(value), gate: Mutex::new(()), waiting: AtomicUsize::new(0) }
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.value.try_lock().unwrap_or_else(|| self.wait())
    }

    /// Whether anybody waits for it: a holder that does nothing but look lets it go then.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        // Orders nothing: whoever looks sees it sooner or later.
        self.waiting.load(Ordering::Relaxed) > 0
    }

    #[cold]
    fn wait(&self) -> Guard<'_, T> {
        // See `is_wanted`.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let first = self.gate.lock();
        let backoff = Backoff::new();
        let guard = loop {
            if let Some(guard) = self.value.try_lock() {
                break guard;
            }
            // With shuttle others go on only when they are let.
            if backoff.is_completed() || cfg!(shuttle) {
                sleep(PAUSE);
            } else {
                backoff.snooze();
            }
        };
        drop(first);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_thread_at_a_time_has_the_value() {
        let lock = Lock::new((0u64, 0u64));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let mut value = lock.lock();
                        assert_eq!(value.0, value.1);
                        value.0 += 1;
                        value.1 += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), (16_000, 16_000));
        assert!(!lock.is_wanted());
    }

    #[test]
    fn a_holder_hears_of_one_that_waits() {
        let lock = Lock::new(());
        thread::scope(|scope| {
            let held = lock.lock();
            assert!(!lock.is_wanted());
            let other = scope.spawn(|| drop(lock.lock()));
            while !lock.is_wanted() {
                thread::yield_now();
            }
            drop(held);
            other.join().unwrap();
        });
        assert!(!lock.is_wanted());
    }
}
