//! What held and what did not.

use std::fmt;
use std::time::Duration;

use crate::gauges::Gauges;
use crate::trend::Trend;

/// How far beyond its deadline a call may end, and twice as much more as those that only sleep wake late: the end of a call
/// may wait for the thread that hears of it, and for the one that made it.
pub(crate) const OVERRUN_MAX: Duration = Duration::from_secs(2);
/// Growth of memory over half of the time that is no leak, in KiB: what allocators come to keep for threads that meet
/// their largest payloads, in a short run and in a long one.
const MEMORY_SLACK_KIB: [f64; 2] = [64.0 * 1024.0, 8.0 * 1024.0];
/// Where a run is long.
const LONG: Duration = Duration::from_secs(600);
/// The same of things that are counted.
const COUNT_SLACK: f64 = 2.0;

/// All that is known at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// Calls of this host that were begun, and those that ended.
    pub(crate) started: u64,
    pub(crate) ended: u64,
    /// Threads and tasks that have not come back.
    pub(crate) callers_missing: u64,
    /// How far the latest was beyond its deadline, and what it was.
    pub(crate) overrun: (Duration, String),
    /// How late threads and tasks woke at most that did nothing but sleep.
    pub(crate) lateness: Duration,
    /// Calls to good plugins that ended as they were to, and calls that did not or were answered falsely.
    pub(crate) good: u64,
    pub(crate) failures: u64,
    /// Of the calls that both sides count: those that had a good end, were handled, and were begun.
    pub(crate) counted: [u64; 3],
    /// Good plugins, and those of them whose first process ran to the end.
    pub(crate) good_plugins: u64,
    pub(crate) stayed: u64,
    /// Calls that plugins made of their own, and those of good ones that failed.
    pub(crate) visits: u64,
    pub(crate) visits_failed: u64,
    /// Lives that ended before the end, and those that ended otherwise than they were to.
    pub(crate) lives: u64,
    pub(crate) unexpected: u64,
    /// What sessions with good plugins still keep when all calls have ended, on both sides; and faults they have noted.
    pub(crate) kept: u64,
    pub(crate) slots_missing: u64,
    pub(crate) faults: u64,
    /// Second by second.
    pub(crate) samples: Vec<Gauges>,
    /// Before there was a host, and when it is gone.
    pub(crate) before: Gauges,
    pub(crate) after: Gauges,
    /// Processes of plugins that still run then.
    pub(crate) plugins_left: u64,
}

/// Whether one thing held.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    what: &'static str,
    pub(crate) holds: bool,
    figures: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) lines: Vec<Line>,
}

impl Verdict {
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let e = evidence;
        let [counted_good, handled, counted_started] = e.counted;
        let line = |what, holds, figures| Line { what, holds, figures };
        let mut lines = vec![
            line(
                "each call ends once",
                e.started == e.ended && e.callers_missing == 0 && e.started > 0,
                format!("{} begun, {} ended, {} callers missing", e.started, e.ended, e.callers_missing),
            ),
            line(
                "within its deadline",
                e.overrun.0 <= OVERRUN_MAX + 2 * e.lateness,
                format!("at most {:.1?} beyond it ({}), sleepers {:.1?}", e.overrun.0, e.overrun.1, e.lateness),
            ),
            line(
                "good plugins never fail",
                e.failures == 0 && e.good > 0,
                format!("{} calls as they were to be, {} not", e.good, e.failures),
            ),
            line(
                "no call is run twice",
                (counted_good..=counted_started).contains(&handled),
                format!("{counted_good} good <= {handled} handled <= {counted_started} begun"),
            ),
            line(
                "plugins call their host",
                e.visits_failed == 0,
                format!("{} calls of good plugins, {} failed", e.visits, e.visits_failed),
            ),
            line(
                "good plugins stay",
                e.stayed == e.good_plugins && e.good_plugins > 0,
                format!("{} of {} in their first process", e.stayed, e.good_plugins),
            ),
            line(
                "bad plugins end as expected",
                e.unexpected == 0,
                format!("{} lives ended, {} otherwise", e.lives, e.unexpected),
            ),
            line(
                "all comes back",
                e.kept + e.slots_missing + e.faults == 0,
                format!("{} calls and bytes kept, {} slots missing, {} faults", e.kept, e.slots_missing, e.faults),
            ),
        ];
        lines.extend(steady(&e.samples));
        let (a, b) = (&e.after, &e.before);
        lines.push(line(
            "nothing is left",
            a.children + a.zombies + a.mappings + e.plugins_left == 0 && a.fds <= b.fds && a.threads <= b.threads,
            format!(
                "{} processes, {} zombies, {} mappings, fds {} -> {}, threads {} -> {}",
                a.children + e.plugins_left,
                a.zombies,
                a.mappings,
                b.fds,
                a.fds,
                b.threads,
                a.threads
            ),
        ));
        Self { lines }
    }

    pub(crate) fn holds(&self) -> bool {
        self.lines.iter().all(|line| line.holds)
    }
}

/// Whether each of the gauges is steady over the second half of the time.
fn steady(samples: &[Gauges]) -> Vec<Line> {
    type Gauge = fn(&Gauges) -> u64;
    let memory: [(&str, Gauge); 2] =
        [("host's memory is steady", |g| g.anonymous_kib), ("good plugins' memory is steady", |g| g.plugins_kib)];
    let counts: [(&str, Gauge); 5] = [
        ("fds are steady", |g| g.fds),
        ("threads are steady", |g| g.threads),
        ("children are steady", |g| g.children),
        ("zombies are steady", |g| g.zombies),
        ("mappings are steady", |g| g.mappings),
    ];
    let trend = |gauge: Gauge| {
        let points: Vec<(f64, f64)> =
            samples.iter().map(|sample| (sample.at.as_secs_f64(), gauge(sample) as f64)).collect();
        Trend::of(&points)
    };
    let is_long = samples.last().is_some_and(|sample| sample.at >= LONG);
    let memory = memory.into_iter().map(|(what, gauge)| {
        let trend = trend(gauge);
        let holds = !trend.grows_beyond(MEMORY_SLACK_KIB[usize::from(is_long)]);
        let mib = |kib: f64| kib / 1024.0;
        Line { what, holds, figures: format!("mean {:.1} MiB, {:+.2} MiB", mib(trend.mean), mib(trend.growth)) }
    });
    let counts = counts.into_iter().map(|(what, gauge)| {
        let trend = trend(gauge);
        let figures = format!("mean {:.1}, {:+.2}", trend.mean, trend.growth);
        Line { what, holds: !trend.grows_beyond(COUNT_SLACK), figures }
    });
    let with_half = |mut line: Line| {
        line.figures += " over the second half";
        line
    };
    memory.chain(counts).map(with_half).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { what, holds, figures } in &self.lines {
            writeln!(f, "{}  {what:<31} {figures}", if *holds { "PASS" } else { "FAIL" })?;
        }
        f.write_str(if self.holds() { "PASS" } else { "FAIL" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Evidence {
        let sample = |at| Gauges {
            at: Duration::from_secs(at),
            anonymous_kib: 40_000 + at % 7,
            plugins_kib: 9_000,
            fds: 60 + at % 5,
            threads: 20,
            children: 5 + at % 2,
            mappings: 10 + at % 3,
            ..Gauges::default()
        };
        Evidence {
            started: 1000,
            ended: 1000,
            overrun: (Duration::from_millis(3), "a call".to_owned()),
            lateness: Duration::from_millis(5),
            good: 500,
            counted: [300, 310, 320],
            good_plugins: 2,
            stayed: 2,
            visits: 50,
            lives: 40,
            samples: (0..1200).map(sample).collect(),
            before: Gauges { fds: 9, threads: 3, ..Gauges::default() },
            after: Gauges { fds: 9, threads: 3, ..Gauges::default() },
            ..Evidence::default()
        }
    }

    #[test]
    fn what_is_in_order_passes() {
        let verdict = Verdict::of(&good());
        assert!(verdict.holds(), "{verdict}");
        assert!(verdict.to_string().ends_with("\nPASS"));
    }

    #[test]
    fn each_thing_that_is_not_in_order_fails_its_own_line() {
        type Change = fn(&mut Evidence);
        let changes: [(&str, Change); 24] = [
            ("each call ends once", |e| e.ended -= 1),
            ("each call ends once", |e| e.ended += 1),
            ("each call ends once", |e| e.callers_missing = 1),
            ("each call ends once", |e| (e.started, e.ended) = (0, 0)),
            ("within its deadline", |e| e.overrun.0 = OVERRUN_MAX + 2 * e.lateness + Duration::from_micros(1)),
            ("good plugins never fail", |e| e.failures = 1),
            ("good plugins never fail", |e| e.good = 0),
            ("no call is run twice", |e| e.counted[1] = e.counted[2] + 1),
            ("no call is run twice", |e| e.counted[1] = e.counted[0] - 1),
            ("plugins call their host", |e| e.visits_failed = 1),
            ("good plugins stay", |e| e.stayed = 1),
            ("bad plugins end as expected", |e| e.unexpected = 1),
            ("all comes back", |e| e.kept = 1),
            ("all comes back", |e| e.slots_missing = 1),
            ("all comes back", |e| e.faults = 1),
            ("nothing is left", |e| e.after.fds += 1),
            ("nothing is left", |e| e.after.threads += 1),
            ("nothing is left", |e| e.after.children = 1),
            ("nothing is left", |e| e.after.zombies = 1),
            ("nothing is left", |e| e.after.mappings = 1),
            ("nothing is left", |e| e.plugins_left = 1),
            ("host's memory is steady", |e| leak(e, |g, at| g.anonymous_kib += 20 * at)),
            ("good plugins' memory is steady", |e| leak(e, |g, at| g.plugins_kib += 20 * at)),
            ("zombies are steady", |e| leak(e, |g, at| g.zombies += at / 100)),
        ];
        for (what, change) in changes {
            fails(what, change);
        }
    }

    #[test]
    fn a_count_that_grows_fails_its_own_line() {
        fails("fds are steady", |e| leak(e, |g, at| g.fds += at / 40));
        fails("threads are steady", |e| leak(e, |g, at| g.threads += at / 100));
        fails("children are steady", |e| leak(e, |g, at| g.children += at / 100));
        fails("mappings are steady", |e| leak(e, |g, at| g.mappings += at / 40));
    }

    fn leak(evidence: &mut Evidence, change: fn(&mut Gauges, u64)) {
        evidence.samples.iter_mut().for_each(|sample| change(sample, sample.at.as_secs()));
    }

    #[track_caller]
    fn fails(what: &str, change: impl FnOnce(&mut Evidence)) {
        let mut evidence = good();
        change(&mut evidence);
        let verdict = Verdict::of(&evidence);
        let failed: Vec<_> = verdict.lines.iter().filter(|line| !line.holds).map(|line| line.what).collect();
        assert_eq!(failed, [what]);
        assert!(verdict.to_string().ends_with("\nFAIL"));
    }
}
