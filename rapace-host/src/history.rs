//! What has become of a plugin's processes so far.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::crash::CrashReport;
use crate::lifecycle::PluginState;
use crate::seat::Step;

/// Crashes that are kept.
const CRASHES_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct History {
    starts: AtomicU64,
    restarts: AtomicU64,
    crash_count: AtomicU64,
    reloads: AtomicU64,
    crashes: Mutex<VecDeque<CrashReport>>,
}

impl History {
    /// It has made a step of its life.
    pub(crate) fn note(&self, step: &Step) {
        match step.to {
            PluginState::Connected => count(&self.starts),
            PluginState::Crashed => count(&self.crash_count),
            _ => {}
        }
    }

    /// A process was started in the place of another.
    pub(crate) fn restarted(&self) {
        count(&self.restarts);
    }

    /// A version has taken the place of another.
    pub(crate) fn reloaded(&self) {
        count(&self.reloads);
    }

    /// Keeps what is known of a crash.
    pub(crate) fn crashed(&self, report: CrashReport) {
        let mut crashes = self.crashes.lock();
        if crashes.len() == CRASHES_MAX {
            crashes.pop_front();
        }
        crashes.push_back(report);
    }

    pub(crate) fn starts(&self) -> u64 {
        read(&self.starts)
    }

    pub(crate) fn restarts(&self) -> u64 {
        read(&self.restarts)
    }

    pub(crate) fn reloads(&self) -> u64 {
        read(&self.reloads)
    }

    /// Lives that ended badly, and starts that came to nothing.
    pub(crate) fn crash_count(&self) -> u64 {
        read(&self.crash_count)
    }

    /// The last crashes, the last of them last.
    pub(crate) fn crashes(&self) -> Vec<CrashReport> {
        self.crashes.lock().iter().cloned().collect()
    }
}

/// Counts order nothing.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
