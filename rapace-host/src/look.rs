//! Looks after a plugin while it is called: whether it makes progress, and whether it is still wanted.
//!
//! A plugin that is idle is not looked at: its next call wakes the task.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rapace_session::{CallOptions, PeerState};
use tokio::time::sleep;

use crate::gate::PluginGate;
use crate::lifecycle::PluginState;
use crate::plugin::Shared;
use crate::policy::Unresponsive;
use crate::seat::Seat;

/// The plugin's method that says whether it may be stopped.
const IS_IDLE: u32 = 2005;
/// How long it may take to say so.
const IS_IDLE_PATIENCE: Duration = Duration::from_secs(1);
/// Looks in the time after which an idle plugin is stopped.
const LOOKS_PER_IDLE_TIMEOUT: u32 = 4;

/// What was seen of a plugin.
struct Seen {
    /// Frames to it and from it, of all its processes.
    frames: u64,
    /// Since when that has not changed.
    since: Instant,
    /// Which of its processes were unresponsive when they were last looked at: their places, and their ids.
    unresponsive: Vec<(u32, Option<u32>)>,
}

/// Looks after a plugin as long as there is one.
pub(crate) async fn look_after(plugin: Weak<Shared>, gate: Arc<PluginGate>) {
    let mut seen = Seen { frames: 0, since: Instant::now(), unresponsive: Vec::new() };
    loop {
        gate.called().await;
        // As early as can be: what is in flight at the next look has begun behind this one.
        let Some(called) = plugin.upgrade() else { return };
        called.instances().for_each(|(_, instance)| instance.look_at_calls());
        drop(called);
        loop {
            let Some(pause) = plugin.upgrade().map(|plugin| plugin.pause_between_looks()) else { return };
            sleep(pause).await;
            let Some(plugin) = plugin.upgrade() else { return };
            if plugin.look(&mut seen) {
                continue;
            }
            gate.look_away();
            if !plugin.look(&mut seen) {
                break;
            }
            gate.wake();
        }
    }
}

impl Shared {
    fn pause_between_looks(&self) -> Duration {
        let liveness = self.context.config.timeouts.liveness / 2;
        let idle = self.supervision().idle_timeout.map(|timeout| timeout / LOOKS_PER_IDLE_TIMEOUT);
        idle.map_or(liveness, |idle| idle.min(liveness)).max(Duration::from_millis(1))
    }

    /// Looks at all processes; says whether to look again though nobody calls.
    fn look(self: &Arc<Self>, seen: &mut Seen) -> bool {
        let mut again = false;
        let mut unresponsive = Vec::new();
        // A call may be on its way to a process, or wait for one.
        let (mut frames, mut in_flight) = (0, self.gate.has_calls());
        let mut serves = false;
        for seat in self.seats() {
            let Some(instance) = seat.instance() else { continue };
            let whose = (seat.number, instance.pid);
            let state = instance.session.peer_state();
            match state {
                PeerState::Alive => again = true,
                PeerState::Unresponsive { silent } => {
                    again = true;
                    if self.is_unresponsive(&seat, silent, seen.unresponsive.contains(&whose)) {
                        unresponsive.push(whose);
                    }
                }
                _ => {}
            }
            if matches!(state, PeerState::Alive | PeerState::Dormant) && seen.unresponsive.contains(&whose) {
                tracing::info!(plugin = %self.name, pid = instance.pid, "makes progress again");
            }
            instance.look_at_calls();
            let stats = instance.session.stats();
            frames += stats.link.frames_sent + stats.link.frames_received;
            in_flight |= stats.calls_in_flight > 0;
            serves |= stats.served_in_flight > 0;
        }
        seen.unresponsive = unresponsive;
        let now = Instant::now();
        if in_flight || serves || frames != seen.frames {
            (seen.frames, seen.since) = (frames, now);
        }
        let runs = self.seats().iter().any(|seat| seat.state() == PluginState::Running);
        if let Some(timeout) = self.supervision().idle_timeout
            && runs
        {
            again = true;
            if now.saturating_duration_since(seen.since) >= timeout {
                seen.since = now;
                let plugin = Arc::clone(self);
                self.context.attendance.soon(move || plugin.stop_if_idle());
            }
        }
        again || in_flight
    }

    /// Says whether this matters.
    fn is_unresponsive(self: &Arc<Self>, seat: &Arc<Seat>, silent: Duration, again: bool) -> bool {
        let Some(instance) = seat.instance() else { return false };
        // One that sets itself up, or is shut down, has its own time for that.
        if !matches!(seat.state(), PluginState::Running | PluginState::Draining) {
            return false;
        }
        if !again {
            tracing::warn!(plugin = %self.name, pid = instance.pid, ?silent, "is unresponsive");
        }
        // One that a person has started may be stopped in a debugger.
        if seat.spec.supervision.unresponsive == Unresponsive::Kill && !instance.is_by_hand {
            if !again {
                tracing::warn!(plugin = %self.name, pid = instance.pid, "is killed, because it is unresponsive");
            }
            let (plugin, seat) = (Arc::clone(self), Arc::clone(seat));
            self.context.attendance.soon(move || {
                instance.kill();
                plugin.died(&seat, &instance);
            });
        }
        true
    }

    /// Stops it, unless it says that it is at work, or a call has come meanwhile.
    fn stop_if_idle(self: &Arc<Self>) {
        // Who is being started, stopped or replaced is not idle, and may take its time. It will be looked at again.
        let Some(_in_transition) = self.in_transition.try_lock() else { return };
        let seats: Vec<_> = self.seats().into_iter().filter(|seat| seat.state() == PluginState::Running).collect();
        let is_idle = |seat: &Arc<Seat>| {
            let Some(instance) = seat.instance() else { return true };
            if instance.is_by_hand {
                return false;
            }
            let options = CallOptions::new().deadline(IS_IDLE_PATIENCE);
            // One that does not serve it has no opinion.
            let busy = instance.session.call(IS_IDLE, b"", &options).is_ok_and(|reply| reply.body == [0][..]);
            let stats = instance.session.stats();
            !busy && stats.calls_in_flight == 0 && stats.served_in_flight == 0
        };
        if self.gate.has_calls() || !seats.iter().all(is_idle) {
            return;
        }
        tracing::info!(plugin = %self.name, "is stopped, because nothing calls it");
        for seat in &seats {
            self.stop(seat, true);
        }
    }
}
