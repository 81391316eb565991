//! A snapshot as a text for people: a paragraph for each plugin, with a table of its methods.

use std::collections::BTreeMap;
use std::fmt;

use super::stats::{EventStats, HostSnapshot, MethodStats, PluginStats};

impl fmt::Display for HostSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} plugins", self.host, self.plugins.len())?;
        self.plugins.iter().try_for_each(|plugin| write!(f, "\n{plugin}"))
    }
}

impl fmt::Display for PluginStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, state, processes, starts, restarts, crashes, reloads, traffic, room, .. } = self;
        write!(f, "{plugin}: {state}")?;
        if let Some(breaker) = self.breaker {
            write!(f, ", breaker {breaker:?}")?;
        }
        writeln!(
            f,
            ", processes {processes}, starts {starts}, restarts {restarts}, crashes {crashes}, reloads {reloads}"
        )?;
        writeln!(
            f,
            "  frames {} there, {} back; wake-ups {} sent, {} saved, {} received; no room {}, faults {}",
            traffic.frames_sent,
            traffic.frames_received,
            traffic.wakeups_sent,
            traffic.wakeups_saved,
            traffic.wakeups_received,
            traffic.no_room,
            traffic.faults
        )?;
        writeln!(
            f,
            "  ring {} of {}, slots free {} of {}, runs held {}; bytes kept {}, waiting {}; handlers {}",
            room.ring_used,
            room.ring_capacity,
            room.slots_free,
            room.slots,
            room.runs_held,
            room.inbound_bytes,
            room.outbound_bytes,
            room.handlers
        )?;
        writeln!(f, "  lines {} on stdout, {} on stderr", self.stdout_lines, self.stderr_lines)?;
        if let Some(cpu) = self.cpu {
            write!(f, "  processor {:.1} s", cpu.as_secs_f64())?;
            if let Some(usage) = self.usage {
                write!(f, ", memory {} KiB, processes and threads {}", usage.memory_bytes >> 10, usage.processes)?;
            }
            writeln!(f)?;
        }
        let EventStats { published, delivered, missed } = self.events;
        if published + delivered + missed > 0 {
            writeln!(f, "  events {published} published, {delivered} delivered, {missed} missed")?;
        }
        for (what, counts) in [("not sent", &self.refused), ("over its limits", &self.overruns)] {
            if counts.values().any(|count| *count > 0) {
                writeln!(f, "  {what}: {}", listed(counts))?;
            }
        }
        if self.is_built_in {
            writeln!(f, "  built in: direct calls are not counted here")?;
        }
        table(f, &self.methods)
    }
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn table(f: &mut fmt::Formatter<'_>, methods: &[MethodStats]) -> fmt::Result {
    if methods.is_empty() {
        return Ok(());
    }
    let head = ["by", "method", "calls", "in flight", "p50", "p99", "bytes there", "bytes back", "errors"];
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(methods.iter().map(cells)).collect();
    let widths: [usize; 9] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    for row in &rows {
        let [side, method, numbers @ .., errors] = row;
        write!(f, "  {side:0$}  {method:1$}", widths[0], widths[1])?;
        for (number, width) in numbers.iter().zip(&widths[2..]) {
            write!(f, "  {number:>width$}")?;
        }
        writeln!(f, "  {errors}")?;
    }
    Ok(())
}

fn cells(method: &MethodStats) -> [String; 9] {
    let errors = if method.errors.is_empty() { "-".to_owned() } else { listed(&method.errors) };
    [
        method.side.name().to_owned(),
        method.method.clone(),
        method.calls().to_string(),
        method.in_flight.to_string(),
        method.latency.quantile_in_words(500),
        method.latency.quantile_in_words(990),
        method.request_bytes.to_string(),
        method.reply_bytes.to_string(),
        errors,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::stats;
    use super::*;

    #[test]
    fn a_snapshot_is_shown_plugin_by_plugin() {
        let snapshot = HostSnapshot { host: "demo".to_owned(), plugins: vec![stats()] };
        let expected = "\
demo: 1 plugins

shout: Running, breaker Closed, processes 1, starts 3, restarts 1, crashes 1, reloads 1
  frames 10 there, 20 back; wake-ups 3 sent, 4 saved, 5 received; no room 6, faults 8
  ring 1 of 64, slots free 400 of 511, runs held 2; bytes kept 3, waiting 4; handlers 5
  lines 7 on stdout, 9 on stderr
  processor 12.3 s, memory 51200 KiB, processes and threads 3
  events 11 published, 12 delivered, 13 missed
  not sent: Unavailable 4
  over its limits: log_rate 2
  by      method         calls  in flight      p50     p99  bytes there  bytes back  errors
  host    demo.Shout.up      5          1  3072 ns  917 us           50          35  NotFound 2
  plugin  77                 0          0        -       -            0           0  -
";
        assert_eq!(snapshot.to_string(), expected);
    }
}
