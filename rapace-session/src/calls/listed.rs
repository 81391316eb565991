//! The calls of this side, one by one.

use super::CallTable;
use crate::condition::{CallInFlight, CallsInFlight};

impl CallTable {
    /// Those that are in flight.
    pub(crate) fn list(&self) -> CallsInFlight {
        let calls = self.channels.iter().filter_map(|channel| channel.call.as_ref());
        let listed = calls.map(|call| CallInFlight {
            method: call.method,
            channel: call.channel.raw(),
            is_given_up: call.ticket.is_none(),
        });
        CallsInFlight::new(self.in_flight, listed)
    }
}
