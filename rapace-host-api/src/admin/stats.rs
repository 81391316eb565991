//! What an operator is told of counts.

use rapace_macros::message;

/// What is counted of a plugin over all its lives. Counts never go back while the host runs.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct PluginStats {
    /// Its name.
    pub plugin: String,
    /// Whether it is a part of the host's program that takes calls: direct calls of it are in nothing of this.
    pub is_built_in: bool,
    /// Lives that were begun: with a session, whatever became of it.
    pub starts: u64,
    /// How often a process of it was started in the place of another.
    pub restarts: u64,
    /// Lives that ended badly, and starts that came to nothing.
    pub crashes: u64,
    /// Versions that have taken the place of the one before.
    pub reloads: u64,
    /// Its calls, by method, those of the host first.
    pub methods: Vec<MethodStats>,
    /// Calls of the host that were not sent, by code.
    pub refused: Vec<(String, u64)>,
    /// How often it would have used more than it may, by limit; those that it kept to are left out.
    pub overruns: Vec<(String, u64)>,
    /// Milliseconds of a processor that its processes have used; none when it had none of its own.
    pub cpu_ms: Option<u64>,
    /// What its processes use now; none when none of its own runs.
    pub usage: Option<Usage>,
    /// Events that it has published.
    pub events_published: u64,
    /// Events that its subscriptions have taken.
    pub events_delivered: u64,
    /// Events that its subscriptions were too slow for.
    pub events_missed: u64,
    /// Of each process that runs.
    pub sessions: Vec<SessionStats>,
}

/// The calls of one method, in one direction.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct MethodStats {
    /// Who makes them: `host` or `plugin`.
    pub side: String,
    /// The method: `service.method`, or its number where nobody describes it.
    pub method: String,
    /// Calls that went well.
    pub ok: u64,
    /// Calls that failed, by code.
    pub errors: Vec<(String, u64)>,
    /// Calls that have not ended.
    pub in_flight: u64,
    /// Bytes of requests, and of the items that go with them.
    pub request_bytes: u64,
    /// Bytes of replies, and of the items that come with them.
    pub reply_bytes: u64,
    /// How long calls took; none before one was timed.
    pub latency: Option<LatencySummary>,
}

/// How long calls took, in nanoseconds: estimates.
#[message(crate = "rapace_service")]
#[derive(Copy, Eq)]
pub struct LatencySummary {
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// Nine of ten.
    pub p90_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// All of them.
    pub max_ns: u64,
}

/// What processes use now, with all that they have started where the host can tell.
#[message(crate = "rapace_service")]
#[derive(Copy, Eq)]
pub struct Usage {
    /// Milliseconds of a processor since they started.
    pub cpu_ms: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
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
