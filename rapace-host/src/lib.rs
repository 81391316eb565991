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
//!     metrics.rs                 what is counted, and who may read it
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
//! # Metrics
//!
//! A host counts the calls of its plugins in both directions, and what becomes of their processes, over all their lives. It is
//! read by [`PluginHandle::stats`] and [`PluginHost::snapshot`]; given to a recorder of the `metrics` crate by
//! [`HostSnapshot::record`], whenever somebody is about to look; and scraped by Prometheus with the feature `prometheus`
//! (`PluginHost::serve_metrics`, or `[metrics] listen` in the configuration). The names are the same. Each metric has the label
//! `plugin`; those of methods have `side`, which says who makes the call (`host` or `plugin`), and `method`.
//!
//! | name | labels | what it is |
//! |---|---|---|
//! | `rapace_calls_total` | `side`, `method`, `code` | calls that have ended, `code="Ok"` or the code of their failure |
//! | `rapace_calls_in_flight` | `side`, `method` | calls that have not |
//! | `rapace_request_bytes_total`, `rapace_reply_bytes_total` | `side`, `method` | bytes of bodies and items |
//! | `rapace_call_duration_seconds` | `side`, `method` | a histogram, estimated as [`MethodStats::latency`] says; for a recorder, gauges with `quantile` |
//! | `rapace_calls_refused_total` | `code` | calls of the host that were not sent |
//! | `rapace_plugin_state` | `state` | 1 for the present state, 0 for all others |
//! | `rapace_breaker_state` | `state` | the same, if there is a breaker |
//! | `rapace_plugin_processes` | | processes that run |
//! | `rapace_plugin_cpu_seconds_total` | | a processor's time that processes have used; for a recorder, a gauge |
//! | `rapace_plugin_memory_bytes`, `rapace_plugin_processes_and_threads` | | what processes use now, as [`PluginHandle::usage`] tells; none when none runs |
//! | `rapace_plugin_starts_total`, `rapace_plugin_restarts_total`, `rapace_plugin_crashes_total`, `rapace_plugin_reloads_total` | | lives that began, that began in the place of one before, that ended badly or failed to begin; new versions |
//! | `rapace_plugin_faults_total` | | rules of the protocol that were broken |
//! | `rapace_overruns_total` | `limit` | times that more was wanted than a limit allows |
//! | `rapace_events_published_total`, `rapace_events_delivered_total`, `rapace_events_missed_total` | | events that the plugin has published, and those that its subscriptions have taken or were too slow for |
//! | `rapace_output_lines_total` | `stream` | lines that were printed |
//! | `rapace_frames_sent_total`, `rapace_frames_received_total`, `rapace_no_room_total` | | frames, and times that there was no room for one |
//! | `rapace_wakeups_sent_total`, `rapace_wakeups_saved_total`, `rapace_wakeups_received_total`, `rapace_sleeps_total` | | wake-ups, each a system call, and those that were not necessary; sleeps of the host |
//! | `rapace_ring_used`, `rapace_ring_capacity` | | descriptors that the plugin has yet to take, as far as it has said so, and all |
//! | `rapace_slots_free`, `rapace_slots`, `rapace_runs_held` | | slots of the host; runs of the plugin's that the host holds |
//! | `rapace_inbound_bytes`, `rapace_outbound_bytes`, `rapace_handlers` | | what is kept of its messages, what waits for it, handlers of its calls that wait |
//!
//! Calls of a built-in plugin by typed clients are calls of functions, and to count one would take as long as the call: they
//! have no rows in this ([`PluginStats::is_built_in`] says of which plugins that is so). Who wants them counted asks for it by
//! [`CallRules::metrics`], and finds them in [`PluginHandle::call_metrics`].

#![forbid(unsafe_code)]

mod builder;
mod complaint;
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

mod absence;
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
mod socket_directory;
mod start;
mod starts;
mod supervisor;
mod tail;

pub use admin::{AdminPoint, AdminPointError};
pub use attach::{JoinPoint, JoinPointError};
pub use breaker::BreakerState;
pub use builder::{BuildError, PluginHostBuilder, ShutdownTimes};
pub use config::{
    AdminConfig, BackoffOverrides, BreakerOverrides, RestartLimitOverrides, SupervisionOverrides, Switch,
};
pub use config::{
    Binding, Ceiling, ConfigError, ContractConfig, DiscoveryConfig, EventsConfig, HostConfig, MemoryConfig,
    MetricsConfig,
};
pub use config::{CallLogging, CallRate, CallRules, CallsConfig, Token};
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
pub use metrics::{
    CallerSide, CodeName, EventStats, HostSnapshot, MethodStats, OTHER_METHODS, PluginStats, Room, Traffic,
};
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
pub use services::storage::{PluginStorage, RemoveError, Storage, StorageOpenError, Stored, WhileRunning};
pub use services::{Events, Logger, PluginEvents, PluginLogger, Subscription};
pub use signals::{EndSignal, EndSignals};
pub use socket_directory::SocketDirectoryError;
pub use spec::{INHERITED_VARIABLES, PluginSpec};
pub use start::{StartCause, StartError};
