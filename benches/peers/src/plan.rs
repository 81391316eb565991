//! How much is measured: sizes, times, and what a figure is called.

use std::time::Duration;

/// The sizes of unary calls.
pub const SIZES: [usize; 6] = [8, 64, 1 << 10, 4 << 10, 64 << 10, 1 << 20];
/// The sizes of payloads one way.
pub const ONE_WAY_SIZES: [usize; 2] = [64 << 10, 1 << 20];
/// How many calls are in flight, and how long they are.
pub const IN_FLIGHT: (usize, usize) = (64, 64);

/// What one pair of processes measures.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often each row is run.
    pub runs: usize,
    /// For unary calls of a size.
    pub unary: Duration,
    /// For each figure of a ratio that is measured for itself.
    pub pair: Duration,
    /// For calls in flight, and for each size one way.
    pub throughput: Duration,
    /// Silences, and how many calls follow one.
    pub silences: &'static [(Duration, u64)],
    /// For which idle processes are watched.
    pub idle: Duration,
    /// How many servers are started to time it.
    pub starts: usize,
    /// How many plugins one host has.
    pub plugins: &'static [usize],
    /// How many threads call at once.
    pub threads: &'static [usize],
    /// How many million calls are made in a row.
    pub millions: u64,
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const FULL_SILENCES: [(Duration, u64); 3] =
    [(Duration::from_millis(1), 60), (Duration::from_millis(10), 15), (Duration::from_secs(1), 1)];
const QUICK_SILENCES: [(Duration, u64); 2] = [(Duration::from_millis(1), 30), (Duration::from_millis(10), 5)];

impl Plan {
    /// In less than ten minutes.
    pub fn full() -> Self {
        Self {
            runs: 5,
            unary: MS(120),
            pair: MS(40),
            throughput: MS(160),
            silences: &FULL_SILENCES,
            idle: MS(500),
            starts: 5,
            plugins: &[1, 8, 32, 200],
            threads: &[1, 4, 16, 64],
            millions: 10,
        }
    }

    /// In less than 90 seconds.
    pub fn quick() -> Self {
        Self {
            runs: 3,
            unary: MS(40),
            pair: MS(15),
            throughput: MS(60),
            silences: &QUICK_SILENCES,
            idle: MS(100),
            starts: 3,
            plugins: &[1, 8, 32],
            threads: &[1, 64],
            millions: 0,
        }
    }
}
