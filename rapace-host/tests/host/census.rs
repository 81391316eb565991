//! What a process has, as the kernel counts it.

use std::fs;

#[derive(Debug)]
pub(crate) struct Census {
    descriptors: usize,
    threads: usize,
    children: usize,
    /// Segments among the mappings.
    segments: usize,
    resident_kib: usize,
}

/// Memory by which two counts may differ.
const ROOM_KIB: usize = 4 << 10;

impl Census {
    pub(crate) fn is_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.children <= before.children
            && self.segments <= before.segments
            && self.resident_kib <= before.resident_kib + ROOM_KIB
    }
}

pub(crate) fn count() -> Census {
    let entries = |path| fs::read_dir(path).unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    Census {
        descriptors: entries("/proc/self/fd"),
        threads: entries("/proc/self/task"),
        children: children.map(|children| children.split_whitespace().count()).sum(),
        segments: fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:").count(),
        resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}
