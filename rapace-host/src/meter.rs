//! How often a plugin does something.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rapace_service::intercept::{Bucket, Rate};

/// Lets something happen so many times in a second, and as many times at once after a pause.
#[derive(Debug)]
pub(crate) struct Meter {
    bucket: Bucket,
    start: Instant,
}

impl Default for Meter {
    fn default() -> Self {
        Self { bucket: Bucket::default(), start: Instant::now() }
    }
}

impl Meter {
    /// Whether it may happen once more now.
    pub(crate) fn take(&self, per_second: NonZeroU32) -> bool {
        // What may happen more than once in a nanosecond has no limit.
        let Ok(rate) = Rate::new(per_second.get(), Duration::from_secs(1), per_second.get()) else { return true };
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.bucket.take(&rate, now).is_ok()
    }
}
