//! What a host does for its plugins, as services like any other: implementations of those in `rapace-host-api`.

mod events;
mod logger;
#[cfg(feature = "storage")]
pub(crate) mod storage;

pub(crate) use events::{EventAccount, HostEvents};
pub use events::{Events, PluginEvents, Subscription};
pub use logger::{Logger, PluginLogger};
