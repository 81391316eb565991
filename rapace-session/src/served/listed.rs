//! The calls of the peer, one by one.

use super::ServedTable;
use crate::condition::{CallInFlight, CallsInFlight};

impl ServedTable {
    /// Those that are in flight.
    pub(crate) fn list(&self) -> CallsInFlight {
        let listed = self.entries.iter().flatten().map(|served| CallInFlight {
            method: served.method,
            channel: served.channel.raw(),
            is_given_up: served.cancelled,
        });
        CallsInFlight::new(self.in_flight, listed)
    }
}
