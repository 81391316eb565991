//! The service of events: topics, publishers and subscribers, of which none waits for another.
//!
//! ```text
//!   EventsServer  PluginEvents   plugin.rs         what a plugin may, and how often
//!     Events                                       the host's own way to it
//!       Hub                      hub.rs            all subscriptions, under one lock: one order for all
//!         Queue                  queue.rs          what a subscriber has not taken yet
//!       Subscription             subscription.rs   takes it
//!     HostEvents                 host_events.rs    what happens in the host
//! ```

mod account;
mod host_events;
mod hub;
mod plugin;
mod queue;
mod subscription;
mod topic;

use std::fmt;
use std::sync::Arc;

use rapace_host_api::events::{Event, EventsError, EventsServer};

use crate::config::EventsConfig;
use crate::scope::PluginScope;
pub(crate) use account::EventAccount;
pub(crate) use host_events::HostEvents;
use hub::Hub;
pub use plugin::PluginEvents;
pub use subscription::Subscription;
use topic::{Pattern, check_topic};

/// The events of a host: serves `rapace.Events` to plugins, and lets the host's own code publish and subscribe. Cheap to
/// clone.
///
/// A host that is [built with it](crate::PluginHostBuilder::events) publishes [what happens in
/// it](rapace_host_api::events::HostEvent), and ends all subscriptions when it shuts down.
///
/// ```
/// use rapace_host::{Events, EventsConfig};
/// use rapace_host_api::events::Delivery;
///
/// let events = Events::new(EventsConfig::default());
/// let mut orders = events.subscribe(["orders.*"])?;
/// events.publish("orders.new", "one coffee")?;
/// assert_eq!(orders.recv(), Some(Delivery::Subscribed));
/// let Some(Delivery::Event(event)) = orders.recv() else { panic!("it is the next") };
/// assert_eq!((event.topic(), event.payload()), ("orders.new", &b"one coffee"[..]));
/// # Ok::<(), rapace_host_api::events::EventsError>(())
/// ```
#[derive(Clone)]
pub struct Events(Arc<Hub>);

impl Events {
    /// No events yet.
    #[must_use]
    pub fn new(config: EventsConfig) -> Self {
        Self(Arc::new(Hub::new(config)))
    }

    /// What serves this plugin.
    #[must_use]
    pub fn server(&self, scope: &PluginScope) -> EventsServer<PluginEvents> {
        EventsServer::new(PluginEvents::new(self, scope))
    }

    /// Publishes an event of the host's, to any topic.
    ///
    /// # Errors
    ///
    /// When this is no topic, or the payload is too large, or the host shuts down.
    pub fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) -> Result<(), EventsError> {
        self.publish_of(None, topic, payload.into())
    }

    /// Subscribes the host's own code. What it does not take in time it misses, like anybody else.
    ///
    /// # Errors
    ///
    /// When these are no topics, or none or too many, or the host shuts down.
    pub fn subscribe<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> Result<Subscription, EventsError> {
        let patterns = Pattern::all(topics.into_iter().map(Into::into))?;
        self.0.subscribe(None, patterns)
    }

    /// Subscriptions that stand.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.0.subscriptions()
    }

    /// Ends all subscriptions behind what they have yet to take, and refuses new ones. A host does so when it shuts down.
    pub fn close(&self) {
        self.0.close();
    }

    fn publish_of(&self, source: Option<&str>, topic: &str, payload: Vec<u8>) -> Result<(), EventsError> {
        check_topic(topic)?;
        let (found, bound) = (payload.len(), self.0.config().payload_bytes_max);
        if found > bound {
            let [found, bound] = [found, bound].map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
            return Err(EventsError::Payload { found, bound });
        }
        self.0.publish(&Event::new(topic, source.map(str::to_owned), payload))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("subscriptions", &self.subscriptions()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
