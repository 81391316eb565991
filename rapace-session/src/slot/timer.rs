//! Wakes tasks at a time, where there is no session whose threads would: one thread for all of them, which is there only
//! while somebody waits.

use std::collections::BTreeMap;
use std::io;
use std::task::Waker;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// A task that is woken at a time, unless this goes before.
pub(super) struct Timer {
    key: (Instant, u64),
}

struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    /// Whether there is a thread.
    running: bool,
}

static TIMERS: Mutex<Timers> = Mutex::new(Timers { waiting: BTreeMap::new(), next: 0, running: false });
/// Notified when the thread is to look again.
static CHANGED: Condvar = Condvar::new();

impl Timer {
    pub(super) fn start(at: Instant, waker: &Waker) -> io::Result<Self> {
        let mut timers = TIMERS.lock();
        // Models let no time pass.
        if !timers.running && !cfg!(shuttle) {
            thread::Builder::new().name("rapace-timer".to_owned()).spawn(run)?;
            timers.running = true;
        }
        timers.next += 1;
        let key = (at, timers.next);
        let is_next = timers.waiting.first_key_value().is_none_or(|(first, _)| key < *first);
        timers.waiting.insert(key, waker.clone());
        if is_next {
            CHANGED.notify_one();
        }
        Ok(Self { key })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut timers = TIMERS.lock();
        let spent = timers.waiting.remove(&self.key);
        if timers.waiting.is_empty() {
            CHANGED.notify_one();
        }
        drop(timers);
        // It may do anything when it goes.
        drop(spent);
    }
}

fn run() {
    let mut timers = TIMERS.lock();
    loop {
        let Some((&key, _)) = timers.waiting.first_key_value() else {
            timers.running = false;
            return;
        };
        if Instant::now() < key.0 {
            CHANGED.wait_until(&mut timers, key.0);
            continue;
        }
        let due = timers.waiting.remove(&key);
        drop(timers);
        // A waker of somebody's that panics takes nobody else's time with it.
        crate::executor::panic_guard(|| due.map(Waker::wake));
        timers = TIMERS.lock();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    struct Count(AtomicU32, thread::Thread);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.unpark();
        }
    }

    #[test]
    fn a_task_is_woken_at_its_time_and_the_thread_goes_with_the_last() {
        let count = Arc::new(Count(AtomicU32::new(0), thread::current()));
        let waker = Waker::from(Arc::clone(&count));
        let start = Instant::now();
        let long = Timer::start(start + Duration::from_secs(3600), &waker).unwrap();
        let mut short = None;
        for times in 1..=3 {
            let at = Instant::now() + Duration::from_millis(20);
            short = Some(Timer::start(at, &waker).unwrap());
            while count.0.load(Ordering::SeqCst) < times {
                thread::park();
            }
            assert!(Instant::now() >= at);
            // It waits for the long one by then.
            (0..1000).for_each(|_| thread::yield_now());
        }
        drop((long, short));
        // Others of this process may wait.
        while TIMERS.lock().running {
            thread::yield_now();
        }
        assert_eq!((count.0.load(Ordering::SeqCst), Arc::strong_count(&count)), (3, 2));
    }
}
