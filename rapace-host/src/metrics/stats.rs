//! What a host has counted of its plugins, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use rapace_session::{Code, Latency};
use serde::{Deserialize, Serialize};

use crate::breaker::BreakerState;
use crate::lifecycle::PluginState;
use crate::limits::Usage;

/// What a host has counted of all its plugins. Its display is a text for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostSnapshot {
    /// The host's name.
    pub host: String,
    /// Its plugins, in the order in which they were loaded.
    pub plugins: Vec<PluginStats>,
}

/// What is counted of one plugin, over all its lives: counts never go back, neither by a restart nor by a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PluginStats {
    /// Its name.
    pub plugin: String,
    /// Where it is in its life; of several processes, where the one is that is nearest to taking calls.
    pub state: PluginState,
    /// Its breaker, if it has one.
    pub breaker: Option<BreakerState>,
    /// Whether it is a part of the host's program that takes calls. Calls of it by typed clients are calls of functions, and
    /// to count one would take as long as the call: they are in nothing of this, unless
    /// [`CallRules::metrics`](crate::CallRules::metrics) asks for it, and then in
    /// [`PluginHandle::call_metrics`](crate::PluginHandle::call_metrics).
    pub is_built_in: bool,
    /// Processes that run.
    pub processes: u64,
    /// What they use now; none when none of its own runs.
    pub usage: Option<Usage>,
    /// A processor's time that its processes have used; none when it had none of its own. What one uses between a look and its
    /// end is known if the end is: where it leaves others behind that no cgroup holds, theirs is not.
    pub cpu: Option<Duration>,
    /// Lives that were begun: with a session, whatever became of it.
    pub starts: u64,
    /// Of those, how many in the place of one before.
    pub restarts: u64,
    /// Lives that ended badly, and starts that came to nothing.
    pub crashes: u64,
    /// Versions that have taken the place of the one before.
    pub reloads: u64,
    /// Its calls, by method, those of the host first.
    pub methods: Vec<MethodStats>,
    /// Calls of the host that were not sent, by code: its breaker was open, it did not run, there was no room, they were too
    /// large.
    pub refused: BTreeMap<CodeName, u64>,
    /// How often it would have used more than it may, by limit.
    pub overruns: BTreeMap<String, u64>,
    /// Its events.
    pub events: EventStats,
    /// What passed between it and the host, from the beginning.
    pub traffic: Traffic,
    /// How much room there is at present, of all its processes together.
    pub room: Room,
    /// Lines that it has printed to standard output.
    pub stdout_lines: u64,
    /// Lines that it has printed to standard error.
    pub stderr_lines: u64,
}

/// The calls of one method, in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodStats {
    /// Who makes them.
    pub side: CallerSide,
    /// The method, as the callee describes it: `service.method`, or its id where it does not. Methods that nobody describes are
    /// [`OTHER_METHODS`] beyond the first 64.
    pub method: String,
    /// Its id; none for those together.
    pub id: Option<u32>,
    /// Calls that went well.
    pub ok: u64,
    /// Calls that failed, by code. A call that its caller gave up is `Cancelled`, or `DeadlineExceeded` if its time was over; one
    /// that has lost its session is `Unavailable`, and so is one that is made again with another.
    pub errors: BTreeMap<CodeName, u64>,
    /// Calls that have not ended.
    pub in_flight: u64,
    /// Bytes of the bodies of requests, and of the items that go with them.
    pub request_bytes: u64,
    /// Bytes of the bodies of replies, and of the items that come with them. Errors have none.
    pub reply_bytes: u64,
    /// How long calls took: see [`MethodCounts::latency`](rapace_session::MethodCounts::latency), which says how its numbers come
    /// about.
    pub latency: Latency,
}

/// The name of a code, such as `NotFound`.
pub type CodeName = String;

/// The method of those that are too many to be counted by themselves.
pub const OTHER_METHODS: &str = "other";

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerSide {
    /// The host calls the plugin.
    Host,
    /// The plugin calls the host.
    Plugin,
}

impl CallerSide {
    /// Its name, as in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Plugin => "plugin",
        }
    }
}

/// The events of a plugin, as far as the host's [`Events`](crate::Events) serve it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventStats {
    /// Those that it has published.
    pub published: u64,
    /// Those that its subscriptions have taken.
    pub delivered: u64,
    /// Those that its subscriptions were too slow for.
    pub missed: u64,
}

/// What passed between a plugin and its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Traffic {
    /// Frames to it.
    pub frames_sent: u64,
    /// Frames from it.
    pub frames_received: u64,
    /// Times that there was no room for a frame to it.
    pub no_room: u64,
    /// Wake-ups of it: each is a system call.
    pub wakeups_sent: u64,
    /// Wake-ups that were not necessary, because it was awake.
    pub wakeups_saved: u64,
    /// Wake-ups by it.
    pub wakeups_received: u64,
    /// Times that the host has slept on it.
    pub sleeps: u64,
    /// Rules that it broke.
    pub faults: u64,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Room {
    /// Descriptors that the plugin has yet to take, as far as it has said so, which it does for half a ring at a time.
    pub ring_used: u64,
    /// Descriptors that there are.
    pub ring_capacity: u64,
    /// Slots of the host that are free.
    pub slots_free: u64,
    /// Slots of the host.
    pub slots: u64,
    /// Runs of the plugin's slots that the host holds.
    pub runs_held: u64,
    /// Bytes of messages from the plugin that are kept.
    pub inbound_bytes: u64,
    /// Bytes that wait for the plugin to make room.
    pub outbound_bytes: u64,
    /// Handlers of the plugin's calls that wait for something.
    pub handlers: u64,
}

impl MethodStats {
    /// Of a method that was not called.
    pub(crate) fn new(side: CallerSide, method: String, id: Option<u32>) -> Self {
        Self {
            side,
            method,
            id,
            ok: 0,
            errors: BTreeMap::new(),
            in_flight: 0,
            request_bytes: 0,
            reply_bytes: 0,
            latency: Latency::new(),
        }
    }

    /// Calls that have ended.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.ok + self.failed()
    }

    /// Calls that have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Calls that have failed with this code.
    #[must_use]
    pub fn failed_with(&self, code: Code) -> u64 {
        self.errors.get(&code.to_string()).copied().unwrap_or_default()
    }
}

impl PluginStats {
    /// The calls of a method, by its name in this, as far as there were any.
    #[must_use]
    pub fn method(&self, side: CallerSide, method: &str) -> Option<&MethodStats> {
        self.methods.iter().find(|stats| stats.side == side && stats.method == method)
    }
}

impl HostSnapshot {
    /// The plugin of that name.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<&PluginStats> {
        self.plugins.iter().find(|stats| stats.plugin == name)
    }
}
