//! A snapshot in Prometheus's text format, version 0.0.4.

use std::fmt::Write;
use std::time::Duration;

use rapace_session::Latency;

use super::families::{FAMILIES, Kind, Labels, Value};
use super::stats::HostSnapshot;

/// The type of the text, for who asks by HTTP.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The bounds of a histogram's buckets are powers of two of nanoseconds, from 256 ns to 34 s, where the latency has bounds too.
const BOUNDS: std::ops::RangeInclusive<u32> = 8..=35;

/// All metrics of all plugins.
pub(super) fn render(snapshot: &HostSnapshot) -> String {
    let mut text = String::new();
    for family in &FAMILIES {
        let (name, kind) = (family.name, kind(family.kind));
        line(&mut text, format_args!("# HELP {name} {}\n# TYPE {name} {kind}", family.help));
        for plugin in &snapshot.plugins {
            (family.values)(plugin, &mut |labels, value| {
                let labels: Vec<_> = [("plugin", &*plugin.plugin)].into_iter().chain(labels.iter().copied()).collect();
                match value {
                    Value::Number(number) => sample(&mut text, name, "", &labels, number),
                    Value::Time(time) => sample(&mut text, name, "", &labels, time.as_secs_f64()),
                    Value::Latency(latency) => histogram(&mut text, name, &labels, latency),
                }
            });
        }
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: Labels<'_>, latency: &Latency) {
    let mut below = 0u64;
    let mut buckets = latency.buckets().peekable();
    let with = |bound: &str, text: &mut String, count| {
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
        sample(text, name, "_bucket", &labels, count);
    };
    for bound in BOUNDS.map(|power| Duration::from_nanos(1 << power)) {
        while let Some((_, count)) = buckets.next_if(|(end, _)| *end <= bound) {
            below = below.saturating_add(count);
        }
        with(&bound.as_secs_f64().to_string(), text, below);
    }
    with("+Inf", text, latency.count());
    sample(text, name, "_sum", labels, latency.total().as_secs_f64());
    sample(text, name, "_count", labels, latency.count());
}

fn sample(text: &mut String, name: &str, suffix: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    line(text, format_args!("{name}{suffix}{{{}}} {value}", labels.join(",")));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = writeln!(text, "{line}");
}

/// A label's value may be anything: a method has the name that a plugin gives it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter | Kind::Seconds => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::MethodStats;
    use super::super::tests::stats;
    use super::*;

    fn lines_of(plugins: Vec<crate::PluginStats>) -> Vec<String> {
        render(&HostSnapshot { host: "demo".to_owned(), plugins }).lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_metric_is_there_with_its_labels() {
        let lines = lines_of(vec![stats()]);
        for expected in [
            "# TYPE rapace_calls_total counter",
            "rapace_calls_total{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\",code=\"Ok\"} 3",
            "rapace_calls_total{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\",code=\"NotFound\"} 2",
            "rapace_calls_in_flight{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\"} 1",
            "rapace_call_duration_seconds_bucket{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\",le=\"0.000002048\"} 0",
            "rapace_call_duration_seconds_bucket{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\",le=\"0.000004096\"} 3",
            "rapace_call_duration_seconds_bucket{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\",le=\"+Inf\"} 5",
            "rapace_call_duration_seconds_sum{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\"} 0.001809",
            "rapace_call_duration_seconds_count{plugin=\"shout\",side=\"host\",method=\"demo.Shout.up\"} 5",
            "rapace_plugin_state{plugin=\"shout\",state=\"Running\"} 1",
            "rapace_plugin_state{plugin=\"shout\",state=\"Crashed\"} 0",
            "rapace_breaker_state{plugin=\"shout\",state=\"Closed\"} 1",
            "rapace_overruns_total{plugin=\"shout\",limit=\"log_rate\"} 2",
            "rapace_slots_free{plugin=\"shout\"} 400",
            "# TYPE rapace_plugin_cpu_seconds_total counter",
            "rapace_plugin_cpu_seconds_total{plugin=\"shout\"} 12.345",
            "rapace_events_missed_total{plugin=\"shout\"} 13",
            "rapace_plugin_memory_bytes{plugin=\"shout\"} 52428800",
            "rapace_plugin_processes_and_threads{plugin=\"shout\"} 3",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
        }
    }

    #[test]
    fn a_name_that_a_plugin_gives_stays_within_its_label() {
        let mut stats = stats();
        let evil = "x\"} 1\nrapace_plugin_faults_total{plugin=\"other\\";
        stats.methods = vec![MethodStats::new(crate::CallerSide::Host, evil.to_owned(), Some(1))];
        let lines = lines_of(vec![stats]);
        let expected = "rapace_calls_in_flight{plugin=\"shout\",side=\"host\",method=\
            \"x\\\"} 1\\nrapace_plugin_faults_total{plugin=\\\"other\\\\\"} 0";
        assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.starts_with("rapace_plugin_faults_total{plugin=\"other")));
    }
}
