//! What a process holds, read from `/proc`.

use std::fs;
use std::time::Duration;

/// What the host holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Resident memory of its own, without what it shares, in KiB.
    pub(crate) anonymous_kib: u64,
    /// All resident memory, in KiB.
    pub(crate) resident_kib: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
    /// Its children that run.
    pub(crate) children: u64,
    /// Its children that are dead and not yet reaped.
    pub(crate) zombies: u64,
    /// Mappings of halves of segments: two a session.
    pub(crate) mappings: u64,
    /// Memory of its own of the good plugins, in KiB.
    pub(crate) plugins_kib: u64,
}

impl Gauges {
    /// Reads all of it.
    pub(crate) fn read(at: Duration, good_plugins: &[u32]) -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let states = children();
        let zombies = states.iter().filter(|state| **state == 'Z').count() as u64;
        Self {
            at,
            anonymous_kib: status("self", "RssAnon:"),
            resident_kib: status("self", "VmRSS:"),
            fds: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            children: states.len() as u64 - zombies,
            zombies,
            mappings: maps.lines().filter(|line| line.contains("memfd:")).count() as u64,
            plugins_kib: good_plugins.iter().map(|pid| status(&pid.to_string(), "RssAnon:")).sum(),
        }
    }
}

/// Processes that were started as plugins of this one, whoever their parent is by now.
pub(crate) fn plugins_left() -> u64 {
    let host = std::process::id().to_string();
    let is_ours = |pid: &String| {
        let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let args: Vec<&[u8]> = args.split(|byte| *byte == 0).collect();
        args.windows(2).any(|pair| pair[0] == b"--host" && pair[1] == host.as_bytes())
    };
    processes().iter().filter(|pid| is_ours(pid)).count() as u64
}

/// The states of this process's children, as letters of proc_pid_stat(5).
fn children() -> Vec<char> {
    let host = std::process::id().to_string();
    let state_of_child = |pid: &String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program, in brackets, may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        (fields.next() == Some(&host)).then_some(state)
    };
    processes().iter().filter_map(state_of_child).collect()
}

fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

/// A figure of proc_pid_status(5).
fn status(pid: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let figure = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_this_process_holds_is_seen() {
        let before = Gauges::read(Duration::ZERO, &[std::process::id()]);
        assert!(before.anonymous_kib > 0 && before.plugins_kib > 0 && before.threads > 0, "{before:?}");
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let after = Gauges::read(Duration::ZERO, &[]);
        assert!(after.fds >= before.fds + 40 && after.children > 0, "{before:?}, {after:?}");
        drop((files, child.stdin.take()));
        assert!(child.wait().unwrap().success());
    }
}
