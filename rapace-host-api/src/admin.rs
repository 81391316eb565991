//! What a host's operator asks of it, and tells it to do, by its admin socket.

mod error;
mod log;
mod plugin;
mod request;
mod stats;
mod stored;

use rapace_macros::service;
use rapace_service::Stream;

pub use error::AdminError;
pub use log::{LogItem, LogLine, LogQuery, LogSource};
pub use plugin::{
    CrashSummary, HealthReport, HealthState, InstanceBounds, InstanceSummary, MethodSummary, PluginDescription,
    PluginHealth, PluginSummary, ServiceSummary,
};
pub use request::{CallReply, CallRequest, RemoveRequest};
pub use stats::{LatencySummary, MethodStats, PluginStats, SessionStats, Usage};
pub use stored::StoredSummary;

/// Tells of a host's plugins, and does with them what an operator wants. Who asks, the host knows by itself, and logs with
/// each action.
///
/// An action that was begun is done, also if its call is cancelled.
#[service(name = "rapace.Admin", version = "1.0", provider = "host", crate = "rapace_service")]
pub trait Admin {
    /// All plugins, in the order in which they were loaded.
    #[method(id = 1100)]
    async fn list(&self) -> Vec<PluginSummary>;

    /// All about one plugin.
    #[method(id = 1101, name = "describe")]
    async fn about(&self, plugin: &str) -> Result<PluginDescription, AdminError>;

    /// What is counted, of this plugin or of all.
    #[method(id = 1102)]
    async fn stats(&self, plugin: Option<String>) -> Result<Vec<PluginStats>, AdminError>;

    /// The last lines that plugins have printed and logged, and what follows if that is asked for.
    #[method(id = 1103)]
    fn logs(&self, query: LogQuery) -> impl Stream<Item = Result<LogItem, AdminError>>;

    /// Calls a method of a plugin, with JSON both ways.
    #[method(id = 1104)]
    async fn call(&self, request: CallRequest) -> Result<CallReply, AdminError>;

    /// Shuts a plugin down, as the host does it; says how it ended. Nothing but an operator starts it again.
    #[method(id = 1105)]
    async fn stop(&self, plugin: &str) -> Result<String, AdminError>;

    /// Starts a plugin that does not run.
    #[method(id = 1106)]
    async fn start(&self, plugin: &str) -> Result<(), AdminError>;

    /// Shuts a plugin down, if it runs, and starts it anew. Its calls wait meanwhile.
    #[method(id = 1107)]
    async fn restart(&self, plugin: &str) -> Result<(), AdminError>;

    /// Puts a plugin's program, as it is now, in the place of the one that runs. No call is lost.
    #[method(id = 1108)]
    async fn reload(&self, plugin: &str) -> Result<(), AdminError>;

    /// How the host is, and each of its plugins.
    #[method(id = 1109)]
    async fn health(&self) -> HealthReport;

    /// The plugins that have values of their own in the host's storage, by name, whether or not they are there.
    #[method(id = 1110)]
    async fn stored(&self) -> Result<Vec<StoredSummary>, AdminError>;

    /// Removes what a plugin has stored of its own, and says what that was. It is refused while the plugin runs, unless it is
    /// to be done nevertheless.
    #[method(id = 1111)]
    async fn remove_stored(&self, request: RemoveRequest) -> Result<StoredSummary, AdminError>;
}
