//! Where and of what the figures are.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::{Error, peer};

/// The head of `results.json`, and of the tables.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    /// The model of the processor, and how many there are.
    pub processor: String,
    /// How many of them.
    pub processors: usize,
    /// The kernel.
    pub kernel: String,
    /// The memory of the machine, in GiB.
    pub memory_gib: u64,
    /// The load average when it began: what else the machine did.
    pub load_before: String,
    /// The day and time of the beginning, UTC.
    pub date: String,
    /// The revision of rapace, with `+` if there are changes on top.
    pub revision: String,
    /// The compiler.
    pub compiler: String,
    /// The versions of all that take part.
    pub versions: BTreeMap<String, String>,
    /// How much of the machine was used by what is no part of the race, meanwhile: figures beside busy neighbours are noise.
    pub others_percent: f64,
    /// How often each row was run.
    pub runs: usize,
    /// How long it took.
    pub seconds: u64,
    /// What could not be measured.
    pub failures: Vec<String>,
}

impl Header {
    /// What is known before the race.
    pub fn new(plan: &Plan, rows: &[(String, String)]) -> Result<Self, Error> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kibibytes: u64 = field(&memory, "MemTotal").split(' ').next().unwrap_or_default().parse()?;
        let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        Ok(Self {
            processor: field(&processors, "model name"),
            processors: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory_gib: kibibytes.div_ceil(1 << 20),
            load_before: fs::read_to_string("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "),
            date: date(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
            revision: output("git", &["rev-parse", "--short=12", "HEAD"]) + if changed { "+" } else { "" },
            compiler: output("rustc", &["--version"]),
            versions: versions(rows),
            others_percent: 0.0,
            runs: plan.runs,
            seconds: 0,
            failures: Vec::new(),
        })
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(f, "{} × {}, {} GiB, Linux {}", self.processors, self.processor, self.memory_gib, self.kernel)?;
        writeln!(
            f,
            "{} UTC, load before {}, rapace {}, {}",
            self.date, self.load_before, self.revision, self.compiler
        )?;
        writeln!(f, "{}", versions.join(", "))?;
        writeln!(f, "medians of {} interleaved runs, {} s in all", self.runs, self.seconds)?;
        writeln!(f, "other programs used {:.1} % of the machine meanwhile", self.others_percent)?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "FAILED {failure}"))
    }
}

/// What the processors have done since the machine was started, in clock ticks.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    all: u64,
    busy: u64,
    ours: u64,
}

impl Usage {
    /// Until now. Of ours: this process, and its descendants that have ended.
    pub fn now() -> Result<Self, Error> {
        let system = fs::read_to_string("/proc/stat")?;
        let line = system.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let process = fs::read_to_string("/proc/self/stat")?;
        let fields = process.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ours = fields.skip(11).take(4).map(str::parse::<u64>).sum::<Result<_, _>>()?;
        let all = ticks.iter().sum();
        Ok(Self { all, busy: all - idle, ours })
    }

    /// How much of the machine others have used since then.
    pub fn others_percent(self, since: Self) -> f64 {
        let others = (self.busy - since.busy).saturating_sub(self.ours - since.ours);
        100.0 * others as f64 / (self.all - since.all).max(1) as f64
    }
}

/// The first value of this name in a file of `name: value` lines.
fn field(file: &str, name: &str) -> String {
    let value = file.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == name);
    value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let known = output.ok().filter(|output| output.status.success());
    known.map_or_else(|| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the lock file says of the crates of these rows.
fn versions(rows: &[(String, String)]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for peer in peer::all().iter().filter(|peer| rows.iter().any(|(system, _)| system == peer.name())) {
        for name in peer.crates() {
            let lock = include_str!("../Cargo.lock");
            let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, rest)| rest);
            let version = entry.and_then(|rest| rest.split('"').next()).unwrap_or("?");
            versions.insert((*name).to_owned(), version.to_owned());
        }
    }
    versions
}

/// A day and time of the Gregorian calendar.
fn date(seconds: u64) -> String {
    let (mut days, clock) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02}", days + 1, clock / 3600, clock / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_782_400), "2000-02-29 00:00");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59");
    }
}
