//! Decides by chance which calls are timed.

use std::time::{Duration, Instant};

/// While calls come fast, one of so many is timed.
const ONE_IN: u64 = 64;
/// Calls that come further apart are all timed.
const APART: Duration = Duration::from_micros(200);

/// What has been decided so far. Each call is chosen or not whatever becomes of it, with a chance that depends on those before it
/// alone; counted as often as its chance says, the chosen ones stand for all without bias.
#[derive(Debug)]
pub(crate) struct Chance {
    random: u64,
    one_in: u64,
    last: Option<Instant>,
}

/// The beginning of a call that is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    pub(crate) at: Instant,
    /// How many calls it stands for.
    pub(crate) calls: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: seed, one_in: 1, last: None }
    }

    /// Whether the call that begins is timed: [`begin`](Self::begin) is due then.
    #[inline]
    pub(crate) fn is_chosen(&mut self) -> bool {
        // Knuth's MMIX generator, of which the highest bits are the best.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 32) & (self.one_in - 1) == 0
    }

    /// It begins now.
    pub(crate) fn begin(&mut self, now: Instant) -> Begin {
        let begin = Begin { at: now, calls: self.one_in };
        let since = self.last.replace(now).map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        // As many calls have come since then, on average.
        let calls = u32::try_from(self.one_in).unwrap_or(u32::MAX);
        self.one_in = if since > APART.saturating_mul(calls) { 1 } else { ONE_IN };
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call begins; how many it stands for, if it is timed.
    fn begin(chance: &mut Chance, now: Instant) -> Option<u64> {
        chance.is_chosen().then(|| chance.begin(now).calls)
    }

    /// Calls so far apart: how many are timed, and how many they stand for, of those at even places and of the others.
    fn of_calls(count: u64, apart: Duration) -> [(u64, u64); 2] {
        let mut chance = Chance::new(7);
        let mut found = [(0, 0); 2];
        let start = Instant::now();
        for (number, place) in (0..count).zip([0, 1].into_iter().cycle()) {
            let now = start + apart.saturating_mul(u32::try_from(number).unwrap());
            if let Some(calls) = begin(&mut chance, now) {
                found[place].0 += 1;
                found[place].1 += calls;
            }
        }
        found
    }

    #[test]
    fn of_calls_that_come_fast_one_of_sixty_four_is_timed_whatever_their_pattern() {
        for (timed, stands_for) in of_calls(1_000_000, Duration::from_nanos(300)) {
            assert!((7_400..8_200).contains(&timed), "{timed}");
            assert!((475_000..525_000).contains(&stands_for), "{stands_for}");
        }
    }

    #[test]
    fn calls_that_come_slowly_are_all_timed_and_stand_for_themselves() {
        assert_eq!(of_calls(1000, Duration::from_millis(1)), [(500, 500); 2]);
    }

    #[test]
    fn the_choice_follows_the_pace_of_calls() {
        let mut chance = Chance::new(3);
        let start = Instant::now();
        let mut now = start;
        let mut timed = |apart: Duration, count: u32| {
            let mut timed = 0;
            for _ in 0..count {
                now += apart;
                timed += u32::from(begin(&mut chance, now).is_some());
            }
            timed
        };
        assert!(timed(Duration::from_micros(1), 16_000) < 500);
        assert!(timed(Duration::from_millis(1), 1000) > 500);
        assert_eq!(timed(Duration::from_millis(1), 1000), 1000);
        assert!(timed(Duration::from_micros(1), 16_000) < 500);
    }
}
