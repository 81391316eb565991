//! The end of a tree of cgroups: its processes are killed, and its directories removed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long processes that are killed may take to be gone, where somebody waits for that.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The same where nobody does.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// After this time it is looked again who is there.
const LOOK: Duration = Duration::from_millis(50);
/// How long a directory without processes may be busy before it is tried again.
const BUSY: Duration = Duration::from_millis(1);
/// Directories of a tree that are removed at once.
const DIRECTORIES_MAX: usize = 1000;
/// Processes that are killed at once.
const PROCESSES_MAX: usize = 1000;

/// Kills all processes in these directories and those below, and removes the directories; says whether nothing is left when so
/// much time has passed. The marker is in the path of each of their cgroups: without it a process is none of theirs.
pub(super) fn end(roots: &[PathBuf], marker: &str, patience: Duration) -> bool {
    let start = Instant::now();
    for root in roots {
        // Each does what it can: the first is there where there is a limit of processes, the second in version 2.
        for (file, text) in [("pids.max", "0"), ("cgroup.kill", "1")] {
            let _ =
                File::options().write(true).open(root.join(file)).and_then(|mut file| file.write_all(text.as_bytes()));
        }
    }
    loop {
        let directories = roots.iter().flat_map(|root| tree(root)).collect::<Vec<_>>();
        let processes: BTreeSet<i32> = directories.iter().flat_map(|directory| processes(directory)).collect();
        let killed: Vec<OwnedFd> = processes.iter().take(PROCESSES_MAX).filter_map(|id| kill(*id, marker)).collect();
        let mut may_go = true;
        if processes.is_empty() {
            // Those below come behind those above.
            let removed = directories.iter().rev().map(fs::remove_dir);
            let errors: Vec<_> = removed.filter_map(Result::err).map(|error| error.kind()).collect();
            may_go = errors.iter().all(|kind| matches!(kind, ErrorKind::ResourceBusy | ErrorKind::NotFound));
        }
        if !roots.iter().any(|root| root.exists()) {
            return true;
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() || !may_go {
            return false;
        }
        match killed.first() {
            Some(process) => wait(process, left.min(LOOK)),
            None => thread::sleep(BUSY),
        }
    }
}

/// A directory and those below, as far as they are ended at once.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next) {
        let room = DIRECTORIES_MAX.saturating_sub(found.len());
        let below: Vec<_> = children(directory).take(room).collect();
        found.extend(below);
        next += 1;
    }
    found
}

/// The directories in one.
pub(super) fn children(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// The processes of a cgroup; one of which this process cannot know has no id.
fn processes(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|id| *id > 0).collect()
}

/// Kills a process, unless its id is another's meanwhile.
fn kill(id: i32, marker: &str) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
    let cgroups = fs::read_to_string(format!("/proc/{id}/cgroup")).ok()?;
    let ends_there = |line: &str, at: usize| matches!(line.as_bytes().get(at + marker.len()), None | Some(b'/'));
    if cgroups.lines().any(|line| line.match_indices(marker).any(|(at, _)| ends_there(line, at))) {
        // An error means that it has ended.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
    Some(pidfd)
}

fn wait(process: &OwnedFd, patience: Duration) {
    let timeout = Timespec::try_from(patience).ok();
    // An interrupted or failed poll only means that we look again.
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref());
}
