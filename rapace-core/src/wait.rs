//! How long a waiter looks before it sleeps.
//!
//! A wake-up through the kernel costs as much as hundreds of calls, so a waiter first looks at the ring for about as long
//! as a wake-up would take; looking longer than that cannot pay. The budget is measured at start (see
//! [`Calibration`]), and an adaptive waiter shortens it while looking has not paid.

use std::time::{Duration, Instant};

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
/// At most `2^IN_VAIN_MAX - 1` waits go without a look.
const IN_VAIN_MAX: u32 = 6;
/// Two peers on one core never look at the same time, and the scheduler, which sees one of them at a time, leaves them
/// there although another core is free. A look beyond its tick shows it both.
const LONG_LOOK: Duration = Duration::from_millis(5);
/// A long look takes at most one part in so many.
const LONG_LOOK_SHARE: u32 = 100;

/// A waiter's memory of whether looking pays.
#[derive(Debug)]
pub struct Spinner {
    strategy: WaitStrategy,
    full: Duration,
    current: Duration,
    /// How often looking was in vain though what was waited for came soon behind it, less how often it has paid.
    in_vain: u32,
    /// Waits that sleep at once.
    skips: u32,
    /// No long look before this.
    next_long: Option<Instant>,
    /// Since when somebody else goes on to wait.
    left_at: Option<Instant>,
}

impl Spinner {
    /// A spinner that begins with the whole budget.
    pub fn new(strategy: WaitStrategy, calibration: Calibration) -> Self {
        Self {
            strategy,
            full: calibration.budget,
            current: calibration.budget,
            in_vain: 0,
            skips: 0,
            next_long: None,
            left_at: None,
        }
    }

    /// How long to look now; `None` is without end.
    pub fn budget(&self) -> Option<Duration> {
        match self.strategy {
            WaitStrategy::Spin => None,
            WaitStrategy::Park => Some(Duration::ZERO),
            WaitStrategy::Adaptive if self.skips > 0 => Some(Duration::ZERO),
            WaitStrategy::Adaptive => Some(self.current),
        }
    }

    /// How long a task may look, which keeps its thread from others meanwhile.
    pub fn budget_of_task(&self) -> Duration {
        self.budget().unwrap_or_default().min(self.full)
    }

    /// Looking found something.
    pub fn paid(&mut self) {
        if self.skips == 0 {
            self.current = self.full;
            self.in_vain = self.in_vain.saturating_sub(1);
        }
    }

    /// Looking found nothing, and the waiter slept for `slept`.
    ///
    /// A short sleep behind a look that was cut short says that looking would have paid: what was waited for came as soon
    /// as two peers can wake each other. Without that, two that have once gone to sleep would keep each other asleep.
    ///
    /// A short sleep behind a whole look says that looking does not pay: the work takes longer, or the peer gets its core
    /// only when this waiter leaves it. The next waits sleep at once, ever more of them, and then one looks again.
    pub fn slept(&mut self, slept: Duration) {
        if self.skips > 0 {
            self.skips -= 1;
            return;
        }
        if slept > self.full.saturating_mul(SHORT_SLEEP) {
            // A long look is not one to be halved: it would be followed by looks as long as itself.
            self.current = (self.current.min(self.full) / 2).max(self.full / SHORTEST);
        } else if self.current < self.full {
            self.current = self.full;
        } else {
            self.current = self.full;
            self.skips = (1 << self.in_vain) - 1;
            if self.in_vain < IN_VAIN_MAX {
                self.in_vain += 1;
            } else {
                self.plan_long_look();
            }
        }
    }

    fn plan_long_look(&mut self) {
        let now = Instant::now();
        if self.next_long.is_none_or(|next| next <= now) {
            self.next_long = Some(now + LONG_LOOK * LONG_LOOK_SHARE);
            self.current = self.current.max(LONG_LOOK);
        }
    }

    /// Looking found nothing, or there was none, and somebody who does not use this spinner waits on.
    pub fn left(&mut self) {
        self.left_at = Some(Instant::now());
    }

    /// What somebody was left to wait for has come.
    pub fn came(&mut self) {
        if let Some(left_at) = self.left_at.take() {
            self.slept(left_at.elapsed());
        }
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
        let mut spinner = adaptive();
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

    fn adaptive() -> Spinner {
        Spinner::new(WaitStrategy::Adaptive, Calibration { budget: FULL })
    }

    #[test]
    fn looks_that_end_just_before_what_they_wait_for_become_rare() {
        let mut spinner = adaptive();
        let mut looks = Vec::new();
        for wait in 0..1000 {
            if spinner.budget() != Some(Duration::ZERO) {
                looks.push(wait);
            }
            spinner.slept(FULL / 16);
        }
        assert_eq!(looks[..6], [0, 1, 3, 7, 15, 31]);
        assert!(looks.len() <= 6 + 1000 / 64, "{} looks", looks.len());
        while spinner.budget() == Some(Duration::ZERO) {
            // What comes at once says nothing of looks.
            spinner.paid();
            spinner.slept(FULL / 16);
        }
        for _ in 0..10 {
            spinner.paid();
            assert_eq!(spinner.budget(), Some(FULL));
        }
    }

    #[test]
    fn a_look_in_vain_among_many_that_pay_changes_nothing() {
        let mut spinner = adaptive();
        for _ in 0..100 {
            spinner.slept(FULL / 16);
            assert_eq!(spinner.budget(), Some(FULL));
            spinner.paid();
        }
    }

    #[test]
    fn who_never_finds_its_peer_at_work_looks_long_now_and_then() {
        let mut spinner = adaptive();
        let mut long = 0;
        for _ in 0..1000 {
            if spinner.budget() >= Some(LONG_LOOK) {
                long += 1;
                assert_eq!(spinner.budget_of_task(), FULL);
            }
            spinner.slept(FULL / 16);
        }
        assert!((1..=5).contains(&long), "{long} long looks");
    }

    #[test]
    fn a_long_look_in_vain_is_followed_by_short_ones() {
        let mut spinner = adaptive();
        while spinner.budget() < Some(LONG_LOOK) {
            spinner.slept(FULL / 16);
        }
        for expected in [32, 16, 8] {
            spinner.slept(Duration::from_secs(1));
            assert_eq!(spinner.budget(), Some(Duration::from_micros(expected)));
        }
    }

    #[test]
    fn a_wait_that_was_left_to_somebody_else_counts_when_it_is_over() {
        let mut spinner = adaptive();
        spinner.came();
        assert_eq!(spinner.in_vain, 0);
        spinner.left();
        spinner.came();
        spinner.came();
        let short = spinner.in_vain == 1;
        assert!(short || spinner.budget() < Some(FULL), "one wait, short or long");
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
