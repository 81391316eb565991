//! How calls ended, counted by many threads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rapace::prelude::*;

/// Unexpected things that are kept word by word; others are only counted.
const NOTES_KEPT: usize = 10;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the reply that was due, or at the deadline that was meant to pass.
    Good,
    /// With something else than what was due.
    Wrong,
    /// The caller gave it up.
    Cancelled,
    /// At its deadline.
    Deadline,
    /// At its deadline, before there was room for it.
    NoRoom,
    /// With the session.
    Ended,
    /// Before it was sent: the plugin does not run.
    Refused,
    /// With a status.
    Status,
}

impl Outcome {
    const NAMES: [&'static str; 8] =
        ["good", "wrong", "given up", "deadline", "no room", "session ended", "refused", "status"];

    /// How a call that was to come to a good end has failed.
    pub(crate) fn of(error: &CallError) -> Self {
        match error {
            CallError::DeadlineExceeded { .. } => Self::Deadline,
            CallError::NoRoom { .. } => Self::NoRoom,
            CallError::SessionEnded { .. } => Self::Ended,
            CallError::Refused { .. } => Self::Refused,
            _ => Self::Status,
        }
    }
}

/// Calls to some of the plugins.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) ended: AtomicU64,
    outcomes: [AtomicU64; 8],
    /// How far the latest was beyond its deadline, and what it was.
    overrun: Mutex<(Duration, String)>,
    /// Calls that a plugin counts too.
    pub(crate) counted_started: AtomicU64,
    pub(crate) counted_good: AtomicU64,
}

impl Counts {
    /// A call has ended, which `what` describes.
    pub(crate) fn end(&self, outcome: Outcome, took: Duration, deadline: Duration, what: impl FnOnce() -> String) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        let overrun = took.saturating_sub(deadline);
        if !overrun.is_zero() {
            let mut most = self.overrun.lock().unwrap_or_else(PoisonError::into_inner);
            if overrun > most.0 {
                *most = (overrun, what());
            }
        }
        self.ended.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    pub(crate) fn overrun(&self) -> (Duration, String) {
        self.overrun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", self.ended.load(Relaxed))?;
        let named = Outcome::NAMES.iter().zip(&self.outcomes).map(|(name, count)| (name, count.load(Relaxed)));
        named.filter(|(_, count)| *count > 0).try_for_each(|(name, count)| write!(f, ", {count} {name}"))
    }
}

/// Things that must not happen: how many, and the first of them in words.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    count: AtomicU64,
    kept: Mutex<Vec<String>>,
}

impl Notes {
    pub(crate) fn add(&self, note: impl FnOnce() -> String) {
        self.count.fetch_add(1, Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < NOTES_KEPT {
            kept.push(note());
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(crate) fn kept(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_how_they_ended() {
        let counts = Counts::default();
        let [short, long] = [10, 30].map(Duration::from_millis);
        for (outcome, took, deadline) in
            [(Outcome::Good, short, long), (Outcome::NoRoom, long, short), (Outcome::Cancelled, short, short / 2)]
        {
            counts.end(outcome, took, deadline, || format!("{outcome:?}"));
        }
        assert_eq!(counts.to_string(), "3 calls, 1 good, 1 given up, 1 no room");
        assert_eq!(counts.overrun(), (long - short, "NoRoom".to_owned()));
    }

    #[test]
    fn notes_are_counted_beyond_those_that_are_kept() {
        let notes = Notes::default();
        (0..25).for_each(|index| notes.add(|| index.to_string()));
        assert_eq!((notes.count(), notes.kept().len()), (25, NOTES_KEPT));
    }
}
