//! What an operator is told of plugins.

use std::fmt;

use rapace_macros::message;

/// A plugin, in short.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct PluginSummary {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub state: String,
    /// How well it does its work.
    pub health: HealthState,
    /// Its processes, and places that processes have had.
    pub instances: Vec<InstanceSummary>,
    /// How often a process of it was started in the place of another.
    pub restarts: u64,
    /// Lives that ended badly, and starts that came to nothing.
    pub crashes: u64,
}

/// One process of a plugin.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct InstanceSummary {
    /// Which it is, counted from 0 over all reloads.
    pub number: u32,
    /// Where it is in its life.
    pub state: String,
    /// Its process, while it runs and if it has one of its own.
    pub process_id: Option<u32>,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Calls of the host that it has yet to answer.
    pub calls_in_flight: u64,
}

/// How well somebody does his work.
#[message(crate = "rapace_service")]
#[derive(Copy, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// As he should.
    Healthy,
    /// Not all of it works.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// How a host is.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct HealthReport {
    /// As a whole.
    pub host: HealthState,
    /// Each plugin.
    pub plugins: Vec<PluginHealth>,
}

/// How a plugin is.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct PluginHealth {
    /// Its name.
    pub plugin: String,
    /// How well it does its work.
    pub health: HealthState,
    /// Whether it would take a call now.
    pub is_ready: bool,
    /// Whether the host can do without it.
    pub is_critical: bool,
}

/// All about a plugin.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct PluginDescription {
    /// In short.
    pub summary: PluginSummary,
    /// What it is: the path of its program, as a rule.
    pub program: String,
    /// What it says that it serves, while it runs.
    pub services: Vec<ServiceSummary>,
    /// The whole of that, in the form of `rapace_registry::Registry::to_bytes`; empty while it does not run.
    pub registry: Vec<u8>,
    /// What it may do, as JSON; a trusted one may do everything.
    pub permissions: Option<String>,
    /// What it may use, as JSON.
    pub limits: String,
    /// How the host looks after it, in words.
    pub supervision: String,
    /// Its breaker, if it has one.
    pub breaker: Option<String>,
    /// Its last crashes, the last of them last.
    pub crashes: Vec<CrashSummary>,
    /// What its processes are held by, of those that run.
    pub bounds: Vec<InstanceBounds>,
}

/// What one process of a plugin is held by.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct InstanceBounds {
    /// Which it is, counted from 0 over all reloads.
    pub number: u32,
    /// What of its sandbox holds, in words; none for one that is trusted.
    pub sandbox: Option<String>,
    /// What enforces its limits that the operating system can enforce, in words; none where it has no such limit.
    pub enforcement: Option<String>,
}

/// A service of a plugin.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its methods.
    pub methods: Vec<MethodSummary>,
}

/// A method of a plugin.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct MethodSummary {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// How a reader would write it, with its types.
    pub signature: String,
}

/// A crash.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct CrashSummary {
    /// When it was noticed, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The process, if it had one of its own.
    pub process_id: Option<u32>,
    /// The whole report, of several lines.
    pub report: String,
}
