//! What a seed chooses before its first step.

use rapace_core::GeometryConfig;

use super::ledger::BYTES_MAX;
use super::random::Random;
use crate::limits::Limits;

/// What may happen next at one of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Takes a few frames, if it is awake.
    Look,
    /// Goes to sleep, if nothing has come.
    Sleep,
    Open,
    /// Opens a call that waits for room.
    OpenAgain,
    CallerSends,
    CallerTakes,
    CallerEnds,
    CallerLooks,
    CallerGivesUp,
    Accept,
    CalleeSends,
    CalleeTakes,
    CalleeAsks,
    CalleeAnswers,
    /// Drops a body that lies in the peer's memory.
    Release,
    TimePasses,
}

pub(super) const ACTS: [Act; 16] = [
    Act::Look,
    Act::Sleep,
    Act::Open,
    Act::OpenAgain,
    Act::CallerSends,
    Act::CallerTakes,
    Act::CallerEnds,
    Act::CallerLooks,
    Act::CallerGivesUp,
    Act::Accept,
    Act::CalleeSends,
    Act::CalleeTakes,
    Act::CalleeAsks,
    Act::CalleeAnswers,
    Act::Release,
    Act::TimePasses,
];

/// How the session ends, behind all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Quiet,
    GoAway,
    Close,
    Kill,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) geometry: GeometryConfig,
    /// Those of A and of B.
    pub(super) limits: [Limits; 2],
    /// Whether messages may be too many to be kept.
    pub(super) tight: bool,
    /// Whether both sides know streams.
    pub(super) streams: bool,
    /// Who reads the other's large payloads in place.
    pub(super) in_place: [bool; 2],
    /// How often each act comes, at A and at B.
    pub(super) weights: [[u32; ACTS.len()]; 2],
    /// Sizes of messages.
    pub(super) sizes: Vec<usize>,
    pub(super) steps: usize,
    /// All that is under way arrives once in so many steps.
    pub(super) rest_every: u32,
    /// The longest time, in steps, that a side does not look.
    pub(super) stall_max: u64,
    pub(super) ending: Ending,
}

impl Plan {
    pub(super) fn new(random: &mut Random) -> Self {
        let geometry = random.pick(&[
            // Many slots and few descriptors, the other way round, few of both, and the default.
            GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 64 },
            GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 64, slot_bytes: 256 },
            GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 512 },
            GeometryConfig { segment_bytes: 256 << 10, ring_capacity: 16, slot_bytes: 4096 },
            GeometryConfig::default(),
        ]);
        let tight = random.chance(25);
        let slot = geometry.slot_bytes as usize;
        let half = geometry.segment_bytes / 2;
        let mut sizes = vec![0, 1, 8, 24, 25, slot - 8, slot, slot + 1, 3 * slot];
        if random.chance(70) {
            sizes.extend([half / 8, half / 4, half / 2, half.min(100_000)]);
        }
        if random.chance(30) {
            sizes.extend([2 * half.min(50_000), 3 * half.min(40_000)]);
        }
        sizes.retain(|size| *size <= BYTES_MAX);
        let calls = [random.pick(&[1, 2, 4, 8, 16, 30]), random.pick(&[1, 2, 4, 8, 16, 30])];
        let limits = calls.map(|calls_max| Limits {
            message_bytes_max: if tight { half.clamp(2000, 50_000) } else { 200_000 },
            metadata_bytes_max: 300,
            calls_max,
            served_max: None,
            depth_max: 3,
            inbound_bytes_max: if tight { half.clamp(2000, 50_000) + 2000 } else { 64 << 20 },
            stream_window_bytes: random.pick(&[1, 64, 128, 1000, 1024, 10_000, 100_000]),
            outbound_bytes_max: if tight { 1 << 16 } else { 64 << 20 },
        });
        let mut weights = [[0; ACTS.len()]; 2];
        for weight in weights.iter_mut().flatten() {
            *weight = random.pick(&[0, 2, 3, 4, 8]);
        }
        for side in &mut weights {
            // Whatever else happens, frames move and calls begin, and not too many are given up.
            side[0] += random.pick(&[1, 4, 12]);
            side[2] = side[2].clamp(1, 3);
            side[8] = side[8].min(random.pick(&[0, 0, 1]));
            side[9] += 1;
            side[3] = side[3].min(1);
            side[15] = side[15].min(1);
        }
        Self {
            geometry,
            limits,
            tight,
            streams: random.chance(95),
            in_place: [random.chance(30), random.chance(50)],
            weights,
            sizes,
            steps: random.pick(&[100, 300, 1000, 2000]),
            rest_every: random.pick(&[30, 100, 300]),
            stall_max: random.pick(&[20, 100, 400]),
            ending: random.pick(&[
                Ending::Quiet,
                Ending::Quiet,
                Ending::GoAway,
                Ending::Close,
                Ending::Kill,
                Ending::Kill,
            ]),
        }
    }

    /// The size of a message to who takes at most `bound` bytes: now and then one that is not taken.
    pub(super) fn size(&self, bound: usize, random: &mut Random) -> usize {
        let size = random.pick(&self.sizes);
        if size <= bound || random.chance(3) { size } else { random.pick(&[1, 8, 24, 25, bound]) }
    }
}
