//! What the host and its plugins agree on: the methods and their types.
//!
//! With plugins in repositories of their own, this is the crate that they share with the host.

use std::fmt;

use rapace::prelude::*;
use rapace::registry::BuildError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the host does for its plugins.
#[rapace::service(name = "rapace.HostServices", version = "1.0", provider = "host")]
pub(crate) trait HostServices {
    /// Writes a line of the log.
    #[method(id = 1000, name = "Logger.log")]
    async fn log(&self, request: LogRequest);

    /// A value that this plugin has stored.
    #[method(id = 1001, name = "Storage.get")]
    async fn get(&self, request: GetRequest) -> GetResponse;

    /// Stores a value for this plugin.
    #[method(id = 1002, name = "Storage.set")]
    async fn set(&self, request: SetRequest) -> Result<(), StorageError>;

    /// What happens from now on, until the host shuts down.
    #[method(id = 1003, name = "Events.subscribe")]
    fn subscribe(&self) -> impl Stream<Item = HostEvent>;
}

/// What a plugin does.
#[rapace::service(name = "rapace.Plugin", version = "1.0", provider = "plugin")]
pub(crate) trait PluginApi {
    /// The first call that a plugin gets: it answers when it is ready.
    #[method(id = 2000)]
    async fn initialize(&self, config: PluginConfig) -> Result<(), String>;

    /// The work of a plugin.
    #[method(id = 2001)]
    async fn process(&self, ctx: &Context, request: ProcessRequest) -> ProcessResponse;

    /// The last call that a plugin gets.
    #[method(id = 2002)]
    async fn shutdown(&self);
}

#[rapace::message]
#[derive(Copy)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[rapace::message]
pub(crate) struct LogRequest {
    pub(crate) level: LogLevel,
    pub(crate) message: String,
}

#[rapace::message]
pub(crate) struct GetRequest {
    pub(crate) key: String,
}

#[rapace::message]
pub(crate) struct GetResponse {
    pub(crate) value: Option<Vec<u8>>,
}

#[rapace::message]
pub(crate) struct SetRequest {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

#[rapace::message]
#[derive(Error)]
pub(crate) enum StorageError {
    #[error("the plugin would store {found} bytes, but may store {bound}")]
    Full { found: u64, bound: u64 },
}

#[rapace::message]
pub(crate) enum HostEvent {
    /// The first event: whatever happens behind it will follow.
    Subscribed,
    PluginLoaded {
        plugin: String,
    },
    PluginUnloaded {
        plugin: String,
        crashed: bool,
    },
    ConfigUpdated {
        plugin_id: u32,
        /// As in [`PluginConfig`].
        config_data: Vec<u8>,
    },
    /// The subscriber was too slow for so many events, which came before the next one.
    Missed {
        events: u64,
    },
    /// The last event.
    Shutdown,
}

#[rapace::message]
pub(crate) struct PluginConfig {
    pub(crate) plugin_id: u32,
    /// An [`AnalyticsConfig`] or a [`TransformConfig`].
    pub(crate) config_data: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AnalyticsConfig {
    pub(crate) window: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransformConfig {
    pub(crate) prefix: String,
    pub(crate) uppercase: bool,
}

#[rapace::message]
pub(crate) struct ProcessRequest {
    pub(crate) request_id: u64,
    pub(crate) operation: String,
    pub(crate) data: Vec<u8>,
}

#[rapace::message]
pub(crate) struct ProcessResponse {
    pub(crate) request_id: u64,
    pub(crate) success: bool,
    /// What came out, or why nothing did.
    pub(crate) result: Vec<u8>,
}

/// All services of both sides. Each side sends it in its hello; a method in which the other side differs is refused.
pub(crate) fn registry() -> Result<Registry, BuildError> {
    Services::new().calls::<HostServicesClient>().calls::<PluginApiClient>().registry()
}

impl fmt::Display for HostEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribed => f.write_str("subscribed"),
            Self::PluginLoaded { plugin } => write!(f, "plugin {plugin} is loaded"),
            Self::PluginUnloaded { plugin, crashed: false } => write!(f, "plugin {plugin} is unloaded"),
            Self::PluginUnloaded { plugin, crashed: true } => write!(f, "plugin {plugin} has crashed"),
            Self::ConfigUpdated { plugin_id, .. } => write!(f, "the configuration of plugin {plugin_id} has changed"),
            Self::Missed { events } => write!(f, "{events} events were missed"),
            Self::Shutdown => f.write_str("the host shuts down"),
        }
    }
}
