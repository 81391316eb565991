//! How much later than it was to whoever only sleeps wakes: what a busy machine, and tasks that share their threads, cost
//! any call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::stop::Stop;

const NAP: Duration = Duration::from_millis(20);

/// The most that was seen, in microseconds. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness(Arc<AtomicU64>);

impl Lateness {
    pub(crate) fn most(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }

    /// Sleeps on this thread until it is time to stop.
    pub(crate) fn of_threads(&self, stop: &Stop) {
        while !stop.is_set() {
            let begun = Instant::now();
            thread::sleep(NAP);
            self.note(begun.elapsed());
        }
    }

    /// Sleeps in a task until it is time to stop.
    pub(crate) async fn of_tasks(&self, stop: &Stop) {
        while !stop.is_set() {
            let begun = Instant::now();
            tokio::time::sleep(NAP).await;
            self.note(begun.elapsed());
        }
    }

    fn note(&self, slept: Duration) {
        let late = slept.saturating_sub(NAP).as_micros();
        self.0.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_kept() {
        let lateness = Lateness::default();
        for (slept, most) in [(20, 0), (27, 7), (25, 7), (10, 7), (30, 10)] {
            lateness.note(Duration::from_millis(slept));
            assert_eq!(lateness.most(), Duration::from_millis(most));
        }
    }
}
