//! How many calls in how much time, and the bucket that counts them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

/// Longest time in which an empty bucket may fill, in nanoseconds: 146 years, so that sums of two fit.
const FILL_NANOS_MAX: u64 = 1 << 62;

/// A rate of calls, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    calls: u32,
    per: Duration,
    burst: u32,
    /// Until a bucket has one more call.
    interval_nanos: u64,
    /// Until an empty bucket is full.
    fill_nanos: u64,
}

/// Numbers that are no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RateError {
    /// One of them is zero.
    #[error("a rate of {calls} calls in bursts of {burst}, but both must be at least 1")]
    Zero {
        /// The calls.
        calls: u32,
        /// The calls at once.
        burst: u32,
    },
    /// The time between two calls cannot be measured.
    #[error("{calls} calls per {per:?}, but they must be at least 1 ns apart, and the burst must be within 146 years")]
    Interval {
        /// The calls.
        calls: u32,
        /// In which time.
        per: Duration,
    },
}

impl Rate {
    /// As many calls in as much time, evenly spread, and up to `burst` at once after a pause.
    ///
    /// # Errors
    ///
    /// When `calls` or `burst` is 0, or the calls would be less than a nanosecond apart, or years.
    pub fn new(calls: u32, per: Duration, burst: u32) -> Result<Self, RateError> {
        if calls == 0 || burst == 0 {
            return Err(RateError::Zero { calls, burst });
        }
        let interval = per.as_nanos() / u128::from(calls);
        let fill = interval.saturating_mul(u128::from(burst));
        match (u64::try_from(interval), u64::try_from(fill)) {
            (Ok(interval_nanos @ 1..), Ok(fill_nanos @ ..=FILL_NANOS_MAX)) => {
                Ok(Self { calls, per, burst, interval_nanos, fill_nanos })
            }
            _ => Err(RateError::Interval { calls, per }),
        }
    }

    /// The calls.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// In which time they may come.
    #[must_use]
    pub fn per(&self) -> Duration {
        self.per
    }

    /// How many may come at once.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }
}

/// A token bucket as one number: when it will be full again, in nanoseconds of the limit's clock.
///
/// Each call puts that off by one interval, and may not put it off beyond the time that an empty bucket takes to fill
/// (the generic cell rate algorithm of ATM, ITU-T I.371).
#[derive(Debug, Default)]
pub struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes a call out of the bucket at this time of a clock that starts anywhere, in nanoseconds.
    ///
    /// # Errors
    ///
    /// How long it takes until there is one.
    pub fn take(&self, rate: &Rate, now: u64) -> Result<(), Duration> {
        let next = |full_at: u64| full_at.max(now).saturating_add(rate.interval_nanos);
        // The number stands for itself: nothing else is published with it.
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = next(full_at);
                (next - now <= rate.fill_nanos).then_some(next)
            })
            .map(|_| ())
            .map_err(|full_at| Duration::from_nanos(next(full_at) - now - rate.fill_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn numbers_that_are_no_rate_are_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(Rate::new(0, second, 1), Err(RateError::Zero { calls: 0, burst: 1 }));
        assert_eq!(Rate::new(1, second, 0), Err(RateError::Zero { calls: 1, burst: 0 }));
        for per in [Duration::ZERO, Duration::from_nanos(2), Duration::MAX] {
            assert_eq!(Rate::new(3, per, 1), Err(RateError::Interval { calls: 3, per }));
        }
        assert!(Rate::new(1, Duration::from_secs(3600 * 24 * 365), u32::MAX).is_err());
        assert!(Rate::new(1_000_000_000, second, u32::MAX).is_ok());
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_call_each_interval() {
        let rate = Rate::new(10, Duration::from_secs(1), 3).unwrap();
        let bucket = Bucket::default();
        for start in [0, 50 * SECOND] {
            for _ in 0..3 {
                assert_eq!(bucket.take(&rate, start), Ok(()));
            }
            assert_eq!(bucket.take(&rate, start), Err(Duration::from_millis(100)));
            assert_eq!(bucket.take(&rate, start + SECOND / 10 - 1), Err(Duration::from_nanos(1)));
            assert_eq!(bucket.take(&rate, start + SECOND / 10), Ok(()));
            assert_eq!(bucket.take(&rate, start + SECOND / 10), Err(Duration::from_millis(100)));
        }
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let rate = Rate::new(1, Duration::from_secs(1), 1000).unwrap();
        let bucket = Bucket::default();
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..600).filter(|_| bucket.take(&rate, 0).is_ok()).count();
            let threads = [scope.spawn(take), scope.spawn(take)];
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
