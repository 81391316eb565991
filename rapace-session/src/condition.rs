//! How a session is, for people: what is in flight, and what the memory says. It is taken when somebody asks, and once more when
//! the session ends, because nothing is in flight behind that.

use std::time::{Duration, Instant};

pub use rapace_core::link::Pulse;

use crate::machine::Machine;
use crate::role::Role;
use crate::session::Session;
use crate::state::State;

/// Calls that are listed, of each side; of more, only the number is known.
const CALLS_LISTED: usize = 64;

/// How a session is, or was when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// When it was so.
    pub time: Instant,
    /// Calls of this side.
    pub calls: CallsInFlight,
    /// Calls of the peer.
    pub served: CallsInFlight,
    /// Frames that the ring to the peer takes.
    pub ring_capacity: u32,
    /// Frames in it that the peer has not taken, as far as it has said so; `None` if it says what cannot be.
    pub ring_used: Option<u32>,
    /// This side's slots.
    pub slot_count: u32,
    /// Of them those that are free; `None` if the peer returned what it did not have.
    pub slots_free: Option<u32>,
    /// What the peer says of itself; `None` if that is nothing that can be said.
    pub peer: Option<Pulse>,
    /// How long the peer has made no progress, though it owed some.
    pub silent: Duration,
}

/// The calls of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallsInFlight {
    /// How many there are.
    pub count: usize,
    /// The first 64 of them, in the order of their channels.
    pub listed: Vec<CallInFlight>,
}

/// A call that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallInFlight {
    /// Its method.
    pub method: u32,
    /// Its channel, which tells it from others of this session: it is used again only behind many others.
    pub channel: u32,
    /// Nobody waits for its reply any more.
    pub is_given_up: bool,
}

impl CallsInFlight {
    pub(crate) fn new(count: usize, listed: impl Iterator<Item = CallInFlight>) -> Self {
        // No further than to the last of them.
        Self { count, listed: listed.take(count.min(CALLS_LISTED)).collect() }
    }
}

impl<R: Role> Session<R> {
    /// The calls of this side that are in flight, and the peer's; of a session that has ended, those that were then.
    pub fn calls_in_flight(&self) -> (CallsInFlight, CallsInFlight) {
        let state = self.shared().state();
        let calls = match &state.last_condition {
            Some(last) => (last.calls.clone(), last.served.clone()),
            None => state.machine.list_calls(),
        };
        self.shared().leave(state);
        calls
    }

    /// How it is, or was when it ended.
    pub fn condition(&self) -> Condition {
        let mut state = self.shared().state();
        let condition = state.condition();
        self.shared().leave(state);
        condition
    }
}

impl State {
    pub(crate) fn condition(&mut self) -> Condition {
        match &self.last_condition {
            Some(last) => (**last).clone(),
            None => self.present_condition(Instant::now()),
        }
    }

    /// The session has ended: this is how it was.
    pub(crate) fn keep_condition(&mut self) {
        self.last_condition = Some(Box::new(self.present_condition(Instant::now())));
    }

    fn present_condition(&mut self, now: Instant) -> Condition {
        let (calls, served) = self.machine.calls_in_flight();
        let pulse = self.link.peer_pulse().ok();
        let geometry = self.link.geometry();
        Condition {
            time: now,
            calls,
            served,
            ring_capacity: geometry.ring_capacity(),
            slot_count: geometry.slot_count(),
            ring_used: self.link.ring_used().ok(),
            slots_free: self.link.free_slots().ok(),
            peer: pulse.map(|(pulse, _)| pulse),
            silent: pulse.map_or(Duration::ZERO, |(pulse, heartbeat)| self.liveness.silent(pulse, heartbeat, now)),
        }
    }
}

impl Machine {
    /// Ours, and the peer's; those that were when the session ended.
    fn calls_in_flight(&mut self) -> (CallsInFlight, CallsInFlight) {
        self.take_last_calls().unwrap_or_else(|| self.list_calls())
    }
}
