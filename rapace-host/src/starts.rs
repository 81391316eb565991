//! Who may start at the same time: as many plugins as keep the machine busy. One that takes long waits more than it works, and
//! keeps nobody from starting.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A start that has taken so long is not counted any more.
const SHARE: Duration = Duration::from_millis(250);
/// Starts for each processor.
const PER_PROCESSOR: usize = 4;

/// The starts of a host.
pub(crate) struct Starts {
    places: usize,
    turns: Mutex<Turns>,
    over: Condvar,
}

#[derive(Default)]
struct Turns {
    /// By number, when each began that is still counted.
    begun: Vec<(u64, Instant)>,
    next: u64,
}

/// Somebody starts, until this is dropped.
pub(crate) struct Turn<'a> {
    starts: &'a Starts,
    number: u64,
}

impl Default for Starts {
    fn default() -> Self {
        Self::of(available_parallelism().map_or(1, NonZeroUsize::get).saturating_mul(PER_PROCESSOR))
    }
}

impl Starts {
    fn of(places: usize) -> Self {
        Self { places, turns: Mutex::default(), over: Condvar::new() }
    }

    /// Waits until there is room for another start.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut turns = self.turns.lock();
        loop {
            let now = Instant::now();
            turns.begun.retain(|(_, begun)| now.saturating_duration_since(*begun) < SHARE);
            let first = turns.begun.iter().map(|(_, begun)| *begun).min();
            if let Some(first) = first.filter(|_| turns.begun.len() >= self.places) {
                self.over.wait_until(&mut turns, first + SHARE);
                continue;
            }
            let number = turns.next;
            turns.next += 1;
            turns.begun.push((number, now));
            return Turn { starts: self, number };
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.starts.turns.lock().begun.retain(|(number, _)| *number != self.number);
        self.starts.over.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_come_to_an_end_keeps_nobody_waiting_for_long() {
        let starts = Starts::of(2);
        let hanging: Vec<_> = (0..6).map(|_| starts.turn()).collect();
        assert_eq!(starts.turns.lock().next, 6);
        drop(hanging);
        assert!(starts.turns.lock().begun.is_empty());
    }

    #[test]
    fn there_are_no_more_at_once_than_there_are_places() {
        let starts = Starts::of(2);
        let [first, second] = [(); 2].map(|()| starts.turn());
        let begun = starts.turns.lock().begun[0].1;
        std::thread::scope(|scope| {
            let third = scope.spawn(|| {
                drop(starts.turn());
                Instant::now()
            });
            assert!(third.join().unwrap() >= begun + SHARE);
        });
        drop((first, second));
    }
}
