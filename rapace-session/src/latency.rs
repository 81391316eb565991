//! Counts times in buckets of a fixed logarithmic scale.
//!
//! A power of two has four buckets, so a bucket's bounds differ by a quarter at most; those below 4 ns are 1 ns wide, and
//! the last takes all that is longer than about half an hour.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long calls took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    counts: Box<[u64; Self::BUCKETS]>,
    nanos: u64,
}

impl Latency {
    /// Buckets up to 2^41 ns.
    pub const BUCKETS: usize = 160;

    /// Of no calls.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: Box::new([0; Self::BUCKETS]), nanos: 0 }
    }

    /// Of what was counted elsewhere, by [bucket](Self::bucket), and of the sum of their times in nanoseconds.
    #[must_use]
    pub fn from_counts(counts: [u64; Self::BUCKETS], nanos: u64) -> Self {
        Self { counts: Box::new(counts), nanos }
    }

    /// Adds a time that stands for so many calls.
    pub fn add(&mut self, time: Duration, calls: u64) {
        let count = &mut self.counts[Self::bucket(time)];
        *count = count.saturating_add(calls);
        self.nanos = self.nanos.saturating_add(nanos(time).saturating_mul(calls));
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count = count.saturating_add(*more);
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// The calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The sum of their times.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos)
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

    /// The same for people: about three digits with their unit, and `-` without calls.
    #[must_use]
    pub fn quantile_in_words(&self, per_mille: u16) -> String {
        let Some(time) = self.quantile(per_mille) else { return "-".to_owned() };
        match time.as_nanos() {
            nanos @ 0..10_000 => format!("{nanos} ns"),
            nanos @ 10_000..10_000_000 => format!("{} us", nanos / 1000),
            nanos @ 10_000_000..10_000_000_000 => format!("{} ms", nanos / 1_000_000),
            nanos => format!("{} s", nanos / 1_000_000_000),
        }
    }

    /// The buckets that are not empty, in order: the time below which they end, and the calls in each.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounded = self.counts.iter().enumerate().map(|(index, count)| (bound(index), *count));
        bounded.filter(|(_, count)| *count > 0)
    }

    /// The bucket of a time, from 0.
    #[must_use]
    pub fn bucket(time: Duration) -> usize {
        let nanos = nanos(time);
        // Below 4 the two highest bits behind the first are not all there, and the number itself is the bucket.
        let octave = nanos.checked_ilog2().unwrap_or(0).max(1);
        let quarter = if nanos < 4 { nanos } else { (nanos >> (octave - 2)) & 3 };
        let base = if nanos < 4 { 0 } else { (octave - 1) * 4 };
        usize::try_from(u64::from(base) + quarter).unwrap_or(usize::MAX).min(Self::BUCKETS - 1)
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// As the sum in nanoseconds and the buckets that are not empty, each with its number.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buckets: Vec<_> = (0u8..).zip(self.counts.iter()).filter(|(_, count)| **count > 0).collect();
        (self.nanos, buckets).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (nanos, buckets) = <(u64, Vec<(u8, u64)>)>::deserialize(deserializer)?;
        let mut latency = Self { nanos, ..Self::new() };
        for (index, more) in buckets {
            let count = latency.counts.get_mut(usize::from(index));
            let count =
                count.ok_or_else(|| serde::de::Error::custom(format!("bucket {index} of {}", Self::BUCKETS)))?;
            *count = count.saturating_add(more);
        }
        Ok(latency)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
            let index = Latency::bucket(time);
            assert!(time < bound(index), "{nanos} in {index}");
            assert!(index == 0 || time >= bound(index - 1), "{nanos} in {index}");
        }
        assert_eq!(bound(Latency::BUCKETS - 1), Duration::from_nanos(1 << 41));
        assert_eq!(Latency::bucket(Duration::MAX), Latency::BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_reaches_it() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantile(500), None);
        for micros in 1..=1000 {
            latency.add(Duration::from_micros(micros), 1);
        }
        assert_eq!((latency.count(), latency.total()), (1000, Duration::from_micros(500_500)));
        for (per_mille, exact) in [(0, 1), (500, 500), (990, 990), (1000, 1000), (u16::MAX, 1000)] {
            let exact = Duration::from_micros(exact);
            let shown = latency.quantile(per_mille).unwrap();
            assert!(shown > exact && shown <= exact * 5 / 4, "{per_mille}: {shown:?} for {exact:?}");
        }
    }

    #[test]
    fn a_quantile_in_words_has_about_three_digits() {
        assert_eq!(Latency::new().quantile_in_words(500), "-");
        for (nanos, words) in [(3, "4 ns"), (900_000, "917 us"), (900_000_000, "939 ms"), (20_000_000_000, "21 s")] {
            let mut latency = Latency::new();
            latency.add(Duration::from_nanos(nanos), 1);
            assert_eq!(latency.quantile_in_words(500), words);
        }
    }

    #[test]
    fn what_is_merged_or_read_back_is_what_was_counted() {
        let (mut one, mut other) = (Latency::new(), Latency::new());
        one.add(Duration::from_micros(3), 16);
        other.add(Duration::from_millis(3), 2);
        other.add(Duration::MAX, u64::MAX);
        one.merge(&other);
        assert_eq!((one.count(), one.total()), (u64::MAX, Duration::from_nanos(u64::MAX)));
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Latency>(&json).unwrap(), one);
        assert!(serde_json::from_str::<Latency>("[1,[[160,1]]]").is_err());
    }
}
