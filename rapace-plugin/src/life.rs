//! What the parts of a running plugin share: the way to the host, the word to stop, and what it is at.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::host::HostHandle;
use crate::runtime::Context;
use crate::stop::Stop;

#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) host: HostHandle,
    pub(crate) stop: Stop,
    pub(crate) activity: Activity,
    /// Somebody has started the program to join its host, and may look at what it says.
    pub(crate) by_hand: bool,
    /// To be entered wherever the program's code is run.
    pub(crate) runtime: Context,
    #[cfg(feature = "tracing")]
    pub(crate) log: crate::log::HostLog,
}

/// What a plugin is at. None of it publishes anything: relaxed orderings do.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    works: AtomicUsize,
    /// Something was done since this was last asked.
    noted: AtomicBool,
}

impl Activity {
    /// Something is done. Calls pay a load for it, as long as nobody asks.
    pub(crate) fn note(&self) {
        if !self.noted.load(Ordering::Relaxed) {
            self.noted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something was done since this was last asked.
    pub(crate) fn take_noted(&self) -> bool {
        self.noted.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn begin_work(&self) {
        self.works.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_work(&self) {
        self.note();
        self.works.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(feature = "tracing")]
impl Life {
    /// Waits until the host has what was told up to now, or the time is over.
    pub(crate) fn flush_log(&self, deadline: std::time::Instant) {
        self.log.flush(deadline);
    }

    /// Nothing more is told: the session has ended.
    pub(crate) fn close_log(&self) {
        self.log.close();
    }
}

#[cfg(not(feature = "tracing"))]
impl Life {
    pub(crate) fn flush_log(&self, _: std::time::Instant) {}

    pub(crate) fn close_log(&self) {}
}

impl Life {
    /// Of a plugin with this runtime.
    pub(crate) fn new(runtime: Context, by_hand: bool) -> Self {
        Self { runtime, by_hand, ..Self::default() }
    }

    /// Whether there is work, or a call of the host beside `own`: those that ask.
    pub(crate) fn is_busy(&self, own: usize) -> bool {
        let calls = || self.host.session().map_or(0, |session| session.stats().served_in_flight);
        self.activity.works.load(Ordering::Relaxed) > 0 || calls() > own
    }
}
