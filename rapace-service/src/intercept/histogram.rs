//! Counts the times of calls that many threads make.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rapace_session::Latency;

/// Counters that many threads may add to.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; Latency::BUCKETS],
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; Latency::BUCKETS], nanos: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, time: Duration) {
        self.counts[Latency::bucket(time)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Latency {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Latency::from_counts(counts, self.nanos.load(Ordering::Relaxed))
    }
}
