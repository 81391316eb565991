//! What a session counts.

use std::time::Instant;

use rapace_registry::Registry;

use super::Machine;
use crate::condition::CallsInFlight;
use crate::observe::{CallCounts, methods_of};
use crate::tally::Tally;

impl Machine {
    /// Counts calls from now on. `own` is what this side serves.
    pub(crate) fn observe(&mut self, own: &Registry, seed: u64, clock: fn() -> Instant) {
        self.calls.observe(Tally::new(methods_of(&self.peer.registry), seed, clock));
        self.served.observe(Tally::new(methods_of(own), seed.rotate_left(32), clock));
    }

    /// What was counted of calls.
    pub(crate) fn call_counts(&mut self) -> CallCounts {
        CallCounts { made: self.calls.counts(), served: self.served.counts() }
    }

    /// Calls in flight: ours, and the peer's.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.calls.in_flight(), self.served.in_flight())
    }

    /// The same, one by one.
    pub(crate) fn list_calls(&self) -> (CallsInFlight, CallsInFlight) {
        (self.calls.list(), self.served.list())
    }

    /// Those that were in flight when the session ended, once.
    pub(crate) fn take_last_calls(&mut self) -> Option<(CallsInFlight, CallsInFlight)> {
        self.last_calls.take().map(|calls| *calls)
    }

    /// Whether a call of ours has ended since this was last asked.
    pub(crate) fn take_freed(&mut self) -> bool {
        self.calls.take_freed()
    }

    /// Bytes of messages from the peer that are kept, and bytes that wait to be sent.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (self.kept, self.outbox.bytes())
    }

    /// Faults of the peer so far.
    pub(crate) fn faults(&self) -> u32 {
        self.faults
    }

    /// Requests of the peer so far that were larger than is taken, and those that were more than are served at once.
    pub(crate) fn refused(&self) -> (u64, u64) {
        (self.requests_refused, self.calls_refused)
    }
}
