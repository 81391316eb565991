//! Bounds the time that goes into a peer that only makes noise.
//!
//! A peer may ping, cancel what has ended and ring at each sleep as often as it likes: no rule tells too much of it from
//! enough. So whoever attends to a session takes a rest when it has been woken for nothing too often, and hears of the
//! peer's next frame that much later. Whoever waits for a reply looks for itself meanwhile.

use std::time::{Duration, Instant};

/// Rounds for nothing that are borne with in a window.
const ROUNDS: u32 = 16;
/// The window, at whose end a rest ends: the most that a rest adds to the time of a call.
const WINDOW: Duration = Duration::from_millis(10);

/// What one attendant knows of its peer's noise.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The beginning of the window.
    since: Instant,
    rounds: u32,
    rests_until: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, rounds: 0, rests_until: None }
    }

    /// A round has brought nothing that anybody had use for.
    pub(crate) fn in_vain(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= WINDOW {
            (self.since, self.rounds) = (now, 0);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS {
            self.rests_until = Some(self.since + WINDOW);
        }
    }

    /// Until when the rest lasts, if there is one. The clock is read only then.
    pub(crate) fn rests_until(&mut self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.rests_until = self.rests_until.filter(|until| now() < *until);
        self.rests_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_noise_in_a_window_is_followed_by_a_rest() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..ROUNDS {
            pace.in_vain(start + WINDOW / 2);
            assert_eq!(pace.rests_until(|| start), None);
        }
        pace.in_vain(start + WINDOW / 2);
        assert_eq!(pace.rests_until(|| start + WINDOW / 2), Some(start + WINDOW));
        assert_eq!(pace.rests_until(|| start + WINDOW), None);
        pace.in_vain(start + WINDOW);
        assert_eq!(pace.rests_until(|| start + WINDOW), None, "the next window has begun");
    }

    #[test]
    fn noise_now_and_then_is_borne_with_for_ever() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for round in 0..10 * ROUNDS {
            let now = start + WINDOW / ROUNDS * round;
            pace.in_vain(now);
            assert_eq!(pace.rests_until(|| now), None, "{round}");
        }
    }
}
