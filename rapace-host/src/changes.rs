//! Hands a plugin's state changes to the observer, one after another and in their order.
//!
//! Changes are made under the plugin's lock and told outside of it, so that an observer may use the plugin. Whoever is
//! telling already, perhaps further up the same stack, takes along what comes meanwhile.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;

use crate::lifecycle::StateChange;

/// Whom a host tells of every state change.
pub(crate) type Observer = dyn Fn(&StateChange) + Send + Sync;

/// The changes of one plugin that have yet to be told.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    untold: Mutex<VecDeque<StateChange>>,
    telling: Mutex<()>,
}

impl Changes {
    /// Notes a change; under the plugin's lock, so that the order is true.
    pub(crate) fn note(&self, change: StateChange) {
        let from = change.from.map(tracing::field::display);
        tracing::info!(plugin = %change.plugin, instance = change.instance, from, state = %change.to, "state");
        self.untold.lock().push_back(change);
    }

    /// Tells what has been noted; outside of the plugin's lock.
    pub(crate) fn tell(&self, observer: &dyn Fn(&StateChange)) {
        while !self.untold.lock().is_empty() {
            let Some(_telling) = self.telling.try_lock() else { return };
            loop {
                let Some(change) = self.untold.lock().pop_front() else { break };
                if catch_unwind(AssertUnwindSafe(|| observer(&change))).is_err() {
                    tracing::error!(plugin = %change.plugin, %change, "the observer of states panicked");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lifecycle::PluginState;

    #[test]
    fn changes_made_by_the_observer_are_told_behind_its_own() {
        let changes = Arc::new(Changes::default());
        let change = |to| StateChange { plugin: "p".into(), instance: 0, from: None, to };
        let told = Mutex::new(Vec::new());
        let (inner, all, wrong) = (Arc::clone(&changes), Arc::new(told), Arc::new(Mutex::new(Vec::new())));
        let (seen, out_of_order) = (Arc::clone(&all), Arc::clone(&wrong));
        let observer = move |told: &StateChange| {
            if told.to == PluginState::Crashed {
                inner.note(change(PluginState::Connected));
                let out_of_order = Arc::clone(&out_of_order);
                inner.tell(&move |change| out_of_order.lock().push(change.to));
            }
            seen.lock().push(told.to);
        };
        changes.note(change(PluginState::Running));
        changes.note(change(PluginState::Crashed));
        changes.tell(&observer);
        assert_eq!(*all.lock(), [PluginState::Running, PluginState::Crashed, PluginState::Connected]);
        assert_eq!(*wrong.lock(), []);
    }
}
