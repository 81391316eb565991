//! The metrics that a host offers: their names, what they mean, and how they follow from a snapshot.

use std::time::Duration;

use rapace_session::Latency;

use super::stats::{MethodStats, PluginStats};
use crate::breaker::BreakerState;
use crate::lifecycle::PluginState;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Seconds, which only grow.
    Seconds,
    /// Times.
    Histogram,
}

/// What it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Number(u64),
    Time(Duration),
    Latency(&'a Latency),
}

/// The labels of a value beside its plugin.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];
/// Told of each value.
type Tell<'a> = dyn FnMut(Labels<'_>, Value<'_>) + 'a;

/// All values of one name.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// The values of one plugin.
    pub(crate) values: fn(&PluginStats, &mut Tell<'_>),
}

impl Family {
    const fn counter(name: &'static str, help: &'static str, values: fn(&PluginStats, &mut Tell<'_>)) -> Self {
        Self { name, kind: Kind::Counter, help, values }
    }

    const fn gauge(name: &'static str, help: &'static str, values: fn(&PluginStats, &mut Tell<'_>)) -> Self {
        Self { name, kind: Kind::Gauge, help, values }
    }
}

/// All of them.
pub(crate) static FAMILIES: [Family; 37] = [
    Family::counter("rapace_calls_total", "Calls that have ended, by who made them, method and code.", calls),
    Family::gauge("rapace_calls_in_flight", "Calls that have not ended.", |stats, tell| {
        of_methods(stats, tell, |method| method.in_flight);
    }),
    Family::counter("rapace_request_bytes_total", "Bytes of requests and of the items with them.", |stats, tell| {
        of_methods(stats, tell, |method| method.request_bytes);
    }),
    Family::counter("rapace_reply_bytes_total", "Bytes of replies and of the items with them.", |stats, tell| {
        of_methods(stats, tell, |method| method.reply_bytes);
    }),
    Family {
        name: "rapace_call_duration_seconds",
        kind: Kind::Histogram,
        help: "How long calls took; an estimate where calls come fast, of one timed call in 64.",
        values: |stats, tell| {
            for method in &stats.methods {
                tell(&of_method(method), Value::Latency(&method.latency));
            }
        },
    },
    Family::counter("rapace_calls_refused_total", "Calls of the host that were not sent, by code.", |stats, tell| {
        stats.refused.iter().for_each(|(code, count)| tell(&[("code", code)], Value::Number(*count)));
    }),
    Family::gauge("rapace_plugin_state", "1 for the state that the plugin is in.", |stats, tell| {
        for state in PluginState::ALL {
            tell(&[("state", &state.to_string())], Value::Number((state == stats.state).into()));
        }
    }),
    Family::gauge("rapace_breaker_state", "1 for the state that the breaker is in.", |stats, tell| {
        let Some(is) = stats.breaker else { return };
        for state in [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen] {
            tell(&[("state", &format!("{state:?}"))], Value::Number((state == is).into()));
        }
    }),
    Family::gauge("rapace_plugin_processes", "Processes that run.", |stats, tell| one(stats.processes, tell)),
    Family {
        name: "rapace_plugin_cpu_seconds_total",
        kind: Kind::Seconds,
        help: "A processor's time that was used.",
        values: |stats, tell| stats.cpu.into_iter().for_each(|cpu| tell(&[], Value::Time(cpu))),
    },
    Family::gauge("rapace_plugin_memory_bytes", "Bytes of memory in use.", |stats, tell| {
        stats.usage.iter().for_each(|usage| one(usage.memory_bytes, tell));
    }),
    Family::gauge("rapace_plugin_processes_and_threads", "Processes and threads that run.", |stats, tell| {
        stats.usage.iter().for_each(|usage| one(usage.processes, tell));
    }),
    Family::counter("rapace_plugin_starts_total", "Lives that were begun.", |stats, tell| one(stats.starts, tell)),
    Family::counter("rapace_plugin_restarts_total", "Lives in the place of one before.", |stats, tell| {
        one(stats.restarts, tell);
    }),
    Family::counter("rapace_plugin_crashes_total", "Lives that ended badly, and failed starts.", |stats, tell| {
        one(stats.crashes, tell);
    }),
    Family::counter("rapace_plugin_reloads_total", "Versions that replaced the one before.", |stats, tell| {
        one(stats.reloads, tell);
    }),
    Family::counter("rapace_plugin_faults_total", "Rules of the protocol that were broken.", |stats, tell| {
        one(stats.traffic.faults, tell);
    }),
    Family::counter("rapace_overruns_total", "Times that more was wanted than a limit allows.", |stats, tell| {
        stats.overruns.iter().for_each(|(limit, count)| tell(&[("limit", limit)], Value::Number(*count)));
    }),
    Family::counter("rapace_events_published_total", "Events that were published.", |stats, tell| {
        one(stats.events.published, tell);
    }),
    Family::counter("rapace_events_delivered_total", "Events that subscriptions have taken.", |stats, tell| {
        one(stats.events.delivered, tell);
    }),
    Family::counter("rapace_events_missed_total", "Events that subscriptions were too slow for.", |stats, tell| {
        one(stats.events.missed, tell);
    }),
    Family::counter("rapace_output_lines_total", "Lines that were printed.", |stats, tell| {
        tell(&[("stream", "stdout")], Value::Number(stats.stdout_lines));
        tell(&[("stream", "stderr")], Value::Number(stats.stderr_lines));
    }),
    Family::counter("rapace_frames_sent_total", "Frames to the plugin.", |stats, tell| {
        one(stats.traffic.frames_sent, tell);
    }),
    Family::counter("rapace_frames_received_total", "Frames from the plugin.", |stats, tell| {
        one(stats.traffic.frames_received, tell);
    }),
    Family::counter("rapace_no_room_total", "Times that there was no room for a frame.", |stats, tell| {
        one(stats.traffic.no_room, tell);
    }),
    Family::counter("rapace_wakeups_sent_total", "Wake-ups of the plugin: system calls.", |stats, tell| {
        one(stats.traffic.wakeups_sent, tell);
    }),
    Family::counter("rapace_wakeups_saved_total", "Wake-ups that were not necessary.", |stats, tell| {
        one(stats.traffic.wakeups_saved, tell);
    }),
    Family::counter("rapace_wakeups_received_total", "Wake-ups by the plugin.", |stats, tell| {
        one(stats.traffic.wakeups_received, tell);
    }),
    Family::counter("rapace_sleeps_total", "Times that the host slept on the plugin.", |stats, tell| {
        one(stats.traffic.sleeps, tell);
    }),
    Family::gauge("rapace_ring_used", "Descriptors that were not taken, as far as is known.", |stats, tell| {
        one(stats.room.ring_used, tell);
    }),
    Family::gauge("rapace_ring_capacity", "Descriptors of the ring to the plugin.", |stats, tell| {
        one(stats.room.ring_capacity, tell);
    }),
    Family::gauge("rapace_slots_free", "Slots of the host that are free.", |stats, tell| {
        one(stats.room.slots_free, tell);
    }),
    Family::gauge("rapace_slots", "Slots of the host.", |stats, tell| one(stats.room.slots, tell)),
    Family::gauge("rapace_runs_held", "Runs of the plugin's slots that the host holds.", |stats, tell| {
        one(stats.room.runs_held, tell);
    }),
    Family::gauge("rapace_inbound_bytes", "Bytes of messages from the plugin that are kept.", |stats, tell| {
        one(stats.room.inbound_bytes, tell);
    }),
    Family::gauge("rapace_outbound_bytes", "Bytes that wait for the plugin to make room.", |stats, tell| {
        one(stats.room.outbound_bytes, tell);
    }),
    Family::gauge("rapace_handlers", "Handlers of the plugin's calls that wait for something.", |stats, tell| {
        one(stats.room.handlers, tell);
    }),
];

fn one(value: u64, tell: &mut Tell<'_>) {
    tell(&[], Value::Number(value));
}

fn of_method(method: &MethodStats) -> [(&'static str, &str); 2] {
    [("side", method.side.name()), ("method", &method.method)]
}

fn of_methods(stats: &PluginStats, tell: &mut Tell<'_>, number: fn(&MethodStats) -> u64) {
    for method in &stats.methods {
        tell(&of_method(method), Value::Number(number(method)));
    }
}

fn calls(stats: &PluginStats, tell: &mut Tell<'_>) {
    for method in &stats.methods {
        let [side, name] = of_method(method);
        tell(&[side, name, ("code", "Ok")], Value::Number(method.ok));
        for (code, count) in &method.errors {
            tell(&[side, name, ("code", code)], Value::Number(*count));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_of_the_documentation_has_all_names_and_no_others() {
        let table = include_str!("../lib.rs").lines().filter(|line| line.starts_with("//! | `rapace_"));
        let names = table.flat_map(|line| line.split('`').filter(|word| word.starts_with("rapace_")));
        let names: BTreeSet<_> = names.collect();
        assert_eq!(names, FAMILIES.iter().map(|family| family.name).collect());
        assert_eq!(names.len(), FAMILIES.len());
    }
}
