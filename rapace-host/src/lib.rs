//! Runs plugins: finds and verifies their programs, starts, initialises, supervises, reloads and ends them.
//!
//! A [`PluginHost`] loads plugins; a [`PluginHandle`] is one of them, over all its lives: a restarted plugin has another
//! process and another segment, and keeps its handle. No thread belongs to a plugin. One thread of the host reads what
//! all plugins print, and one attends to those that nobody waits for; calls run on the threads that make them.
//!
//! ```text
//!   HostConfig, Deployment       a host from a file, and the directories that it follows
//!   Discovery, Watcher           programs in directories
//!   PluginHost, PluginHandle     what a user holds
//!     supervisor.rs              does what the lifecycle asks for
//!       lifecycle.rs             states and events, as a pure function
//!     instance.rs                one life of a plugin: its process, its session, its end
//!       limits.rs                what the operating system holds the process to
//!     changes.rs                 who is told of states
//!     output.rs, tail.rs         what plugins print
//!     log_tail.rs, crash.rs      what is kept of it, and of how they ended
//!     services.rs                what the host does for plugins: its log, its events
//!   AdminPoint                   where an operator connects
//!   rapace_session::CallerSlot   leads calls to whichever process is there
//! ```
//!
//! ```no_run
//! use rapace_host::{PluginHost, PluginSpec};
//! use rapace_session::{CallOptions, Config};
//!
//! let host = PluginHost::builder(Config::new("my-host", "1.0.0")).build()?;
//! let shout = host.load(PluginSpec::new("shout", "/usr/lib/my-host/shout"))?;
//! let reply = shout.call(1, b"hello", &CallOptions::new())?;
//! assert_eq!(&*reply.body, b"HELLO");
//! host.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The log
//!
#![doc = include_str!("log.md")]
#![forbid(unsafe_code)]

mod builder;
mod config;
mod contract;
mod deployment;
mod discovery;
mod document;
mod host;
mod limits;
mod manifest;
mod permissions;
mod plugin;
mod policy;
mod program;
mod sandbox;
mod scope;
mod spec;

mod admin;
mod attach;
mod attendance;
mod breaker;
mod built_in;
mod calls;
mod changes;
mod crash;
mod ending;
mod escaped;
mod gate;
mod health;
mod history;
mod instance;
mod kind;
mod lifecycle;
mod log_tail;
mod look;
mod meter;
mod metrics;
mod offers;
mod output;
mod permitted;
mod plugin_log;
mod reload;
mod restarts;
mod seat;
mod services;
mod signals;
mod start;
mod supervisor;
mod tail;

pub use admin::{AdminPoint, AdminPointError};
pub use attach::JoinPoint;
pub use breaker::BreakerState;
pub use builder::{BuildError, PluginHostBuilder, ShutdownTimes};
pub use config::{
    AdminConfig, BackoffOverrides, BreakerOverrides, RestartLimitOverrides, SupervisionOverrides, Switch,
};
pub use config::{Binding, ConfigError, ContractConfig, DiscoveryConfig, EventsConfig, HostConfig, MemoryConfig};
pub use config::{CallLogging, CallRate, CallRules, CallsConfig, Token};
pub use config::{BackoffOverrides, BreakerOverrides, RestartLimitOverrides, SupervisionOverrides, Switch};
pub use config::{Binding, ConfigError, ContractConfig, DiscoveryConfig, HostConfig, MemoryConfig, MetricsConfig};
pub use config::{PluginConfig, PluginSettings, SettingsError, StorageConfig};
pub use contract::{Contract, ContractError, Member};
pub use crash::{CallAtEnd, CallsAtEnd, CrashReport, SegmentAtEnd};
pub use deployment::{DeployError, Deployment};
pub use discovery::{
    AskError, Capabilities, CapabilitiesFault, Description, Discovery, FileError, Found, MethodCapability,
    PluginChange, Rejected, Rejection, Scan, ServiceCapability, ServiceProvider, WatchError, Watcher,
};
pub use document::Problem;
pub use ending::{Ending, ShutdownReport};
pub use health::Health;
pub use host::PluginHost;
pub use kind::{Connection, NewLife, PluginKind};
pub use lifecycle::{PluginAction, PluginEvent, PluginState, StateChange, state_diagram};
pub use limits::{Enforcement, Means, Overrun, Usage};
pub use manifest::{Manifest, ManifestError};
#[cfg(feature = "prometheus")]
pub use metrics::MetricsEndpoint;
pub use metrics::{CallerSide, CodeName, HostSnapshot, MethodStats, OTHER_METHODS, PluginStats, Room, Traffic};
pub use output::{OutputLine, Stream};
pub use permissions::{Permissions, PluginLimits, SharedStorage, SyscallProfile};
pub use plugin::{InstanceInfo, PluginHandle};
pub use plugin_log::LogEntry;
pub use policy::{Backoff, Breaker, RestartLimit, RestartPolicy, Supervision, Unresponsive};
pub use program::{Program, ProgramError};
pub use reload::ReloadError;
pub use sandbox::{Mechanism, Protection, SandboxReport, Unconfined};
pub use scope::{Limit, PluginScope};
#[cfg(feature = "storage")]
pub use services::storage::{PluginStorage, Storage, StorageOpenError};
pub use services::{Events, Logger, PluginEvents, PluginLogger, Subscription};
pub use signals::{EndSignal, EndSignals};
pub use spec::{INHERITED_VARIABLES, PluginSpec};
pub use start::{StartCause, StartError};
