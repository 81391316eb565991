//! Counting what this process has.

use std::fs::read_dir;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::prctl::{set_child_subreaper, set_name};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use parking_lot::{Mutex, MutexGuard};

use rapace_tests::service::REST;

use crate::support::{PATIENCE, eventually, tasks};

/// The name of all threads of the test that runs. A thread has that of the one that started it.
const NAME: &std::ffi::CStr = c"crash-test";

/// What a session takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    fds: usize,
    /// Mappings of memfds: halves.
    mappings: usize,
    /// Those of this test.
    threads: usize,
    /// Dead ones that were not reaped are among them.
    children: Vec<String>,
}

/// Held by a test: no other one has sessions meanwhile, and all children of its children become its own.
pub(crate) struct Alone {
    /// What there was before it.
    pub(crate) before: Census,
    _lock: MutexGuard<'static, ()>,
}

pub(crate) fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    let lock = ALONE.lock();
    set_name(NAME).unwrap();
    set_child_subreaper(true).unwrap();
    Alone { before: count(), _lock: lock }
}

impl Census {
    /// All is as it was then.
    #[track_caller]
    pub(crate) fn check_nothing_is_left(&self) {
        let start = Instant::now();
        loop {
            let now = count();
            if now == *self {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "there is {now:?}, but before it was {self:?}");
            thread::park_timeout(REST);
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Its thread may live for a moment longer than the lock is held.
        set_name(c"crash-test-over").unwrap();
        // Those of a test that has failed.
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// Waits for the children that this process has not started itself; gives their exit codes, or none for those that were
/// killed.
#[track_caller]
pub(crate) fn reap_orphans() -> Vec<Option<i32>> {
    let mut codes = Vec::new();
    eventually("the orphans end", || {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => codes.push(Some(code)),
                Ok(WaitStatus::Signaled(..)) => codes.push(None),
                Err(Errno::ECHILD) => return true,
                _ => return false,
            }
        }
    });
    codes
}

/// Processes whose parent this one is.
pub(crate) fn children() -> Vec<Pid> {
    let me = std::process::id().to_string();
    let entries = read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        // It may have ended.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        behind_name.split(' ').nth(1) == Some(&me)
    };
    pids.filter(is_child).map(Pid::from_raw).collect()
}

/// The resident memory of this process, in KiB.
pub(crate) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What there is now.
pub(crate) fn count() -> Census {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let named = |task: &PathBuf| {
        let name = std::fs::read(task.join("comm")).unwrap_or_default();
        name.strip_suffix(b"\n") == Some(NAME.to_bytes())
    };
    Census {
        fds: read_dir("/proc/self/fd").unwrap().count(),
        mappings: maps.lines().filter(|line| line.contains("/memfd:")).count(),
        threads: tasks(Pid::this()).iter().filter(|task| named(task)).count(),
        children: children().iter().map(Pid::to_string).collect(),
    }
}
