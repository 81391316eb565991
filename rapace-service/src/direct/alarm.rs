//! Wakes tasks whose time is over. One thread does so for all of them, and only while there are some: a direct call has no
//! session whose clock it could use.

use std::collections::BTreeMap;
use std::io;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rapace_session::panic_guard;

/// How long the thread stays when nothing is due: calls that wait often come one after the other.
const STAYS: Duration = Duration::from_secs(1);

static CLOCK: Clock = Clock {
    state: Mutex::new(State { due: BTreeMap::new(), last: 0, runs: false, sleeps_until: None }),
    sooner: Condvar::new(),
};

struct Clock {
    state: Mutex<State>,
    /// Something is due before the thread wakes up.
    sooner: Condvar,
}

struct State {
    /// By the time and, as several may share one, by a number.
    due: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    /// Whether there is a thread.
    runs: bool,
    /// When it wakes up by itself.
    sleeps_until: Option<Instant>,
}

/// Wakes a task when it is time, unless it is dropped before.
#[derive(Debug)]
pub(super) struct Alarm {
    key: (Instant, u64),
}

impl Alarm {
    /// Sees to it that this task is woken at that time, by an alarm that may be set already.
    ///
    /// # Errors
    ///
    /// When there is no thread to do so.
    pub(super) fn set(alarm: &mut Option<Self>, until: Instant, waker: &Waker) -> io::Result<()> {
        let mut state = CLOCK.state.lock();
        let key = match alarm {
            Some(alarm) => alarm.key,
            None => {
                state.last += 1;
                (until, state.last)
            }
        };
        if !state.runs {
            thread::Builder::new().name("rapace-deadlines".to_owned()).spawn(run)?;
            state.runs = true;
        }
        let is_sooner = state.sleeps_until.is_some_and(|wakes| key.0 < wakes);
        let replaced = match state.due.get(&key) {
            Some(set) if set.will_wake(waker) => None,
            _ => state.due.insert(key, waker.clone()),
        };
        drop(state);
        if is_sooner {
            CLOCK.sooner.notify_one();
        }
        // A waker is somebody's code: not under the lock.
        drop(replaced);
        *alarm = Some(Self { key });
        Ok(())
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // The thread is left to find that out by itself.
        let waker = CLOCK.state.lock().due.remove(&self.key);
        // A waker is somebody's code: not under the lock.
        drop(waker);
    }
}

fn run() {
    let mut state = CLOCK.state.lock();
    loop {
        let now = Instant::now();
        let first = state.due.first_key_value().map(|((until, _), _)| *until);
        if first.is_some_and(|first| first <= now) {
            let due = state.due.pop_first();
            MutexGuard::unlocked(&mut state, || panic_guard(|| due.map(|(_, waker)| waker.wake())));
            continue;
        }
        let until = first.unwrap_or(now + STAYS);
        state.sleeps_until = Some(until);
        let slept = CLOCK.sooner.wait_until(&mut state, until);
        state.sleeps_until = None;
        if slept.timed_out() && first.is_none() && state.due.is_empty() {
            state.runs = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < until, "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn alarms_ring_in_their_order_and_their_thread_ends_behind_them() {
        let (early, late, dropped) = (Arc::<Count>::default(), Arc::<Count>::default(), Arc::<Count>::default());
        let mut alarms = [None, None, None];
        let now = Instant::now();
        for (alarm, (count, after)) in alarms.iter_mut().zip([(&late, 30), (&dropped, 10), (&early, 1)]) {
            Alarm::set(alarm, now + Duration::from_millis(after), &Waker::from(Arc::clone(count))).unwrap();
        }
        alarms[1] = None;
        wait_until("the early one rings", || early.0.load(Ordering::SeqCst) == 1);
        wait_until("the late one rings", || late.0.load(Ordering::SeqCst) == 1);
        assert!(now.elapsed() >= Duration::from_millis(30));
        wait_until("the thread ends", || !CLOCK.state.lock().runs);
        assert!(CLOCK.state.lock().due.is_empty());
        // Another one begins where it is wanted.
        Alarm::set(&mut alarms[1], Instant::now(), &Waker::from(Arc::clone(&early))).unwrap();
        wait_until("it rings again", || early.0.load(Ordering::SeqCst) == 2);
    }
}
