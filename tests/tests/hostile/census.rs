//! What this process has: descriptors, threads, mappings, children.

use std::collections::BTreeMap;
use std::fs;

use nix::unistd::Pid;

use crate::support::tasks;

/// How many there are of each kind, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) descriptors: BTreeMap<String, usize>,
    pub(crate) threads: BTreeMap<String, usize>,
    /// Mappings of memfds.
    pub(crate) mappings: usize,
    /// Children, those that are dead and not reaped included.
    pub(crate) children: usize,
}

/// The threads that run tests are called after them, and before that after the program; they come and go.
const TESTS: [&str; 2] = ["::", "hostile-"];

impl Census {
    pub(crate) fn take() -> Self {
        let own = tasks(Pid::this());
        let read = |task: &std::path::PathBuf, what| fs::read_to_string(task.join(what)).unwrap_or_default();
        let names = own.iter().map(|task| read(task, "comm").trim().to_owned());
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        // One of them is that of the directory itself.
        let kinds = links.map(|link| kind(&link.to_string_lossy()));
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        Self {
            descriptors: count(kinds.filter(|kind| !kind.starts_with("/proc/"))),
            threads: count(names.filter(|name| !name.is_empty() && !TESTS.iter().any(|part| name.contains(part)))),
            mappings: maps.lines().filter(|line| line.contains("/memfd:")).count(),
            children: own.iter().map(|task| read(task, "children").split_whitespace().count()).sum(),
        }
    }

    /// The same without threads, some of which a host keeps for a while.
    pub(crate) fn without_threads(self) -> Self {
        Self { threads: BTreeMap::new(), ..self }
    }
}

/// Without the number that tells descriptors of one kind apart.
fn kind(link: &str) -> String {
    link.split_once(":[").map_or(link, |(kind, _)| kind).to_owned()
}

fn count(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    counts
}

#[test]
fn the_census_of_a_hostile_test_sees_what_there_is() {
    let _alone = crate::stand::alone();
    let before = Census::take();
    let pipes = |census: &Census| census.descriptors.get("pipe").copied().unwrap_or_default();
    let (one, other) = std::io::pipe().unwrap();
    let thread = std::thread::Builder::new().name("seen".to_owned()).spawn(move || drop(std::io::read_to_string(one)));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    crate::support::eventually("all of it is seen", || {
        let now = Census::take();
        now.children >= 1 && pipes(&now) >= 2 && now.threads.contains_key("seen")
    });
    child.wait().unwrap();
    drop(other);
    thread.unwrap().join().unwrap();
    // Of what other tests have left to be done, a host keeps some threads for a while.
    crate::support::eventually("all of it is gone", || {
        let now = Census::take();
        now.children <= before.children && pipes(&now) <= pipes(&before) && !now.threads.contains_key("seen")
    });
}
