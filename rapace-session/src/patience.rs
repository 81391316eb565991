//! How long somebody waits.

use std::time::{Duration, Instant};

use crate::clock;

/// How long somebody waits: counted from the start if it was said to the peer, else from the first sleep, so that a
/// call that is answered at once reads no clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    time: Option<Duration>,
    until: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(time: Duration) -> Self {
        Self { time: Some(time), until: None }
    }

    pub(crate) fn endless() -> Self {
        Self { time: None, until: None }
    }

    pub(crate) fn started(mut self) -> Self {
        self.left();
        self
    }

    pub(crate) fn time(&self) -> Duration {
        self.time.unwrap_or(Duration::MAX)
    }

    /// When it is over, counted from now if nothing was counted before; `None` is never.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        self.left()?;
        self.until
    }

    /// What is left, if it is counted already: who has not slept yet has all of it.
    pub(crate) fn left_if_begun(&mut self) -> Option<Duration> {
        self.until.and_then(|_| self.left())
    }

    /// What is left; `None` is without end.
    pub(crate) fn left(&mut self) -> Option<Duration> {
        let time = self.time?;
        let now = clock::now();
        match self.until {
            Some(until) => Some(until.saturating_duration_since(now)),
            None => {
                // A time beyond what the clock can say is without end.
                self.until = now.checked_add(time);
                if self.until.is_none() {
                    self.time = None;
                }
                self.time
            }
        }
    }
}
