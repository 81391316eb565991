//! Refuses calls to a plugin that fails, instead of trying each.
//!
//! Closed, it counts failures in a row; open, it refuses; half open, it lets one call through and waits for what becomes
//! of it. Calls that say nothing of the plugin, because they did not reach it or were given up, change nothing.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_session::{CallError, Code, Status};
use serde::{Deserialize, Serialize};

use crate::policy::Breaker;

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BreakerState {
    /// They do.
    Closed,
    /// They are refused.
    Open,
    /// One is tried.
    HalfOpen,
}

/// The breaker of one plugin.
#[derive(Debug)]
pub(crate) struct Circuit {
    breaker: Breaker,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// A call is tried since then.
    HalfOpen {
        since: Instant,
    },
}

impl Circuit {
    pub(crate) fn new(breaker: Breaker) -> Self {
        Self { breaker, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match *self.state.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// A call is about to be made.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Status> {
        let mut state = self.state.lock();
        let left = match *state {
            State::Closed { .. } => return Ok(()),
            State::Open { until } => until.saturating_duration_since(now),
            // A trial that nobody hears of again does not keep the others out for ever.
            State::HalfOpen { since } => later(since, self.breaker.open).saturating_duration_since(now),
        };
        if left.is_zero() {
            *state = State::HalfOpen { since: now };
            return Ok(());
        }
        let text = match *state {
            State::HalfOpen { .. } => "too many calls have failed: one is being tried".to_owned(),
            _ => format!("too many calls have failed: none is tried for {left:.1?}"),
        };
        Err(Status::new(Code::Unavailable, text))
    }

    /// A call that was admitted has ended, and has failed, or not, or says nothing; says where the breaker is if it has
    /// opened or closed with it.
    pub(crate) fn ended(&self, failed: Option<bool>, now: Instant) -> Option<BreakerState> {
        let mut state = self.state.lock();
        let Some(failed) = failed else {
            if let State::HalfOpen { .. } = *state {
                // The next call is tried in its place.
                *state = State::Open { until: now };
            }
            return None;
        };
        let was_closed = matches!(*state, State::Closed { .. });
        let failures = match *state {
            // One that was admitted before says nothing new.
            State::Open { .. } => return None,
            _ if !failed => 0,
            State::Closed { failures } => failures.saturating_add(1),
            State::HalfOpen { .. } => u32::MAX,
        };
        let opens = failures >= self.breaker.failures.max(1);
        *state = if opens { State::Open { until: later(now, self.breaker.open) } } else { State::Closed { failures } };
        match opens {
            true => Some(BreakerState::Open),
            false => (!was_closed).then_some(BreakerState::Closed),
        }
    }

    /// Another process has taken the plugin's place.
    pub(crate) fn close(&self) {
        *self.state.lock() = State::Closed { failures: 0 };
    }
}

/// A time that is too long for the clock is a century.
fn later(from: Instant, time: Duration) -> Instant {
    from.checked_add(time).unwrap_or_else(|| from + Duration::from_secs(100 * 366 * 24 * 3600))
}

/// Whether a call failed by the plugin's fault: what it answers is its own affair, also if that is an error. Nothing is said
/// by one that did not reach it, or that its caller gave up.
pub(crate) fn is_failure(outcome: Result<(), &CallError>) -> Option<bool> {
    match outcome {
        Ok(()) => Some(false),
        Err(CallError::Refused { .. } | CallError::Incompatible { .. }) => None,
        Err(CallError::TooLarge { .. } | CallError::TooDeep { .. } | CallError::WouldBlock) => None,
        Err(CallError::Status(status)) => match status.code {
            Code::Cancelled => None,
            code => Some(matches!(code, Code::Internal | Code::Unavailable | Code::DataLoss)),
        },
        Err(_) => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OPENED: Option<BreakerState> = Some(BreakerState::Open);

    fn circuit() -> (Circuit, Instant) {
        (Circuit::new(Breaker { failures: 3, open: 10 * SECOND }), Instant::now())
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let (circuit, now) = circuit();
        for failed in [true, true, false, true, true] {
            assert_eq!(circuit.admit(now), Ok(()));
            assert_eq!(circuit.ended(Some(failed), now), None);
        }
        assert_eq!(circuit.state(), BreakerState::Closed);
        assert_eq!(circuit.ended(Some(true), now), OPENED);
        assert_eq!(circuit.state(), BreakerState::Open);
        let refused = circuit.admit(now + SECOND).unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);
        assert_eq!(refused.message, "too many calls have failed: none is tried for 9.0s");
    }

    #[test]
    fn one_call_is_tried_and_decides() {
        let (circuit, now) = circuit();
        assert_eq!([(); 3].map(|()| circuit.ended(Some(true), now)), [None, None, OPENED]);
        assert_eq!(circuit.admit(now + 10 * SECOND), Ok(()));
        assert_eq!(circuit.state(), BreakerState::HalfOpen);
        assert!(circuit.admit(now + 10 * SECOND).is_err());
        assert_eq!(circuit.ended(Some(true), now + 11 * SECOND), OPENED);
        assert!(circuit.admit(now + 20 * SECOND).is_err());
        assert_eq!(circuit.admit(now + 21 * SECOND), Ok(()));
        assert_eq!(circuit.ended(Some(false), now + 21 * SECOND), Some(BreakerState::Closed));
        assert_eq!(circuit.state(), BreakerState::Closed);
    }

    #[test]
    fn a_trial_that_nobody_hears_of_again_is_followed_by_another() {
        let (circuit, now) = circuit();
        assert_eq!([(); 3].map(|()| circuit.ended(Some(true), now)), [None, None, OPENED]);
        assert_eq!(circuit.admit(now + 10 * SECOND), Ok(()));
        assert!(circuit.admit(now + 19 * SECOND).is_err());
        assert_eq!(circuit.admit(now + 20 * SECOND), Ok(()));
    }

    #[test]
    fn what_says_nothing_of_the_plugin_neither_opens_nor_closes_it() {
        let refused = CallError::Refused { reason: Status::new(Code::Unavailable, "crashed") };
        let given_up = CallError::Status(Status::new(Code::Cancelled, "the caller has given the call up"));
        let late = CallError::DeadlineExceeded { waited: SECOND };
        assert_eq!([&refused, &given_up, &late].map(|error| is_failure(Err(error))), [None, None, Some(true)]);
        let (circuit, now) = circuit();
        assert_eq!([Some(true), Some(true), None].map(|failed| circuit.ended(failed, now)), [None; 3]);
        assert_eq!(circuit.ended(Some(true), now), OPENED);
        // The trial is given up: another one is made.
        assert_eq!(circuit.admit(now + 10 * SECOND), Ok(()));
        assert_eq!(circuit.ended(None, now + 11 * SECOND), None);
        assert_eq!(circuit.state(), BreakerState::Open);
        assert_eq!(circuit.admit(now + 11 * SECOND), Ok(()));
        assert_eq!(circuit.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_time_without_end_is_no_overflow() {
        let circuit = Circuit::new(Breaker { failures: 0, open: Duration::MAX });
        assert_eq!(circuit.ended(Some(true), Instant::now()), OPENED);
        assert!(circuit.admit(Instant::now()).is_err());
        circuit.close();
        assert_eq!(circuit.state(), BreakerState::Closed);
    }
}
