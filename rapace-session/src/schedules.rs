//! Models of how the threads of a session take turns, run by shuttle: at each access to what they share, at each fence, and
//! wherever a thread would block, another one may go on.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p rapace-session --lib schedules`
//!
//! All that runs is the session's own code, on both sides; `sync.rs` says what is replaced. Time does not pass, so no
//! deadline and no look at the peer's liveness makes up for a wake-up that is lost: whoever waits for it never ends, and the
//! model fails at its bound of steps. `RAPACE_SHUTTLE_ITERATIONS` says how many schedules each of the two schedulers
//! tries, `RAPACE_SHUTTLE_SEED` which ones, and `RAPACE_SHUTTLE_REPLAY` is a schedule that a failure has printed.

mod models;
mod parts;
mod slots;

use std::sync::Arc;
use std::time::Instant;

use rapace_core::wait::WaitStrategy;
use rapace_core::{GeometryConfig, Link};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{MaxSteps, Runner};

use crate::clock;
use crate::config::Config;
use crate::handler::Handler;
use crate::hello::Features;
use crate::shared::Shared;
use crate::simulation::{links, peer_info};

/// Schedules of each scheduler.
const ITERATIONS: u64 = 500;
/// Times at which a schedule of the second scheduler departs from the order of its threads.
const DEPTH: usize = 3;
/// More than any schedule needs that comes to its end.
const STEPS_MAX: usize = 100_000;

/// Runs a model of threads that sleep when they wait under many schedules.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_with(false, model);
}

/// The same for threads that look without end.
fn explore_looks(model: impl Fn() + Send + Sync + 'static) {
    explore_with(true, model);
}

fn explore_with(looks: bool, model: impl Fn() + Send + Sync + 'static) {
    let number = |variable, default| match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    };
    let (seed, iterations) = (number("RAPACE_SHUTTLE_SEED", 1), number("RAPACE_SHUTTLE_ITERATIONS", ITERATIONS));
    let iterations = usize::try_from(iterations).unwrap();
    let model = Arc::new(move || {
        clock::simulate(Instant::now());
        model();
    });
    if let Ok(schedule) = std::env::var("RAPACE_SHUTTLE_REPLAY") {
        return run(ReplayScheduler::new_from_encoded(&schedule), &model);
    }
    run(RandomScheduler::new_from_seed(seed, iterations), &model);
    // This one lets a thread go on until it yields, and who looks without end never does.
    if !looks {
        run(PctScheduler::new_from_seed(seed, DEPTH, iterations), &model);
    }
}

fn run(scheduler: impl Scheduler + 'static, model: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = shuttle::Config::new();
    config.stack_size = 512 << 10;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    let model = Arc::clone(model);
    Runner::new(scheduler, config).run(move || model());
}

/// Two sessions, each the other's peer; both take so many calls at once.
fn pair(wait: WaitStrategy, calls_max: u32, a: impl Handler, b: impl Handler) -> (Arc<Shared>, Arc<Shared>) {
    let geometry = GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 64 };
    let mut config = Config { wait, ..Config::new("model", "1") };
    config.limits.calls_max = calls_max;
    let peer = || peer_info(&config.limits, Features::SUPPORTED);
    let shared =
        |link: Link, handler| Arc::new(Shared::new(link.side(), link, None, &config, peer(), handler).unwrap());
    let [a_link, b_link] = links(geometry);
    (shared(a_link, Box::new(a)), shared(b_link, Box::new(b)))
}
