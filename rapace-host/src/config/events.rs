//! The bounds of a host's events.

use std::num::{NonZeroU32, NonZeroUsize};

use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity::{Written, quantity};
use crate::document::Document;

/// What the service of events takes, and keeps for those who are slow.
///
/// At worst it keeps, for each plugin, `subscriptions_max` times `queue_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Events that wait for a subscriber; beyond that it misses the oldest. Default 1024.
    pub queue_events: NonZeroUsize,
    /// Bytes of them. Default 1 MiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    pub queue_bytes: usize,
    /// Bytes of an event's payload, at most `queue_bytes`. Default 64 KiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    pub payload_bytes_max: usize,
    /// Subscriptions of a plugin at once. Default 16.
    pub subscriptions_max: NonZeroU32,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            queue_events: NonZeroUsize::MIN.saturating_add(1023),
            queue_bytes: 1 << 20,
            payload_bytes_max: 64 << 10,
            subscriptions_max: NonZeroU32::MIN.saturating_add(15),
        }
    }
}

impl EventsConfig {
    pub(super) fn check(&self, document: &mut Document) {
        let (found, bound) = (self.payload_bytes_max, self.queue_bytes);
        if found > bound {
            let message = format!("found {found} bytes, expected at most queue_bytes, which is {bound}");
            document.refuse(&["events".into(), "payload_bytes_max".into()], message);
        }
    }
}
