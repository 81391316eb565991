//! What the host and its plugins agree on.

use rapace::prelude::*;
use rapace::registry::BuildError;
use thiserror::Error;

use crate::temper::Trick;

/// The method that a plugin without a session of its own has to know.
pub(crate) const TURN_ID: u32 = 110;

/// What plugins do.
#[rapace::service(name = "soak.Worker", version = "1.0", provider = "plugin")]
pub(crate) trait Worker {
    /// The number behind this one.
    #[method(id = 101)]
    async fn ping(&self, number: u64) -> u64;

    /// A load as large as this one.
    #[method(id = 102)]
    async fn echo(&self, load: Load) -> Result<Load, Failure>;

    /// So many loads.
    #[method(id = 103)]
    fn count(&self, seed: u64, items: u32, bytes: u32) -> impl Stream<Item = Load>;

    /// How many loads have come.
    #[method(id = 104)]
    async fn sum(&self, loads: Incoming<Load>) -> Result<u32, Failure>;

    /// Answers each load as [`echo`](Self::echo) does.
    #[method(id = 105)]
    fn relay(&self, loads: Incoming<Load>) -> impl Stream<Item = Load>;

    /// How many calls there are between this one and the innermost, each in the other.
    #[method(id = 106)]
    async fn nested(&self, ctx: &Context, depth: u32) -> Result<u32, Failure>;

    /// Takes so many loads from the host.
    #[method(id = 107)]
    async fn pull(&self, ctx: &Context, seed: u64, items: u32) -> Result<u32, Failure>;

    /// Answers when nobody waits any more.
    #[method(id = 108)]
    async fn wait(&self, ctx: &Context);

    /// Does its trick, so many milliseconds later; at once, and without an answer, at 0.
    #[method(id = 110)]
    async fn turn(&self, trick: Trick, after_ms: u32);

    /// Makes no more calls of its own, and says what it still keeps.
    #[method(id = 111)]
    async fn left(&self) -> Left;
}

/// What the host does for its plugins.
#[rapace::service(name = "soak.Host", version = "1.0", provider = "host")]
pub(crate) trait Host {
    /// The other half of [`Worker::nested`].
    #[method(id = 201)]
    async fn bounce(&self, ctx: &Context, depth: u32) -> Result<u32, Failure>;

    /// So many loads.
    #[method(id = 202)]
    fn stock(&self, seed: u64, items: u32, bytes: u32) -> impl Stream<Item = Load>;

    /// A load as large as this one.
    #[method(id = 203)]
    async fn echo(&self, load: Load) -> Result<Load, Failure>;
}

/// Bytes that can be told from any others.
#[rapace::message]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Why a method has no result.
#[rapace::message]
#[derive(Error)]
pub(crate) enum Failure {
    /// What came is not what was sent.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A call within the call has failed.
    #[error("{0}")]
    Inner(String),
}

/// What a plugin keeps, beside the call that asks.
#[rapace::message]
#[derive(Default)]
pub(crate) struct Left {
    /// Calls, tasks, runs of the host's slots, and bytes.
    pub(crate) kept: u64,
    /// Own slots that are not free.
    pub(crate) slots: u64,
    /// Faults of the host.
    pub(crate) faults: u64,
    /// Calls of `ping` and `echo` that it was given.
    pub(crate) handled: u64,
    /// Its own calls to the host.
    pub(crate) made: u64,
    /// What went wrong with them.
    pub(crate) failures: Vec<String>,
}

impl Load {
    pub(crate) fn new(seed: u64, bytes: usize) -> Self {
        let mut load = Self { seed, bytes: vec![0; bytes] };
        fastrand::Rng::with_seed(seed).fill(&mut load.bytes);
        load
    }

    /// The reply to it, or in what it is not what was sent.
    pub(crate) fn answer(&self) -> Result<Self, Failure> {
        if *self != Self::new(self.seed, self.bytes.len()) {
            return Err(Failure::Damaged(format!("a load of {} bytes with seed {}", self.bytes.len(), self.seed)));
        }
        Ok(Self::new(self.seed.wrapping_add(1), self.bytes.len()))
    }

    /// The load of this index in a stream.
    pub(crate) fn of_stream(seed: u64, index: u32, bytes: usize) -> Self {
        Self::new(seed.wrapping_add(u64::from(index) << 8), bytes)
    }
}

/// All services of both sides.
pub(crate) fn registry() -> Result<Registry, BuildError> {
    Services::new().calls::<WorkerClient>().calls::<HostClient>().registry()
}

/// A wire size as a count of bytes.
pub(crate) fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_load_is_told_from_a_whole_one() {
        let load = Load::new(5, 100);
        let answer = load.answer().unwrap();
        assert_eq!((answer.seed, answer.bytes.len()), (6, 100));
        assert_ne!(answer.bytes, load.bytes);
        for index in 0..100 {
            let mut damaged = load.clone();
            damaged.bytes[index] ^= 1;
            assert!(damaged.answer().is_err());
        }
        assert!(Load { seed: 6, ..load }.answer().is_err());
    }
}
