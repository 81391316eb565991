//! Plugins in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use rapace_host_api::admin::{LatencySummary, MethodStats, PluginStats, SessionStats, Usage};
use rapace_session::Latency;

use super::describe::{millis, wide};
use crate::metrics;
use crate::plugin::PluginHandle;

/// What is counted of a plugin, as its [`stats`](PluginHandle::stats) say.
pub(super) fn stats(plugin: &PluginHandle) -> PluginStats {
    told(plugin.stats(), sessions(plugin))
}

fn told(counted: metrics::PluginStats, sessions: Vec<SessionStats>) -> PluginStats {
    PluginStats {
        plugin: counted.plugin,
        is_built_in: counted.is_built_in,
        starts: counted.starts,
        restarts: counted.restarts,
        crashes: counted.crashes,
        reloads: counted.reloads,
        methods: counted.methods.into_iter().map(method).collect(),
        refused: listed(counted.refused),
        overruns: listed(counted.overruns),
        cpu_ms: counted.cpu.map(millis),
        usage: counted.usage.map(|usage| Usage {
            cpu_ms: millis(usage.cpu),
            memory_bytes: usage.memory_bytes,
            processes: usage.processes,
        }),
        events_published: counted.events.published,
        events_delivered: counted.events.delivered,
        events_missed: counted.events.missed,
        sessions,
    }
}

fn method(counted: metrics::MethodStats) -> MethodStats {
    MethodStats {
        side: counted.side.name().to_owned(),
        latency: summary(&counted.latency),
        method: counted.method,
        ok: counted.ok,
        errors: listed(counted.errors),
        in_flight: counted.in_flight,
        request_bytes: counted.request_bytes,
        reply_bytes: counted.reply_bytes,
    }
}

fn summary(latency: &Latency) -> Option<LatencySummary> {
    let quantile = |per_mille| latency.quantile(per_mille).map(nanos);
    Some(LatencySummary {
        p50_ns: quantile(500)?,
        p90_ns: quantile(900)?,
        p99_ns: quantile(990)?,
        max_ns: quantile(1000)?,
    })
}

/// Those that there were.
fn listed(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn sessions(plugin: &PluginHandle) -> Vec<SessionStats> {
    let sessions = plugin.0.instances().map(|(seat, instance)| {
        let (stats, condition) = (instance.session.stats(), instance.session.condition());
        SessionStats {
            instance: seat.number,
            calls_in_flight: wide(stats.calls_in_flight),
            served_in_flight: wide(stats.served_in_flight),
            frames_sent: stats.link.frames_sent,
            frames_received: stats.link.frames_received,
            bells_sent: stats.link.bells_sent,
            bells_saved: stats.link.bells_saved,
            ring_used: condition.ring_used.unwrap_or_default(),
            ring_capacity: condition.ring_capacity,
            slots_free: stats.slots_free,
            slot_count: condition.slot_count,
            inbound_bytes: wide(stats.inbound_bytes),
            outbound_bytes: wide(stats.outbound_bytes),
            faults: stats.faults,
        }
    });
    sessions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_counted_is_told() {
        let text = |text: &str| text.to_owned();
        let told = told(metrics::tests::stats(), Vec::new());
        assert_eq!((told.starts, told.restarts, told.crashes, told.reloads), (3, 1, 1, 1));
        assert_eq!((told.plugin, told.is_built_in), (text("shout"), false));
        assert_eq!((told.refused, told.overruns), (vec![(text("Unavailable"), 4)], vec![(text("log_rate"), 2)]));
        assert_eq!((told.events_published, told.events_delivered, told.events_missed), (11, 12, 13));
        assert_eq!(told.cpu_ms, Some(12_345));
        assert_eq!(told.usage, Some(Usage { cpu_ms: 2345, memory_bytes: 50 << 20, processes: 3 }));
        let [up, unknown] = &told.methods[..] else { panic!("{:?}", told.methods) };
        assert_eq!((&*up.side, &*up.method, up.ok, up.in_flight), ("host", "demo.Shout.up", 3, 1));
        assert_eq!((up.request_bytes, up.reply_bytes, &up.errors), (50, 35, &vec![(text("NotFound"), 2)]));
        let LatencySummary { p50_ns, p90_ns, p99_ns, max_ns } = up.latency.unwrap();
        assert_eq!([p50_ns, p90_ns, p99_ns, max_ns], [3072, 917_504, 917_504, 917_504]);
        assert_eq!((&*unknown.side, &*unknown.method, unknown.latency), ("plugin", "77", None));
    }
}
