//! Whether the peer makes progress (SPEC section 9).
//!
//! Death is said by the kernel alone. This judges what a live process says of itself, by this side's clock: a peer that
//! is active, or that has been rung, owes progress.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rapace_core::link::Pulse;

/// How the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// It makes progress, or has not owed any for long.
    Alive,
    /// It has nothing to do, and owes nothing until it is rung.
    Dormant,
    /// It owes progress and has made none for the liveness timeout. It may come back.
    Unresponsive {
        /// How long it has made none.
        silent: Duration,
    },
    /// It is gone, or the session has ended; and how its process ended, if that is known.
    Gone {
        /// How its process ended.
        exit: Option<ExitStatus>,
    },
}

/// A timeout of nothing does not make a waiter look without pause.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// The judge of one peer.
#[derive(Debug)]
pub(crate) struct Liveness {
    timeout: Duration,
    heartbeat: u64,
    /// When the heartbeat was last seen to move, or the peer to owe nothing.
    moved: Instant,
    /// A bell has been rung since the heartbeat moved.
    rung: bool,
}

impl Liveness {
    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        Self { timeout, heartbeat: 0, moved: now, rung: false }
    }

    /// Whether it has been rung since this heartbeat.
    pub(crate) fn is_rung(&self, heartbeat: u64) -> bool {
        self.rung && self.heartbeat == heartbeat
    }

    /// The peer has been rung, now or earlier in the sleep that goes on.
    pub(crate) fn rung(&mut self, heartbeat: u64, now: Instant) {
        self.note(heartbeat, now);
        if !self.rung {
            self.rung = true;
            self.moved = now;
        }
    }

    /// What the peer says now means this.
    pub(crate) fn judge(&mut self, pulse: Pulse, heartbeat: u64, now: Instant) -> PeerState {
        self.note(heartbeat, now);
        if pulse == Pulse::Dormant && !self.rung {
            self.moved = now;
            return PeerState::Dormant;
        }
        let silent = now.saturating_duration_since(self.moved);
        if silent >= self.timeout { PeerState::Unresponsive { silent } } else { PeerState::Alive }
    }

    /// How long it has made no progress though it owed some, by what it says now.
    pub(crate) fn silent(&mut self, pulse: Pulse, heartbeat: u64, now: Instant) -> Duration {
        match self.judge(pulse, heartbeat, now) {
            PeerState::Dormant => Duration::ZERO,
            _ => now.saturating_duration_since(self.moved),
        }
    }

    /// When to look again, for a waiter that depends on the peer.
    pub(crate) fn next_look(&self) -> Duration {
        self.timeout.max(SHORTEST_LOOK)
    }

    fn note(&mut self, heartbeat: u64, now: Instant) {
        if heartbeat != self.heartbeat {
            self.heartbeat = heartbeat;
            self.moved = now;
            self.rung = false;
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "tokio", not(shuttle)))]
mod handlers;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_active_peer_owes_progress() {
        let start = Instant::now();
        let mut judge = Liveness::new(SECOND, start);
        assert_eq!(judge.judge(Pulse::Active, 1, start), PeerState::Alive);
        assert_eq!(judge.judge(Pulse::Active, 1, start + SECOND / 2), PeerState::Alive);
        assert_eq!(judge.judge(Pulse::Active, 1, start + SECOND), PeerState::Unresponsive { silent: SECOND });
        assert_eq!(judge.judge(Pulse::Active, 2, start + SECOND), PeerState::Alive);
    }

    #[test]
    fn a_dormant_peer_owes_nothing_until_it_is_rung() {
        let start = Instant::now();
        let mut judge = Liveness::new(SECOND, start);
        assert_eq!(judge.judge(Pulse::Dormant, 7, start), PeerState::Dormant);
        assert_eq!(judge.judge(Pulse::Dormant, 7, start + SECOND * 100), PeerState::Dormant);
        judge.rung(7, start + SECOND * 100);
        assert_eq!(judge.judge(Pulse::Dormant, 7, start + SECOND * 100), PeerState::Alive);
        judge.rung(7, start + SECOND * 101);
        assert_eq!(judge.judge(Pulse::Dormant, 7, start + SECOND * 101), PeerState::Unresponsive { silent: SECOND });
        assert_eq!(judge.judge(Pulse::Dormant, 8, start + SECOND * 101), PeerState::Dormant);
    }

    #[test]
    fn a_peer_that_becomes_active_has_its_time() {
        let start = Instant::now();
        let mut judge = Liveness::new(SECOND, start);
        assert_eq!(judge.judge(Pulse::Dormant, 7, start + SECOND * 100), PeerState::Dormant);
        assert_eq!(judge.judge(Pulse::Active, 7, start + SECOND * 100 + SECOND / 2), PeerState::Alive);
    }
}
