//! How long a waiter looks before it sleeps.
//!
//! A wake-up through the kernel costs as much as hundreds of calls, so a waiter first looks at the ring for about as long
//! as a wake-up would take; looking longer than that cannot pay. The budget is measured at start (see
//! [`Calibration`]), and an adaptive waiter shortens it while looking has not paid.

use std::time::Duration;

/// A sleep of at most so many budgets is short: each budget is a wake-up there and back.
const SHORT_SLEEP: u32 = 4;

/// What a waiter does until something comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Looks without end: the lowest latency, and a core that is always busy.
    Spin,
    /// Sleeps at once: the least CPU time, and a wake-up for each call.
    Park,
    /// Looks for as long as a wake-up takes, less where that has not paid lately, and then sleeps.
    #[default]
    Adaptive,
}

/// What the machine's wake-ups cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The longest that looking pays. Zero on one core, where the peer cannot run while we look.
    pub budget: Duration,
}

/// Looks between two reads of the clock, which costs about as much as they do.
const LOOKS_PER_BATCH: u32 = 32;
/// An adaptive waiter never looks for less than this part of the budget, or it would not notice that looking pays
/// again.
const SHORTEST: u32 = 16;

/// A waiter's memory of whether looking pays.
#[derive(Debug)]
pub struct Spinner {
    strategy: WaitStrategy,
    full: Duration,
    current: Duration,
}

impl Spinner {
    /// A spinner that begins with the whole budget.
    pub fn new(strategy: WaitStrategy, calibration: Calibration) -> Self {
        Self { strategy, full: calibration.budget, current: calibration.budget }
    }

    /// How long to look now; `None` is without end.
    pub fn budget(&self) -> Option<Duration> {
        match self.strategy {
            WaitStrategy::Spin => None,
            WaitStrategy::Park => Some(Duration::ZERO),
            WaitStrategy::Adaptive => Some(self.current),
        }
    }

    /// Looking found something.
    pub fn paid(&mut self) {
        self.current = self.full;
    }

    /// Looking found nothing, and the waiter slept for `slept`.
    ///
    /// A short sleep says that looking would have paid: what was waited for came as soon as two peers can wake each
    /// other. Without that, two that have once gone to sleep would keep each other asleep.
    pub fn slept(&mut self, slept: Duration) {
        let short = slept <= self.full.saturating_mul(SHORT_SLEEP);
        self.current = if short { self.full } else { (self.current / 2).max(self.full / SHORTEST) };
    }

    /// The budget was measured anew.
    pub fn calibrate(&mut self, calibration: Calibration) {
        if self.full != calibration.budget {
            self.full = calibration.budget;
            self.current = calibration.budget;
        }
    }
}

/// Looks a batch of times, with a pause between, and says whether something came.
#[inline]
pub fn look(mut ready: impl FnMut() -> bool) -> bool {
    for _ in 0..LOOKS_PER_BATCH {
        if ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Duration = Duration::from_micros(64);

    #[test]
    fn an_adaptive_waiter_looks_less_while_it_does_not_pay() {
        let mut spinner = Spinner::new(WaitStrategy::Adaptive, Calibration { budget: FULL });
        assert_eq!(spinner.budget(), Some(FULL));
        for expected in [32, 16, 8, 4, 4] {
            spinner.slept(Duration::from_millis(10));
            assert_eq!(spinner.budget(), Some(Duration::from_micros(expected)));
        }
        spinner.slept(FULL * 4);
        assert_eq!(spinner.budget(), Some(FULL));
        spinner.slept(Duration::from_secs(1));
        spinner.paid();
        assert_eq!(spinner.budget(), Some(FULL));
    }

    #[test]
    fn the_other_strategies_do_not_adapt() {
        for (strategy, expected) in [(WaitStrategy::Spin, None), (WaitStrategy::Park, Some(Duration::ZERO))] {
            let mut spinner = Spinner::new(strategy, Calibration { budget: FULL });
            spinner.slept(Duration::from_secs(1));
            spinner.paid();
            assert_eq!(spinner.budget(), expected);
        }
    }
}
