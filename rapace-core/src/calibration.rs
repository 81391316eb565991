//! What a wake-up costs on this machine, measured once per process.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracing::debug;

use crate::socket::Socket;
use crate::wait::Calibration;

/// What is taken until the measurement is there, and where it cannot be made.
const UNMEASURED: Duration = Duration::from_micros(50);
/// Bounds of what is believed: a busy machine may measure anything.
const SHORTEST: Duration = Duration::from_micros(5);
const LONGEST: Duration = Duration::from_micros(200);

const ROUNDS: usize = 9;
const PATIENCE: Duration = Duration::from_millis(100);

static MEASURED_NANOSECONDS: AtomicU64 = AtomicU64::new(0);

impl Calibration {
    /// The budget of this machine: a wake-up there and back, or nothing on one core.
    ///
    /// The first call starts the measurement, about a millisecond on a thread of its own, and does not wait for it.
    pub fn of_this_machine() -> Self {
        static START: Once = Once::new();
        static CORES: AtomicU64 = AtomicU64::new(0);
        START.call_once(|| {
            let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
            CORES.store(cores, Ordering::Relaxed);
            if cores > 1 {
                // Without the thread it stays unmeasured.
                let _ = thread::Builder::new().name("rapace-calibrate".into()).spawn(measure);
            }
        });
        if CORES.load(Ordering::Relaxed) <= 1 {
            return Self { budget: Duration::ZERO };
        }
        // Publishes nothing but itself.
        match MEASURED_NANOSECONDS.load(Ordering::Relaxed) {
            0 => Self { budget: UNMEASURED },
            nanoseconds => Self { budget: Duration::from_nanos(nanoseconds) },
        }
    }
}

fn measure() {
    let Some(round_trip) = wake_up_round_trip() else { return };
    let budget = round_trip.clamp(SHORTEST, LONGEST);
    debug!(?round_trip, ?budget, "a wake-up there and back");
    let nanoseconds = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
    MEASURED_NANOSECONDS.store(nanoseconds, Ordering::Relaxed);
}

/// The median of some bells there and back between two threads that sleep.
fn wake_up_round_trip() -> Option<Duration> {
    let (here, there) = Socket::pair().ok()?;
    let echo = thread::Builder::new()
        .name("rapace-calibrate".into())
        .spawn(move || {
            while await_bell(&there).is_some() {
                let _ = there.ring();
            }
        })
        .ok()?;
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map_while(|_| {
            let start = Instant::now();
            let _ = here.ring();
            await_bell(&here)?;
            Some(start.elapsed())
        })
        .collect();
    drop(here);
    let _ = echo.join();
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied()
}

fn await_bell(socket: &Socket) -> Option<()> {
    socket.wait(None, Some(PATIENCE)).ok().filter(|ready| ready.socket)?;
    let drained = socket.drain(1).ok()?;
    (drained.bells > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_can_be_measured() {
        assert!(wake_up_round_trip().is_some_and(|round_trip| round_trip > Duration::ZERO));
    }

    #[test]
    fn the_budget_is_bounded() {
        let budget = Calibration::of_this_machine().budget;
        assert!(budget <= LONGEST);
    }
}
