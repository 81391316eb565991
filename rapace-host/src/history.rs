//! What has become of a plugin's processes so far.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::crash::CrashReport;

/// Crashes that are kept.
const CRASHES_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct History {
    restarts: AtomicU64,
    crash_count: AtomicU64,
    crashes: Mutex<VecDeque<CrashReport>>,
}

impl History {
    /// A process was started in the place of another.
    pub(crate) fn restarted(&self) {
        // Counts that order nothing.
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn crashed(&self, report: CrashReport) {
        self.crash_count.fetch_add(1, Ordering::Relaxed);
        let mut crashes = self.crashes.lock();
        if crashes.len() == CRASHES_MAX {
            crashes.pop_front();
        }
        crashes.push_back(report);
    }

    pub(crate) fn crash_count(&self) -> u64 {
        self.crash_count.load(Ordering::Relaxed)
    }

    /// The last crashes, the last of them last.
    pub(crate) fn crashes(&self) -> Vec<CrashReport> {
        self.crashes.lock().iter().cloned().collect()
    }
}
