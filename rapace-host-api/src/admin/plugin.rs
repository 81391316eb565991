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

/// What is counted of a plugin.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct PluginStats {
    /// Its name.
    pub plugin: String,
    /// How often a process of it was started in the place of another.
    pub restarts: u64,
    /// Lives that ended badly, and starts that came to nothing.
    pub crashes: u64,
    /// How often it would have used more than it may, by limit; those that it kept to are left out.
    pub overruns: Vec<(String, u64)>,
    /// Of each process that runs.
    pub sessions: Vec<SessionStats>,
}

/// What is counted of the session of a process.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct SessionStats {
    /// Which of the plugin's processes, counted from 0 over all reloads.
    pub instance: u32,
    /// Calls of the host in flight.
    pub calls_in_flight: u64,
    /// Calls of the plugin in flight.
    pub served_in_flight: u64,
    /// Frames to the plugin.
    pub frames_sent: u64,
    /// Frames from it.
    pub frames_received: u64,
    /// Wake-ups sent to it.
    pub bells_sent: u64,
    /// Wake-ups that it did not need.
    pub bells_saved: u64,
    /// Frames in the ring that it has yet to take.
    pub ring_used: u32,
    /// Frames that the ring takes.
    pub ring_capacity: u32,
    /// Slots of the host that are free.
    pub slots_free: u32,
    /// Slots of the host.
    pub slot_count: u32,
    /// Bytes of messages from it that are kept.
    pub inbound_bytes: u64,
    /// Bytes that wait for it to make room.
    pub outbound_bytes: u64,
    /// Rules that it broke.
    pub faults: u32,
}
