//! Gives what a host has counted to whatever `metrics` recorder the program has.

use metrics::{Key, KeyName, Label, Level, Metadata, Unit};

use super::families::{FAMILIES, Family, Kind, Value};
use super::stats::HostSnapshot;

/// What the recorder is told of where the metrics come from.
static METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// A recorder has no place for a histogram that is there already, so it gets quantiles, as gauges.
const QUANTILES: [(&str, u16); 4] = [("0.5", 500), ("0.9", 900), ("0.99", 990), ("1", 1000)];

impl HostSnapshot {
    /// Sets the metrics of the program's `metrics` recorder to these: [what there is](crate#metrics). To be called before each
    /// look at them, a scrape for example; so nothing is done while nobody looks.
    pub fn record(&self) {
        metrics::with_recorder(|recorder| self.record_with(recorder));
    }

    /// The same for this recorder.
    pub fn record_with(&self, recorder: &dyn metrics::Recorder) {
        for family in &FAMILIES {
            describe(recorder, family);
            for plugin in &self.plugins {
                (family.values)(plugin, &mut |labels, value| {
                    let plugin = Label::new("plugin", plugin.plugin.clone());
                    let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
                    set(recorder, family, std::iter::once(plugin).chain(labels).collect(), value);
                });
            }
        }
    }
}

fn describe(recorder: &dyn metrics::Recorder, family: &Family) {
    let name = KeyName::from_const_str(family.name);
    match family.kind {
        Kind::Counter => recorder.describe_counter(name, None, family.help.into()),
        Kind::Gauge => recorder.describe_gauge(name, None, family.help.into()),
        Kind::Seconds | Kind::Histogram => recorder.describe_gauge(name, Some(Unit::Seconds), family.help.into()),
    }
}

fn set(recorder: &dyn metrics::Recorder, family: &Family, labels: Vec<Label>, value: Value<'_>) {
    match value {
        Value::Number(number) => {
            let key = Key::from_parts(family.name, labels);
            match family.kind {
                Kind::Counter => recorder.register_counter(&key, &METADATA).absolute(number),
                Kind::Gauge | Kind::Seconds | Kind::Histogram => {
                    recorder.register_gauge(&key, &METADATA).set(approximate(number))
                }
            }
        }
        // A recorder's counters are whole numbers.
        Value::Time(time) => {
            recorder.register_gauge(&Key::from_parts(family.name, labels), &METADATA).set(time.as_secs_f64());
        }
        Value::Latency(latency) => {
            for (name, per_mille) in QUANTILES {
                let labels = labels.iter().cloned().chain([Label::from_static_parts("quantile", name)]);
                let key = Key::from_parts(family.name, labels.collect::<Vec<_>>());
                let seconds = latency.quantile(per_mille).map_or(0.0, |time| time.as_secs_f64());
                recorder.register_gauge(&key, &METADATA).set(seconds);
            }
        }
    }
}

/// Beyond 2^53 as near as it gets.
#[expect(clippy::cast_precision_loss, reason = "gauges are such numbers")]
fn approximate(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, SharedString};
    use parking_lot::Mutex;

    use super::super::tests::stats;
    use super::*;

    /// Keeps values by name and labels.
    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Kept {
        fn place(&self, key: &Key) -> Arc<AtomicU64> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::clone(self.0.lock().entry(format!("{} {}", key.name(), labels.join(" "))).or_default())
        }

        fn value(&self, name: &str) -> u64 {
            self.0.lock().get(name).unwrap_or_else(|| panic!("no {name}")).load(Ordering::Relaxed)
        }
    }

    impl metrics::Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.place(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.place(key))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            panic!("a histogram takes samples only")
        }
    }

    #[test]
    fn a_recorder_has_what_the_snapshot_has_however_often_it_is_given_it() {
        let (kept, mut plugin) = (Kept::default(), stats());
        HostSnapshot { host: String::new(), plugins: vec![plugin.clone()] }.record_with(&kept);
        plugin.methods[0].ok += 1;
        plugin.room.slots_free = 7;
        let snapshot = HostSnapshot { host: String::new(), plugins: vec![plugin] };
        snapshot.record_with(&kept);
        snapshot.record_with(&kept);
        let of_up = "plugin=shout side=host method=demo.Shout.up";
        assert_eq!(kept.value(&format!("rapace_calls_total {of_up} code=Ok")), 4);
        assert_eq!(kept.value(&format!("rapace_calls_total {of_up} code=NotFound")), 2);
        assert_eq!(kept.value("rapace_overruns_total plugin=shout limit=log_rate"), 2);
        assert_eq!(f64::from_bits(kept.value("rapace_slots_free plugin=shout")), 7.0);
        assert_eq!(f64::from_bits(kept.value("rapace_plugin_cpu_seconds_total plugin=shout")), 12.345);
        let median = kept.value(&format!("rapace_call_duration_seconds {of_up} quantile=0.5"));
        assert_eq!(f64::from_bits(median), 3.072e-6);
    }
}
