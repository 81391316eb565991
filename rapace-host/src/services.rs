//! What a host offers its plugins: implementations of the services in `rapace-host-api`.

#[cfg(feature = "storage")]
pub(crate) mod storage;
//! What a host does for its plugins, as services like any other.

mod events;
mod logger;

pub(crate) use events::HostEvents;
pub use events::{Events, PluginEvents, Subscription};
pub use logger::{Logger, PluginLogger};
