//! What a wake-up costs on this machine, measured once per process.
//!
//! Two threads wake each other, each on a core of its own and behind a rest, as the first call after a silence finds its
//! peer: two that share a core, or never rest, wake each other several times faster, and a caller that looks for no
//! longer than that goes to sleep just before the reply.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::debug;

use crate::socket::Socket;
use crate::wait::Calibration;

/// What is taken until the measurement is there, and where it cannot be made.
const UNMEASURED: Duration = Duration::from_micros(20);
/// Bounds of what is believed: a busy machine may measure anything.
const SHORTEST: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_micros(200);

/// A process that has slept less often may be about to end, or to give its first answer: it has better things to do.
const SLEEPS_BEFORE: u32 = 8;

/// The peer's wake-up is most of a round trip, and its work comes behind it: a look that ends just before the reply costs a
/// wake-up more.
const MARGIN: u32 = 2;

const ROUNDS: usize = 8;
const REST: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_millis(100);

/// The budget once it is there, and one more.
static MEASURED_NANOSECONDS: AtomicU64 = AtomicU64::new(0);
/// The cores of the process, as far as its first thread and the one that asked first may use them: either may keep to one of
/// several. The one that happens to start the measurement may keep to fewer.
static CORES: OnceLock<CpuSet> = OnceLock::new();

impl Calibration {
    /// The budget of this machine: a wake-up there and back, or nothing on one core.
    ///
    /// To be asked before each sleep. The first calls only count; then the measurement starts, some milliseconds of
    /// mostly rest on a thread of its own, and nobody waits for it.
    pub fn of_this_machine() -> Self {
        static SLEEPS: AtomicU32 = AtomicU32::new(0);
        // Publishes nothing but itself.
        if let Some(nanoseconds) = MEASURED_NANOSECONDS.load(Ordering::Relaxed).checked_sub(1) {
            return Self { budget: Duration::from_nanos(nanoseconds) };
        }
        match SLEEPS.fetch_add(1, Ordering::Relaxed) {
            0 => {
                if let Some(cores) = cores_of_the_process()
                    && CORES.get_or_init(|| cores).count() == 1
                {
                    return keep(Duration::ZERO);
                }
            }
            SLEEPS_BEFORE => {
                // Without the thread it stays unmeasured.
                let _ = thread::Builder::new().name("rapace-calibrate".into()).spawn(measure);
            }
            _ => {}
        }
        Self { budget: UNMEASURED }
    }
}

fn cores_of_the_process() -> Option<CpuSet> {
    let mut cores = sched_getaffinity(None).ok()?;
    // The number of the process is that of its first thread.
    if let Ok(others) = sched_getaffinity(Some(getpid())) {
        (0..CpuSet::MAX_CPU).filter(|core| others.is_set(*core)).for_each(|core| cores.set(core));
    }
    Some(cores)
}

fn keep(budget: Duration) -> Calibration {
    let nanoseconds = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
    MEASURED_NANOSECONDS.store(nanoseconds.saturating_add(1), Ordering::Relaxed);
    Calibration { budget }
}

fn measure() {
    if let Some(cores) = CORES.get() {
        let _ = sched_setaffinity(None, cores);
    }
    // This reads the limits of the process's group, which takes a dozen system calls: too many for the start.
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        keep(Duration::ZERO);
        return;
    }
    let Some(round_trip) = wake_up_round_trip() else { return };
    let budget = (round_trip * MARGIN).clamp(SHORTEST, LONGEST);
    debug!(?round_trip, ?budget, "a wake-up there and back");
    keep(budget);
}

/// The median of some bells there and back between two threads that have rested.
fn wake_up_round_trip() -> Option<Duration> {
    let (here, there) = Socket::pair().ok()?;
    let cores = two_cores();
    let echo = thread::Builder::new()
        .name("rapace-calibrate".into())
        .spawn(move || {
            keep_to(cores.map(|[_, other]| other));
            while await_bell(&there).is_some() {
                let _ = there.ring();
            }
        })
        .ok()?;
    keep_to(cores.map(|[own, _]| own));
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map_while(|_| {
            thread::sleep(REST);
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

/// Two cores that this process may use, if that can be said.
fn two_cores() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(None).ok()?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    Some([cores.next()?, cores.next()?])
}

/// This thread runs on no other core. Where that cannot be had, the measurement is as good as the scheduler makes it.
fn keep_to(core: Option<usize>) {
    if let Some(core) = core {
        let mut only = CpuSet::new();
        only.set(core);
        let _ = sched_setaffinity(None, &only);
    }
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
        // Where others keep both cores busy, one attempt may take longer than its patience.
        let measured = (0..20).find_map(|_| wake_up_round_trip());
        assert!(measured.is_some_and(|round_trip| round_trip > Duration::ZERO));
    }

    #[test]
    fn the_budget_is_bounded() {
        for _ in 0..=SLEEPS_BEFORE {
            assert!(Calibration::of_this_machine().budget <= LONGEST);
        }
    }
}
