//! What is counted of a plugin's events.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::meter::Meter;
use crate::metrics::EventStats;

/// The events of a plugin, in all its versions and processes.
#[derive(Debug, Default)]
pub(crate) struct EventAccount {
    /// How often it publishes.
    pub(super) meter: Meter,
    published: AtomicU64,
    delivered: AtomicU64,
    missed: AtomicU64,
}

impl EventAccount {
    /// It has published one.
    pub(super) fn published(&self) {
        add(&self.published, 1);
    }

    /// It has taken one.
    pub(super) fn delivered(&self) {
        add(&self.delivered, 1);
    }

    /// So many have made room for others before it took them.
    pub(super) fn missed(&self, events: u64) {
        add(&self.missed, events);
    }

    pub(crate) fn stats(&self) -> EventStats {
        let [published, delivered, missed] =
            [&self.published, &self.delivered, &self.missed].map(|counter| counter.load(Ordering::Relaxed));
        EventStats { published, delivered, missed }
    }
}

/// Counts order nothing.
fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
