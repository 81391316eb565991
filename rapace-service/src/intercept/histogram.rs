//! Counts times in buckets of a fixed logarithmic scale.
//!
//! A power of two has four buckets, so a bucket's bounds differ by a quarter at most; those below 4 ns are 1 ns wide, and
//! the last takes all that is longer than about half an hour.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets up to 2^41 ns.
const BUCKETS: usize = 160;

/// Counters that many threads may add to.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    pub(crate) fn add(&self, time: Duration) {
        self.counts[bucket(time)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Latency {
        Latency { counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)) }
    }
}

/// How long calls took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; BUCKETS],
}

impl Latency {
    /// Calls that were timed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// A time within which as many calls of a thousand ended (500: the median), at most a quarter too long; `None` without
    /// calls.
    #[must_use]
    pub fn quantile(&self, per_mille: u16) -> Option<Duration> {
        let rank = (u128::from(self.count()) * u128::from(per_mille.min(1000))).div_ceil(1000).max(1);
        let mut below = 0;
        self.buckets().find_map(|(bound, count)| {
            below += u128::from(count);
            (below >= rank).then_some(bound)
        })
    }

    /// The buckets that are not empty, in order: the time below which they end, and the calls in each.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounded = self.counts.iter().enumerate().map(|(index, count)| (bound(index), *count));
        bounded.filter(|(_, count)| *count > 0)
    }
}

/// The bucket of a time.
fn bucket(time: Duration) -> usize {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // Below 4 the two highest bits behind the first are not all there, and the number itself is the bucket.
    let octave = nanos.checked_ilog2().unwrap_or(0).max(1);
    let quarter = if nanos < 4 { nanos } else { (nanos >> (octave - 2)) & 3 };
    let base = if nanos < 4 { 0 } else { (octave - 1) * 4 };
    usize::try_from(u64::from(base) + quarter).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The time below which a bucket ends.
fn bound(index: usize) -> Duration {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    if index < 4 {
        return Duration::from_nanos(index + 1);
    }
    Duration::from_nanos((5 + index % 4) << (index / 4 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_lies_below_the_bound_of_its_bucket_and_not_below_the_one_before() {
        let edges = (0..41).flat_map(|octave| [-1, 0, 1].map(|by| (1u64 << octave).saturating_add_signed(by)));
        for nanos in (0..5000).chain(edges) {
            let time = Duration::from_nanos(nanos);
            let index = bucket(time);
            assert!(time < bound(index), "{nanos} in {index}");
            assert!(index == 0 || time >= bound(index - 1), "{nanos} in {index}");
        }
        assert_eq!(bound(BUCKETS - 1), Duration::from_nanos(1 << 41));
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_reaches_it() {
        let histogram = Histogram::new();
        assert_eq!(histogram.snapshot().quantile(500), None);
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let latency = histogram.snapshot();
        assert_eq!(latency.count(), 1000);
        for (per_mille, exact) in [(0, 1), (500, 500), (990, 990), (1000, 1000), (u16::MAX, 1000)] {
            let exact = Duration::from_micros(exact);
            let shown = latency.quantile(per_mille).unwrap();
            assert!(shown > exact && shown <= exact * 5 / 4, "{per_mille}: {shown:?} for {exact:?}");
        }
    }
}
