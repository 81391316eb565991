//! What happens in a host, told to those who have subscribed to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rapace_host_api::events::HostEvent;

use super::Events;
use crate::lifecycle::{PluginState, StateChange};

/// Tells of a host. Dropped with it, it ends all subscriptions.
pub(crate) struct HostEvents {
    events: Events,
    /// Processes that take calls, or have, and have not ended.
    loaded: Mutex<BTreeSet<(Arc<str>, u32)>>,
}

impl HostEvents {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, loaded: Mutex::default() }
    }

    /// A plugin has another state.
    pub(crate) fn changed(&self, change: &StateChange) {
        let (plugin, instance) = (|| change.plugin.to_string(), change.instance);
        let key = || (Arc::clone(&change.plugin), instance);
        if change.to == PluginState::Running {
            self.loaded.lock().insert(key());
            self.tell(&HostEvent::PluginLoaded { plugin: plugin(), instance });
        } else if !change.to.is_live() && self.loaded.lock().remove(&key()) {
            let crashed = change.to == PluginState::Crashed;
            self.tell(&HostEvent::PluginUnloaded { plugin: plugin(), instance, crashed });
        }
    }

    /// A plugin runs with another configuration.
    pub(crate) fn configured(&self, plugin: &str) {
        self.tell(&HostEvent::ConfigUpdated { plugin: plugin.to_owned() });
    }

    /// The host shuts down.
    pub(crate) fn shut_down(&self) {
        self.tell(&HostEvent::Shutdown);
        self.events.close();
    }

    fn tell(&self, event: &HostEvent) {
        // Once the host shuts down there is nobody to be told.
        let _ = self.events.0.publish(&event.to_event());
    }
}

impl Drop for HostEvents {
    fn drop(&mut self) {
        self.events.close();
    }
}
