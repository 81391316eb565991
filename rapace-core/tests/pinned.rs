//! Threads that keep to one core, in a process that may use more.
#![cfg(not(loom))]
#![allow(missing_docs, clippy::unwrap_used)]

use std::thread;
use std::time::Duration;

use rapace_core::wait::Calibration;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Alone in its process, as the measurement is made once.
#[test]
fn a_thread_of_one_core_says_nothing_of_the_machine() {
    let allowed = sched_getaffinity(None).unwrap();
    if allowed.count() == 1 {
        return;
    }
    let unmeasured = Calibration::of_this_machine();
    let pinned = thread::spawn(move || {
        let mut only = CpuSet::new();
        only.set((0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap());
        sched_setaffinity(None, &only).unwrap();
        loop {
            let measured = Calibration::of_this_machine();
            if measured != unmeasured {
                return measured;
            }
            thread::yield_now();
        }
    });
    assert!(pinned.join().unwrap().budget > Duration::ZERO, "a process of several cores does not look at all");
}
