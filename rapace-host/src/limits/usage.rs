//! What a plugin uses now, by the kernel's accounts of processes.

use std::fs;
use std::iter::Sum;
use std::ops::Add;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use serde::{Deserialize, Serialize};

/// What a plugin's processes use: all that it has started where it is held by cgroups, else those that the host has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// A processor's time since they started.
    pub cpu: Duration,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            processes: self.processes.saturating_add(other.processes),
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), Add::add)
    }
}

/// What one process uses, as `/proc` tells.
pub(super) fn of_process(id: u32) -> Option<Usage> {
    of_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// From the text of `/proc/PID/stat`.
fn of_stat(stat: &str) -> Option<Usage> {
    // The name of the program may have any characters.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system, threads, pages) = (field(14)?, field(15)?, field(20)?, field(24)?);
    let ticks = user.saturating_add(system).saturating_mul(1000);
    let cpu = Duration::from_millis(ticks / clock_ticks_per_second().max(1));
    Some(Usage { cpu, memory_bytes: pages.saturating_mul(page_size() as u64), processes: threads })
}

/// Processes and threads of this user.
pub(super) fn tasks_of_user() -> u64 {
    let user = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user));
    let tasks = own.filter_map(|entry| Some(of_process(entry.file_name().to_str()?.parse().ok()?)?.processes));
    tasks.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_a_process_is_read_behind_its_name() {
        let behind = (16..24).map(|field| if field == 20 { "3 ".to_owned() } else { format!("{field} ") });
        let stat = format!("7 (a) b (c)) S 4 5 6 7 8 9 10 11 12 13 250 50 {}2 25", behind.collect::<String>());
        let usage = of_stat(&stat).unwrap();
        let expected = Duration::from_millis(300_000 / clock_ticks_per_second());
        assert_eq!(usage, Usage { cpu: expected, memory_bytes: 2 * page_size() as u64, processes: 3 });
        for broken in ["", "7 (a", "7 (a) S 1 2", "7 (a) S x x x x x x x x x x x x x x x x x x x x x x x x"] {
            assert_eq!(of_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_is_among_those_of_its_user() {
        let own = of_process(std::process::id()).unwrap();
        assert!(own.memory_bytes > 0 && own.processes > 0);
        assert!(tasks_of_user() > 0);
        assert_eq!(of_process(0), None);
    }
}
