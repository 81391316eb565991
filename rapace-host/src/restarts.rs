//! Whether and when a plugin is started again: a pure function of its policy, its past, the time and chance.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::policy::{Backoff, RestartPolicy, Supervision};

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing.
    Rest,
    /// A start when so long has passed.
    StartIn(Duration),
    /// No more starts.
    Quarantine,
}

/// The restarts of a plugin, as far back as they matter.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// When restarts were decided upon, within the window.
    recent: VecDeque<Instant>,
    /// How many there were without the plugin running well between them.
    in_a_row: u32,
}

impl Restarts {
    /// The plugin has ended at `now`, having run for `uptime`; `chance` is from 0 up to 1.
    pub(crate) fn ended(
        &mut self,
        supervision: &Supervision,
        crashed: bool,
        uptime: Duration,
        now: Instant,
        chance: f64,
    ) -> Verdict {
        let wanted = match supervision.restart {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => crashed,
            RestartPolicy::Always => true,
        };
        if !wanted {
            return Verdict::Rest;
        }
        let limit = supervision.limit;
        self.recent.retain(|at| now.saturating_duration_since(*at) < limit.window);
        if self.recent.len() >= usize::try_from(limit.restarts).unwrap_or(usize::MAX) {
            return Verdict::Quarantine;
        }
        // Who has run for as long as the longest pause is as good as new.
        if uptime >= supervision.backoff.most {
            self.in_a_row = 0;
        }
        let pause = pause(&supervision.backoff, self.in_a_row, chance);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.recent.push_back(now);
        Verdict::StartIn(pause)
    }

    /// Somebody starts it by hand: what was is forgotten.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The pause before a restart that so many others preceded.
fn pause(backoff: &Backoff, before: u32, chance: f64) -> Duration {
    if backoff.first.is_zero() {
        return Duration::ZERO;
    }
    let exponent = i32::try_from(before).unwrap_or(i32::MAX);
    let grown = backoff.first.as_secs_f64() * backoff.factor.max(1.0).powi(exponent);
    let bound = backoff.most.as_secs_f64();
    let jitter = backoff.jitter.clamp(0.0, 1.0) * chance;
    // What is not a number, or too long, is the bound.
    let pause = if grown < bound { grown } else { bound } * (1.0 - jitter);
    Duration::try_from_secs_f64(pause).unwrap_or(backoff.most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::RestartLimit;

    const SECOND: Duration = Duration::from_secs(1);

    fn supervision(restart: RestartPolicy) -> Supervision {
        let backoff = Backoff { first: SECOND, most: 30 * SECOND, factor: 2.0, jitter: 0.5 };
        let limit = RestartLimit { restarts: 3, window: 100 * SECOND };
        Supervision { restart, backoff, limit, ..Supervision::default() }
    }

    #[test]
    fn the_policy_decides_who_is_started_again() {
        let now = Instant::now();
        for (policy, of_crashed, of_ended) in [
            (RestartPolicy::Never, false, false),
            (RestartPolicy::OnFailure, true, false),
            (RestartPolicy::Always, true, true),
        ] {
            for (crashed, expected) in [(true, of_crashed), (false, of_ended)] {
                let verdict = Restarts::default().ended(&supervision(policy), crashed, SECOND, now, 0.0);
                let wanted = if expected { Verdict::StartIn(SECOND) } else { Verdict::Rest };
                assert_eq!(verdict, wanted, "{policy:?}, crashed: {crashed}");
            }
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_chance_makes_them_shorter() {
        let backoff = supervision(RestartPolicy::Always).backoff;
        let seconds = |before, chance| pause(&backoff, before, chance).as_secs_f64();
        assert_eq!([0, 1, 2, 4, 5, 1000].map(|before| seconds(before, 0.0)), [1.0, 2.0, 4.0, 16.0, 30.0, 30.0]);
        assert_eq!([0, 5].map(|before| seconds(before, 0.5)), [0.75, 22.5]);
        assert_eq!(pause(&backoff, u32::MAX, 0.0), backoff.most);
        assert_eq!(pause(&Backoff { first: Duration::ZERO, ..backoff }, u32::MAX, 0.0), Duration::ZERO);
        for strange in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let backoff = Backoff { factor: strange, ..backoff };
            assert!(pause(&backoff, 7, 0.0) <= backoff.most);
        }
    }

    #[test]
    fn too_many_restarts_within_the_window_end_in_quarantine() {
        let supervision = supervision(RestartPolicy::OnFailure);
        let mut restarts = Restarts::default();
        let start = Instant::now();
        let mut ended = |seconds: u32| restarts.ended(&supervision, true, SECOND, start + seconds * SECOND, 0.0);
        assert_eq!([0, 1, 2].map(&mut ended), [1, 2, 4].map(|pause| Verdict::StartIn(pause * SECOND)));
        assert_eq!(ended(99), Verdict::Quarantine);
        assert_eq!(ended(100), Verdict::StartIn(8 * SECOND));
    }

    #[test]
    fn one_that_ran_well_or_was_started_by_hand_begins_anew() {
        let supervision = supervision(RestartPolicy::OnFailure);
        let mut restarts = Restarts::default();
        let start = Instant::now();
        assert_eq!(restarts.ended(&supervision, true, SECOND, start, 0.0), Verdict::StartIn(SECOND));
        assert_eq!(restarts.ended(&supervision, true, 30 * SECOND, start, 0.0), Verdict::StartIn(SECOND));
        assert_eq!(restarts.ended(&supervision, true, SECOND, start, 0.0), Verdict::StartIn(2 * SECOND));
        assert_eq!(restarts.ended(&supervision, true, SECOND, start, 0.0), Verdict::Quarantine);
        restarts.forget();
        assert_eq!(restarts.ended(&supervision, true, SECOND, start, 0.0), Verdict::StartIn(SECOND));
    }
}
