//! What the host itself tells.

use rapace_macros::message;

use super::Event;

/// What the topics of the host's own events begin with. No plugin publishes to them.
pub const HOST_TOPICS: &str = "host.";

/// What happens in a host. It publishes each to the topic that the variant names; who has one of those events reads it back
/// by [`HostEvent::read`].
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub enum HostEvent {
    /// `host.plugin.loaded`: a process of the plugin takes calls, for the first time or after a restart.
    PluginLoaded {
        /// The plugin's name.
        plugin: String,
        /// Which of its processes, counted from 0 over all reloads.
        instance: u32,
    },
    /// `host.plugin.unloaded`: a process of the plugin that took calls has ended.
    PluginUnloaded {
        /// The plugin's name.
        plugin: String,
        /// Which of its processes.
        instance: u32,
        /// Whether it crashed, rather than that it was stopped or left in good order.
        crashed: bool,
    },
    /// `host.config.updated`: the plugin runs with another configuration of its own. That may be nobody else's business, so it
    /// is not told here.
    ConfigUpdated {
        /// The plugin's name.
        plugin: String,
    },
    /// `host.shutdown`: the host begins to shut down.
    Shutdown,
}

impl HostEvent {
    /// The topic to which it is published.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::PluginLoaded { .. } => "host.plugin.loaded",
            Self::PluginUnloaded { .. } => "host.plugin.unloaded",
            Self::ConfigUpdated { .. } => "host.config.updated",
            Self::Shutdown => "host.shutdown",
        }
    }

    /// The event as it is published; its payload is the message's postcard form.
    #[must_use]
    pub fn to_event(&self) -> Event {
        // Its form has no length that could be unknown, and grows as it is written.
        Event::new(self.topic(), None, postcard::to_stdvec(self).unwrap_or_default())
    }

    /// What a host has published; none for any other event, and for one of a host that knows more.
    #[must_use]
    pub fn read(event: &Event) -> Option<Self> {
        let read: Self = postcard::from_bytes(event.payload()).ok()?;
        (event.source().is_none() && event.topic() == read.topic()).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_host_is_read_back_and_nobody_elses_is() {
        let plugin = || "p".to_owned();
        for told in [
            HostEvent::PluginLoaded { plugin: plugin(), instance: 1 },
            HostEvent::PluginUnloaded { plugin: plugin(), instance: 1, crashed: true },
            HostEvent::ConfigUpdated { plugin: plugin() },
            HostEvent::Shutdown,
        ] {
            let event = told.to_event();
            assert!(event.topic().starts_with(HOST_TOPICS));
            let forged = Event::new(event.topic(), Some(plugin()), event.payload());
            let misplaced = Event::new("host.other", None, event.payload());
            assert_eq!([&event, &forged, &misplaced].map(HostEvent::read), [Some(told), None, None]);
        }
        assert_eq!(HostEvent::read(&Event::new("host.shutdown", None, [0xff])), None);
    }
}
