//! Refuses calls that come too often.

use std::fmt;
use std::time::{Duration, Instant};

use rapace_session::{Code, Status};

use super::Interceptor;
use super::call::CallStart;
use super::per_method::PerMethod;
use super::rate::{Bucket, Rate};

/// Lets calls pass at a [`Rate`]; one that comes too early is refused with [`Code::ResourceExhausted`], and is told when
/// to come again ([`RateLimit::retry_after`]).
///
/// On the callee's side it holds the peer's calls down, on the caller's side one's own. It counts the calls that it has
/// let pass, also those that another interceptor refused behind it.
pub struct RateLimit {
    rate: Rate,
    buckets: Buckets,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    start: Instant,
}

enum Buckets {
    One(Bucket),
    Many(PerMethod<Bucket>),
}

impl RateLimit {
    /// All methods share one rate.
    #[must_use]
    pub fn for_all(rate: Rate) -> Self {
        Self::new(rate, Buckets::One(Bucket::default()))
    }

    /// Each method has the rate for itself.
    #[must_use]
    pub fn per_method(rate: Rate) -> Self {
        Self::new(rate, Buckets::Many(PerMethod::new()))
    }

    fn new(rate: Rate, buckets: Buckets) -> Self {
        Self { rate, buckets, clock: Box::new(Instant::now), start: Instant::now() }
    }

    /// Measures time by another clock than the system's monotonic one: a test's, say. The buckets are full now.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.start = clock();
        self.clock = Box::new(clock);
        self
    }

    /// When a call that was refused like this may come again: its details are the nanoseconds until then, a u64 with its
    /// low byte first.
    #[must_use]
    pub fn retry_after(status: &Status) -> Option<Duration> {
        let nanos = <[u8; 8]>::try_from(&status.details[..]).ok()?;
        (status.code == Code::ResourceExhausted).then(|| Duration::from_nanos(u64::from_le_bytes(nanos)))
    }
}

impl Interceptor for RateLimit {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        let past = (self.clock)().saturating_duration_since(self.start);
        let now = u64::try_from(past.as_nanos()).unwrap_or(u64::MAX);
        let (taken, what) = match &self.buckets {
            Buckets::One(bucket) => (bucket.take(&self.rate, now), "all methods together"),
            Buckets::Many(buckets) => {
                (buckets.with(call.method(), Bucket::default, |bucket| bucket.take(&self.rate, now)), "the method")
            }
        };
        taken.map_err(|wait| {
            let (name, rate) = (call.method().full_name(), self.rate);
            let (calls, per, burst) = (rate.calls(), rate.per(), rate.burst());
            let message = format!(
                "{name} is called too often: {what} may be called {calls} times per {per:?}, {burst} at once; \
                 retry in {wait:?}"
            );
            let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            Status { details: nanos.to_le_bytes().to_vec(), ..Status::new(Code::ResourceExhausted, message) }
        })
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rapace_session::Metadata;

    use super::super::tests::{GET, SET, peer};
    use super::*;
    use crate::method_info::MethodInfo;

    fn call(limit: &RateLimit, method: &'static MethodInfo) -> Result<(), Status> {
        limit.begin(&mut CallStart::callee(method, &peer(), &Metadata::new(), None, 0))
    }

    /// A limit of two calls a second, and its clock's milliseconds.
    fn limit(make: fn(Rate) -> RateLimit) -> (RateLimit, Arc<AtomicU64>) {
        let (start, millis) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let shown = Arc::clone(&millis);
        let clock = move || start + Duration::from_millis(shown.load(Ordering::Relaxed));
        (make(Rate::new(2, Duration::from_secs(1), 1).unwrap()).with_clock(clock), millis)
    }

    #[test]
    fn a_call_that_comes_too_early_is_told_when_to_come_again() {
        let (limit, millis) = limit(RateLimit::for_all);
        assert_eq!(call(&limit, &GET), Ok(()));
        millis.store(400, Ordering::Relaxed);
        let refused = call(&limit, &SET).unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (
                Code::ResourceExhausted,
                "demo.Kv.set is called too often: all methods together may be called 2 times per 1s, 1 at once; \
                 retry in 100ms"
            )
        );
        assert_eq!(RateLimit::retry_after(&refused), Some(Duration::from_millis(100)));
        millis.store(500, Ordering::Relaxed);
        assert_eq!(call(&limit, &SET), Ok(()));
    }

    #[test]
    fn each_method_has_a_bucket_of_its_own() {
        let (limit, _) = limit(RateLimit::per_method);
        assert_eq!((call(&limit, &GET), call(&limit, &SET)), (Ok(()), Ok(())));
        assert!(call(&limit, &GET).unwrap_err().message.contains("the method may be called 2 times per 1s"));
        assert!(call(&limit, &SET).is_err());
    }

    #[test]
    fn another_status_says_nothing_of_a_retry() {
        let mut status = Status::new(Code::ResourceExhausted, "full");
        assert_eq!(RateLimit::retry_after(&status), None);
        status.details = vec![1; 9];
        assert_eq!(RateLimit::retry_after(&status), None);
        let other = Status { details: vec![1; 8], ..Status::new(Code::NotFound, "no") };
        assert_eq!(RateLimit::retry_after(&other), None);
    }
}
