//! What a host counts of its plugins, and how that is read: as data, by the `metrics` facade, and by Prometheus.
//!
//! Sessions count their calls themselves, under the lock that they hold anyway. The ledger of a plugin keeps what was counted
//! when a life ends. Nothing else is done until somebody asks: a snapshot goes through the plugins, and everything that is
//! read follows from it.

#[cfg(feature = "prometheus")]
mod endpoint;
mod families;
mod ledger;
mod record;
mod shown;
mod stats;
#[cfg(feature = "prometheus")]
mod text;

#[cfg(feature = "prometheus")]
pub use endpoint::MetricsEndpoint;
pub(crate) use ledger::Ledger;
pub use stats::{
    CallerSide, CodeName, EventStats, HostSnapshot, MethodStats, OTHER_METHODS, PluginStats, Room, Traffic,
};

use parking_lot::Mutex;

use crate::host::{PluginHost, Plugins};
use crate::plugin::PluginHandle;
use crate::scope::Limit;

impl PluginHandle {
    /// What is counted of it, over all its lives.
    #[must_use]
    pub fn stats(&self) -> PluginStats {
        let (shared, history) = (&self.0, &self.0.history);
        // Before what follows is read: each counts what it finds.
        let (scope, usage) = (self.scope(), self.usage());
        let overruns = Limit::ALL.map(|limit| (limit.name().to_owned(), scope.overruns(limit)));
        let totals = shared.ledger.totals();
        PluginStats {
            plugin: self.name().to_owned(),
            state: self.state(),
            breaker: self.breaker(),
            is_built_in: shared.spec().kind.built_in().is_some(),
            processes: shared.instances().count() as u64,
            usage,
            cpu: totals.cpu,
            starts: history.starts(),
            restarts: history.restarts(),
            crashes: history.crash_count(),
            reloads: history.reloads(),
            refused: shared.gate.refused().map(|(code, count)| (code.to_string(), count)).collect(),
            overruns: overruns.into(),
            events: scope.events.stats(),
            traffic: totals.traffic,
            room: totals.room,
            stdout_lines: totals.lines[0],
            stderr_lines: totals.lines[1],
            methods: totals.methods(),
        }
    }
}

impl PluginHost {
    /// What is counted of all plugins that are loaded. It takes each session's lock for a moment.
    #[must_use]
    pub fn snapshot(&self) -> HostSnapshot {
        snapshot_of(&self.context.config.name, &self.plugins)
    }
}

fn snapshot_of(host: &str, plugins: &Mutex<Plugins>) -> HostSnapshot {
    let plugins = plugins.lock().loaded();
    HostSnapshot { host: host.to_owned(), plugins: plugins.iter().map(PluginHandle::stats).collect() }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use rapace_session::Latency;

    use super::*;
    use crate::breaker::BreakerState;
    use crate::lifecycle::PluginState;
    use crate::limits::Usage;

    /// A plugin that has something of everything.
    pub(crate) fn stats() -> PluginStats {
        let mut latency = Latency::new();
        for (micros, calls) in [(3, 3), (900, 2)] {
            latency.add(Duration::from_micros(micros), calls);
        }
        let up = MethodStats {
            ok: 3,
            errors: [("NotFound".to_owned(), 2)].into(),
            in_flight: 1,
            request_bytes: 50,
            reply_bytes: 35,
            latency,
            ..MethodStats::new(CallerSide::Host, "demo.Shout.up".to_owned(), Some(7))
        };
        let mut usage = Usage::default();
        (usage.cpu, usage.memory_bytes, usage.processes) = (Duration::from_millis(2345), 50 << 20, 3);
        PluginStats {
            plugin: "shout".to_owned(),
            state: PluginState::Running,
            breaker: Some(BreakerState::Closed),
            is_built_in: false,
            processes: 1,
            usage: Some(usage),
            cpu: Some(Duration::from_millis(12_345)),
            starts: 3,
            restarts: 1,
            crashes: 1,
            reloads: 1,
            methods: vec![up, MethodStats::new(CallerSide::Plugin, "77".to_owned(), Some(77))],
            refused: [("Unavailable".to_owned(), 4)].into(),
            overruns: [("log_rate".to_owned(), 2), ("memory".to_owned(), 0)].into(),
            events: EventStats { published: 11, delivered: 12, missed: 13 },
            traffic: Traffic {
                frames_sent: 10,
                frames_received: 20,
                no_room: 6,
                wakeups_sent: 3,
                wakeups_saved: 4,
                wakeups_received: 5,
                sleeps: 6,
                faults: 8,
            },
            room: Room {
                ring_used: 1,
                ring_capacity: 64,
                slots_free: 400,
                slots: 511,
                runs_held: 2,
                inbound_bytes: 3,
                outbound_bytes: 4,
                handlers: 5,
            },
            stdout_lines: 7,
            stderr_lines: 9,
        }
    }

    #[test]
    fn a_snapshot_is_read_back_as_it_was_stored() {
        let snapshot = HostSnapshot { host: "demo".to_owned(), plugins: vec![stats()] };
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<HostSnapshot>(&json).unwrap(), snapshot, "{json}");
    }
}
