//! What the memory between a host and a plugin said when the plugin ended.

use std::fmt;
use std::time::Duration;

use rapace_session::{Condition, Pulse, SessionStats};

/// A session's memory at its end: counts, and no contents.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentAtEnd {
    /// Frames to the plugin.
    pub frames_sent: u64,
    /// Frames from it.
    pub frames_received: u64,
    /// Frames to the plugin that it had not taken, as far as it had said so; `None` if it said what cannot be.
    pub ring_used: Option<u32>,
    /// Frames that the ring takes.
    pub ring_capacity: u32,
    /// Slots of the host that were free; `None` if the plugin had returned what it did not have.
    pub slots_free: Option<u32>,
    /// Slots of the host.
    pub slot_count: u32,
    /// Runs of the plugin's slots that the host held.
    pub runs_held: u32,
    /// What the plugin had said of itself; `None` if that is nothing that can be said.
    pub peer: Option<Pulse>,
    /// How long it had made no progress though it owed some.
    pub silent: Duration,
    /// Rules that it broke.
    pub faults: u32,
}

impl SegmentAtEnd {
    pub(crate) fn new(condition: &Condition, stats: &SessionStats) -> Self {
        Self {
            frames_sent: stats.link.frames_sent,
            frames_received: stats.link.frames_received,
            ring_used: condition.ring_used,
            ring_capacity: condition.ring_capacity,
            slots_free: condition.slots_free,
            slot_count: condition.slot_count,
            runs_held: stats.runs_held,
            peer: condition.peer,
            silent: condition.silent,
            faults: stats.faults,
        }
    }
}

impl fmt::Display for SegmentAtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.peer {
            Some(Pulse::Starting) => "it was not ready",
            Some(Pulse::Active) => "it was awake",
            Some(Pulse::Dormant) => "it slept",
            Some(Pulse::Closed) => "it had closed",
            None => "its state was none that there is",
        })?;
        if !self.silent.is_zero() {
            write!(f, " and had made no progress for {:.1?}", self.silent)?;
        }
        write!(f, "; {} frames to it, {} from it", self.frames_sent, self.frames_received)?;
        match self.ring_used {
            Some(used) => write!(f, "; at most {used} of {} in the ring not taken", self.ring_capacity),
            None => f.write_str("; it had taken more frames than there were"),
        }?;
        match self.slots_free {
            Some(free) => write!(f, "; {free} of {} slots free", self.slot_count),
            None => f.write_str("; it had returned slots that it did not have"),
        }?;
        write!(f, ", {} runs of its slots held", self.runs_held)?;
        match self.faults {
            0 => Ok(()),
            faults => write!(f, "; {faults} rules broken"),
        }
    }
}
