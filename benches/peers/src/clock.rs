//! The time stamps of calls: the processor's counter where it has one, for a system's clock takes a tenth of a short call.

use std::time::{Duration, Instant};

/// Reads time stamps, and knows how long one is.
#[derive(Clone, Debug)]
pub struct Clock {
    counter: quanta::Clock,
    nanoseconds_per_tick: f64,
    /// The step of the counter: virtual machines have some of 10 ns.
    pub grain: u32,
}

impl Clock {
    /// Measures the counter against the system's clock.
    pub fn new() -> Self {
        let counter = quanta::Clock::new();
        let (start, begun) = (Instant::now(), counter.raw());
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let ticks = counter.raw().saturating_sub(begun).max(1);
        let nanoseconds_per_tick = start.elapsed().as_secs_f64() * 1e9 / ticks as f64;
        let grain = grain(&counter);
        Self { counter, nanoseconds_per_tick, grain }
    }

    /// A clock whose ticks are so long, and come so many at a time.
    #[cfg(test)]
    pub fn of(nanoseconds_per_tick: f64, grain: u32) -> Self {
        Self { counter: quanta::Clock::new(), nanoseconds_per_tick, grain }
    }

    /// The counter.
    #[inline]
    pub fn now(&self) -> u64 {
        self.counter.raw()
    }

    /// So many ticks in nanoseconds.
    pub fn nanoseconds(&self, ticks: f64) -> f64 {
        ticks * self.nanoseconds_per_tick
    }

    /// So much time in ticks.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn ticks_of(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * 1e9 / self.nanoseconds_per_tick) as u64
    }
}

/// The median of the steps that the counter is seen to make.
fn grain(counter: &quanta::Clock) -> u32 {
    let mut last = counter.raw();
    let mut steps = Vec::with_capacity(10_000);
    while steps.len() < 10_000 {
        let now = counter.raw();
        if now > last {
            steps.push(u32::try_from(now - last).unwrap_or(u32::MAX));
        }
        last = now;
    }
    steps.sort_unstable();
    steps[steps.len() / 2]
}
