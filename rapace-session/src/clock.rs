//! The time that deadlines are judged by. A simulation sets it.

use std::time::Instant;

#[cfg(test)]
std::thread_local!(static SIMULATED: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) });

/// What the clock says.
#[inline]
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = SIMULATED.get() {
        return now;
    }
    Instant::now()
}

/// From now on this thread's clock says so.
#[cfg(test)]
pub(crate) fn simulate(now: Instant) {
    SIMULATED.set(Some(now));
}
