//! The times at which somebody who waits without a thread of its own is to be woken.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// One entry of [`Timers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Instant, u64);

/// Who is to be woken when.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    entries: BTreeMap<TimerKey, Waker>,
    serial: u64,
}

impl Timers {
    /// Adds one; it goes when it is due, or is removed.
    pub(crate) fn add(&mut self, at: Instant, waker: &Waker) -> TimerKey {
        self.serial += 1;
        let key = TimerKey(at, self.serial);
        self.entries.insert(key, waker.clone());
        key
    }

    /// Somebody else is to be woken.
    pub(crate) fn renew(&mut self, key: TimerKey, waker: &Waker) {
        if let Some(old) = self.entries.get_mut(&key) {
            old.clone_from(waker);
        }
    }

    /// Takes one out that may have gone.
    pub(crate) fn remove(&mut self, key: TimerKey) {
        self.entries.remove(&key);
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes out those that are due.
    pub(crate) fn expire(&mut self, now: Instant, wakes: &mut Vec<Waker>) {
        while let Some(entry) = self.entries.first_entry()
            && entry.key().0 <= now
        {
            wakes.push(entry.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_that_are_due_go_and_the_next_is_known() {
        let (mut timers, mut wakes) = (Timers::default(), Vec::new());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let keys = [3, 1, 2, 1].map(|seconds| timers.add(at(seconds), Waker::noop()));
        assert_eq!(timers.next(), Some(at(1)));
        timers.expire(start, &mut wakes);
        assert_eq!(wakes.len(), 0);
        timers.remove(keys[2]);
        timers.expire(at(2), &mut wakes);
        assert_eq!((wakes.len(), timers.next()), (2, Some(at(3))));
        timers.remove(keys[1]);
        timers.expire(at(9), &mut wakes);
        assert_eq!((wakes.len(), timers.next()), (3, None));
    }
}
