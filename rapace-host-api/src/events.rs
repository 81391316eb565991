//! Events: what plugins and their host tell each other by topic, without knowing who listens.
//!
//! A topic is a name such as `orders.new`. Those below `host.` are the host's own: see [`HostEvent`].

mod event;
mod host_event;

use rapace_macros::{message, service};
use rapace_service::Stream;
use thiserror::Error;

pub use event::Event;
pub use host_event::{HOST_TOPICS, HostEvent};

/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;
/// The most topics of one subscription.
pub const TOPICS_MAX: usize = 64;

/// Passes events on.
///
/// To publish never waits for a subscriber: one that is slow loses the oldest of what it has not taken yet, and is told how
/// many. Those that it gets come in the order in which they were published, which is the same for all.
#[service(name = "rapace.Events", version = "1.0", provider = "host", crate = "rapace_service")]
pub trait Events {
    /// What is published from now on to these topics, each a name, or the beginning of one that ends in `*`. A subscription
    /// is a call in flight for as long as it stands, and ends when its stream is dropped. One that is refused has that
    /// refusal as its only item.
    #[method(id = 1003)]
    fn subscribe(&self, topics: Vec<String>) -> impl Stream<Item = Result<Delivery, EventsError>>;

    /// Tells all subscribers of the topic. The publisher is one of them if it has subscribed.
    #[method(id = 1020)]
    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), EventsError>;
}

/// What a subscription brings.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub enum Delivery {
    /// The first: whatever is published behind it will follow.
    Subscribed,
    /// An event.
    Event(Event),
    /// So many events are missing here, because the subscriber was too slow for them.
    Missed {
        /// How many.
        events: u64,
    },
    /// The last: the host shuts down.
    Shutdown,
}

/// Why an event was not published, or a subscription does not stand.
#[message(crate = "rapace_service")]
#[derive(Eq, Error)]
pub enum EventsError {
    /// It would take a permission that the plugin does not have.
    #[error("the plugin may not {deed} {topic:?}")]
    NotPermitted {
        /// What it would do.
        deed: Deed,
        /// The topic.
        topic: String,
    },
    /// It publishes more than it may. The event is dropped.
    #[error("the plugin may publish {per_second} events in a second")]
    TooMany {
        /// Events that it may publish in a second.
        per_second: u32,
    },
    /// It has as many subscriptions as it may have.
    #[error("the plugin may have {bound} subscriptions at once")]
    TooManySubscriptions {
        /// Subscriptions that it may have.
        bound: u32,
    },
    /// It subscribes to no topic, or to too many at once.
    #[error("a subscription is to 1 to {bound} topics, not to {found}")]
    TopicCount {
        /// Topics that it named.
        found: u64,
        /// Topics that it may name.
        bound: u64,
    },
    /// This is no topic.
    #[error(
        "found a topic of {found} bytes, expected 1 to {bound}, none of them of a control character, and `*` only at the end of what is subscribed to"
    )]
    Topic {
        /// Bytes of what was given.
        found: u64,
        /// The most that there may be.
        bound: u64,
    },
    /// The payload is too large. The event is dropped.
    #[error("the payload has {found} bytes, and may have {bound}")]
    Payload {
        /// Bytes that it has.
        found: u64,
        /// Bytes that it may have.
        bound: u64,
    },
    /// The host shuts down.
    #[error("the host shuts down")]
    ShutDown,
}

/// What takes a permission.
#[message(crate = "rapace_service")]
#[derive(Copy, Eq)]
pub enum Deed {
    /// To publish.
    Publish,
    /// To subscribe.
    Subscribe,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        })
    }
}
