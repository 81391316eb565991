//! What a client is given to do: so many calls of so many bytes, within a time.
//!
//! A client asks for the mark of the next payload, fills it, calls, and shows the reply. The clock of a call starts when its
//! payload is about to be filled and stops when its reply has been summed.

use std::time::Duration;

use race_library::{sum, sum_of};

use crate::Error;
use crate::clock::Clock;

/// Room for the times of single calls; what one measurement can hold.
pub const SAMPLES_MAX: usize = 400_000;
/// So many times are wanted, even if that takes longer than was given, up to `OVERTIME` as long.
const SAMPLES_MIN: usize = 1100;
const OVERTIME: u64 = 2;
/// Of work in flight, the clock is read once in so many calls.
const LOOK_EVERY: u64 = 32;

/// The byte that a payload consists of: never 0, and never that of the payload before.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn mark_of(call: u64) -> u8 {
    (call % 255) as u8 + 1
}

/// One measurement.
#[derive(Debug)]
pub struct Work {
    clock: Clock,
    bytes: usize,
    depth: usize,
    pause: Duration,
    calls_max: u64,
    samples_min: usize,
    time: u64,
    begun: u64,
    ended: u64,
    started: u64,
    last: u64,
    sum: u64,
    samples: Vec<u32>,
}

impl Work {
    /// Room for all measurements of a process, touched.
    pub fn room() -> Vec<u32> {
        let mut room = vec![1; SAMPLES_MAX];
        room.clear();
        room
    }

    /// Sequential calls of so many bytes for so long.
    pub fn sequential(clock: &Clock, bytes: usize, time: Duration, mut samples: Vec<u32>) -> Self {
        samples.clear();
        Self {
            clock: clock.clone(),
            bytes,
            depth: 1,
            pause: Duration::ZERO,
            calls_max: SAMPLES_MAX as u64,
            samples_min: SAMPLES_MIN,
            time: clock.ticks_of(time),
            begun: 0,
            ended: 0,
            started: 0,
            last: 0,
            sum: 0,
            samples,
        }
    }

    /// Sequential calls, each after a pause.
    pub fn paused(clock: &Clock, pause: Duration, calls: u64, samples: Vec<u32>) -> Self {
        let time = pause.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX)) + Duration::from_secs(5);
        Self { pause, calls_max: calls, samples_min: 0, ..Self::sequential(clock, 8, time, samples) }
    }

    /// Sequential calls, so many.
    pub fn calls(clock: &Clock, bytes: usize, calls: u64, samples: Vec<u32>) -> Self {
        Self { calls_max: calls, samples_min: 0, ..Self::sequential(clock, bytes, Duration::from_secs(5), samples) }
    }

    /// So many calls at once, or one way, for so long.
    pub fn in_flight(clock: &Clock, bytes: usize, depth: usize, time: Duration) -> Self {
        Self { depth, calls_max: u64::MAX, ..Self::sequential(clock, bytes, time, Vec::new()) }
    }

    /// No work: what stands in for work that is elsewhere.
    pub fn nothing(&self) -> Self {
        Self::calls(&self.clock, 0, 0, Vec::new())
    }

    /// How long payloads are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many calls are to be in flight.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The byte that the next payload consists of; `None` when there is no more to be done.
    #[inline]
    pub fn begin(&mut self) -> Option<u8> {
        if self.begun == 0 {
            self.started = self.clock.now();
            self.last = self.started;
        }
        if self.begun >= self.calls_max || self.is_over() {
            return None;
        }
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
            self.last = self.clock.now();
        }
        self.begun += 1;
        let mark = mark_of(self.begun);
        if self.depth > 1 {
            self.sum = self.sum.wrapping_add(sum_of(mark, self.bytes));
        }
        Some(mark)
    }

    /// [`begin`](Self::begin), with a payload of its own that is filled.
    #[inline]
    pub fn begin_owned(&mut self) -> Option<Vec<u8>> {
        self.begin().map(|mark| vec![mark; self.bytes])
    }

    #[inline]
    fn is_over(&mut self) -> bool {
        if self.depth > 1 {
            if self.begun.is_multiple_of(LOOK_EVERY) {
                self.last = self.clock.now();
            }
            return self.last - self.started > self.time;
        }
        let time = self.last - self.started;
        time > self.time && (self.samples.len() >= self.samples_min || time > self.time * OVERTIME)
    }

    /// Takes the reply of a call: reads all of it.
    #[inline]
    pub fn end(&mut self, reply: &[u8]) -> Result<(), Error> {
        let mark = reply.first().copied().unwrap_or_default();
        self.end_summed(reply.len(), sum(reply), mark)
    }

    /// Takes the reply of a call whose bytes were summed where they lie.
    #[inline]
    pub fn end_summed(&mut self, bytes: usize, sum: u64, mark: u8) -> Result<(), Error> {
        if bytes != self.bytes || sum != sum_of(mark, bytes) || (self.depth == 1 && mark != mark_of(self.begun)) {
            return Err(format!("a reply of {bytes} bytes, of {mark}, in answer to {}", self.bytes).into());
        }
        self.end_unread();
        Ok(())
    }

    /// Stops the clock of a call whose reply nobody reads.
    #[inline]
    pub fn end_unread(&mut self) {
        self.ended += 1;
        if self.depth == 1 {
            let now = self.clock.now();
            if self.samples.len() < SAMPLES_MAX {
                self.samples.push(u32::try_from(now - self.last).unwrap_or(u32::MAX));
            }
            self.last = now;
        }
    }

    /// Of calls one way: the receiver's sum of all payloads. Stops the clock.
    pub fn settle(&mut self, sum: u64) -> Result<(), Error> {
        if sum != self.sum {
            return Err(format!("the receiver's sum is {sum}, the sender's {}", self.sum).into());
        }
        self.ended = self.begun;
        Ok(())
    }

    /// Stops the clock of work in flight. The time in seconds.
    pub fn finish(&mut self) -> f64 {
        self.last = self.clock.now();
        self.clock.nanoseconds((self.last - self.started) as f64) * 1e-9
    }

    /// How many calls came to their end.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// This quantile of the times of calls, in nanoseconds; `None` if there are too few for it to mean anything.
    ///
    /// Times that are the same to a step of the counter are taken to be spread evenly over that step.
    pub fn quantile(&mut self, per_mille: usize) -> Option<f64> {
        let beyond = self.samples.len() * (1000 - per_mille) / 1000;
        if self.samples.is_empty() || (beyond == 0 && per_mille > 500) {
            return None;
        }
        self.samples.sort_unstable();
        let (rank, grain) = (self.samples.len() - 1 - beyond.min(self.samples.len() - 1), self.clock.grain);
        let step = (self.samples[rank] + grain / 2) / grain;
        let first = self.samples.partition_point(|time| (time + grain / 2) / grain < step);
        let end = self.samples.partition_point(|time| (time + grain / 2) / grain <= step);
        let part = ((rank - first) as f64 + 0.5) / (end - first) as f64;
        Some(self.clock.nanoseconds((f64::from(step) - 0.5 + part) * f64::from(grain)))
    }

    /// The room for times, for the next measurement.
    pub fn into_room(self) -> Vec<u32> {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(samples: Vec<u32>) -> Work {
        Work { samples, ..Work::calls(&Clock::of(1.0, 10), 8, 0, Vec::new()) }
    }

    #[test]
    fn times_of_one_step_are_spread_over_it() {
        let mut times = work(vec![10; 100]);
        for (per_mille, expected) in [(500, 9.95), (990, 14.85)] {
            assert!((times.quantile(per_mille).unwrap() - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn a_quantile_that_no_call_is_beyond_is_left_out() {
        assert_eq!(work(vec![10; 100]).quantile(999), None);
        assert_eq!(work(Vec::new()).quantile(500), None);
        assert!(work(vec![10]).quantile(500).is_some());
    }

    #[test]
    fn a_reply_of_other_bytes_is_refused() {
        let mut work = Work::calls(&Clock::of(1.0, 1), 8, 1, Vec::new());
        let mark = work.begin().unwrap();
        assert!(work.end(&[mark; 7]).is_err());
        assert!(work.end(&[mark, mark, mark, mark, mark, mark, mark, 0]).is_err());
        assert!(work.end(&[mark; 8]).is_ok());
        assert!(work.begin().is_none());
    }

    #[test]
    fn the_sum_of_marks_is_the_sum_of_their_bytes() {
        for bytes in [0, 1, 8, 13, 1 << 10] {
            assert_eq!(sum_of(201, bytes), sum(&vec![201; bytes]));
        }
    }
}
