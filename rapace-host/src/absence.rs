//! What becomes of calls while a plugin has no process that takes them: they wait for one that is on its way, or are refused.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rapace_session::{Absence, Code, OnAbsence, Status};

use crate::lifecycle::PluginState;
use crate::plugin::Shared;
use crate::seat::Seat;

/// Answers calls that find no session.
pub(crate) struct Absent(pub(crate) Weak<Shared>);

impl OnAbsence for Absent {
    fn absent(&self) -> Absence {
        let Some(plugin) = self.0.upgrade() else {
            return Absence::Refused(Status::new(Code::Unavailable, "the host of the plugin is gone"));
        };
        if plugin.holds_calls.load(Ordering::SeqCst) {
            // Whoever holds them has times of its own for all that it does, and lets go of them behind that.
            return Absence::Coming { within: Duration::MAX };
        }
        let timeouts = &plugin.context.config.timeouts;
        let within = if plugin.supervision().calls_wait { timeouts.call } else { timeouts.start };
        // One that takes no more calls, and has yet to end: what becomes of it decides. Looked at again behind the note, which
        // whoever notices its end reads.
        let is_leaving = || plugin.seats().iter().any(|seat| seat.state() == PluginState::Running);
        if is_leaving() {
            plugin.is_awaited.store(true, Ordering::SeqCst);
            if is_leaving() {
                return Absence::Coming { within };
            }
        }
        if plugin.seats().iter().any(|seat| seat.is_asleep()) {
            let sleeper = Arc::clone(&plugin);
            plugin.context.attendance.soon(move || sleeper.wake());
        } else if !plugin.is_coming() {
            return Absence::Refused(plugin.absence());
        }
        Absence::Coming { within }
    }
}

impl Shared {
    /// Whether calls may wait for a start that nobody but the policy makes.
    pub(crate) fn is_coming(&self) -> bool {
        self.supervision().calls_wait && self.seats().iter().any(|seat| seat.is_coming())
    }

    /// What is said to a call when there is no session.
    pub(crate) fn absence(&self) -> Status {
        Status::new(Code::Unavailable, format!("plugin {} is {}", self.name, self.state()))
    }

    /// Calls that wait are refused where there is nothing to wait for any more.
    pub(crate) fn release_calls(&self) {
        let waits = self.supervision().calls_wait && !self.holds_calls.load(Ordering::SeqCst);
        let may_come = |seat: &Arc<Seat>| seat.state() == PluginState::Running || seat.is_asleep() || seat.is_coming();
        if waits && !self.seats().iter().any(may_come) {
            self.slot.fail(&self.absence());
        }
    }

    /// Has calls wait, until what this gives is dropped.
    pub(crate) fn hold_calls(&self) -> HeldCalls<'_> {
        self.holds_calls.store(true, Ordering::SeqCst);
        HeldCalls(self)
    }
}

/// Calls wait for the plugin while this is there.
pub(crate) struct HeldCalls<'a>(&'a Shared);

impl Drop for HeldCalls<'_> {
    fn drop(&mut self) {
        self.0.holds_calls.store(false, Ordering::SeqCst);
        if self.0.state() != PluginState::Running {
            self.0.slot.fail(&self.0.absence());
        }
    }
}
