//! Deterministic simulation: two sides of a session over one segment, and an adversary that decides who does what next.
//!
//! The sides are real down to the memory and the bells: [`State`](crate::state::State), which is the protocol's state machine
//! and its link. What the drivers add, threads and a clock, is in the adversary's hands: it lets a side take a few frames,
//! sleep, call, answer, stream, cancel, run out of time, close or die, in any order, and a side that sleeps wakes only
//! when it was rung. What both have said is written down, and compared with what the other one heard (`ledger.rs`).
//!
//! A seed says everything. `RAPACE_SIMULATION_SEED=<seed>` runs one of them and prints each step (with `--nocapture`);
//! `RAPACE_SIMULATION_STEPS=<steps>` says how many steps to go, and `RAPACE_SIMULATION_FIRST=<seed>` where to begin.

mod callee;
mod caller;
mod checks;
mod counted;
mod ledger;
mod opening;
mod peer;
mod plan;
mod random;
mod world;

use std::thread;

#[cfg(shuttle)]
pub(crate) use peer::{links, peer_info};
use world::World;

/// What a test run goes through.
const STEPS: u64 = 200_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.replace('_', "").parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Runs a seed in a thread of its own, so that no buffer that a thread keeps comes from another one; gives its steps.
fn run(seed: u64, trace: bool) -> u64 {
    let world = thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        let mut world = World::new(seed, trace);
        world.run();
        world.steps
    });
    match world.unwrap().join() {
        Ok(steps) => steps,
        Err(panic) => {
            eprintln!(
                "seed {seed} failed: RAPACE_SIMULATION_SEED={seed} cargo test -p rapace-session --lib simulation -- --nocapture"
            );
            std::panic::resume_unwind(panic)
        }
    }
}

#[test]
fn no_schedule_of_two_honest_sides_breaks_a_rule() {
    if let Some(seed) = number("RAPACE_SIMULATION_SEED") {
        run(seed, true);
        return;
    }
    let first = number("RAPACE_SIMULATION_FIRST").unwrap_or(1);
    let wanted = number("RAPACE_SIMULATION_STEPS").unwrap_or(STEPS);
    let (mut steps, mut seed) = (0, first);
    while steps < wanted {
        steps += run(seed, false);
        seed += 1;
    }
    println!("{steps} steps, seeds {first} to {}", seed - 1);
}
