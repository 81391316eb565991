//! What a session says of itself, to be sent to the other process.

use rapace_session::SessionStats;

use crate::pattern::{word, words};

/// The counters of a session that tests look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Calls of its side in flight.
    pub calls_in_flight: u64,
    /// Calls of the peer in flight; the one that asks for the snapshot is among them.
    pub served_in_flight: u64,
    /// Bytes from the peer that are kept.
    pub inbound_bytes: u64,
    /// Bytes that wait for room.
    pub outbound_bytes: u64,
    /// Runs of slots that are held.
    pub runs_held: u64,
    /// Own slots that are free.
    pub slots_free: u64,
    /// Handlers that wait for something.
    pub tasks: u64,
    /// Faults of the peer.
    pub faults: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Bells sent: a system call each.
    pub bells_sent: u64,
    /// Sleeps: a system call each.
    pub sleeps: u64,
}

impl From<SessionStats> for Snapshot {
    fn from(stats: SessionStats) -> Self {
        Self {
            calls_in_flight: stats.calls_in_flight as u64,
            served_in_flight: stats.served_in_flight as u64,
            inbound_bytes: stats.inbound_bytes as u64,
            outbound_bytes: stats.outbound_bytes as u64,
            runs_held: stats.runs_held.into(),
            slots_free: stats.slots_free.into(),
            tasks: stats.tasks as u64,
            faults: stats.faults.into(),
            frames_sent: stats.link.frames_sent,
            bells_sent: stats.link.bells_sent,
            sleeps: stats.link.sleeps,
        }
    }
}

impl Snapshot {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        words(&[
            self.calls_in_flight,
            self.served_in_flight,
            self.inbound_bytes,
            self.outbound_bytes,
            self.runs_held,
            self.faults,
            self.frames_sent,
            self.bells_sent,
            self.sleeps,
            self.slots_free,
            self.tasks,
        ])
    }

    /// The snapshot in bytes of [`Snapshot::encode`].
    pub fn decode(bytes: &[u8]) -> Self {
        let at = |index| word(bytes, index);
        Self {
            calls_in_flight: at(0),
            served_in_flight: at(1),
            inbound_bytes: at(2),
            outbound_bytes: at(3),
            runs_held: at(4),
            faults: at(5),
            frames_sent: at(6),
            bells_sent: at(7),
            sleeps: at(8),
            slots_free: at(9),
            tasks: at(10),
        }
    }

    /// What waits or is kept, all together.
    pub fn left_over(&self) -> u64 {
        self.calls_in_flight
            + self.served_in_flight
            + self.inbound_bytes
            + self.outbound_bytes
            + self.runs_held
            + self.tasks
    }
}
