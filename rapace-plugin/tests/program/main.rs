//! Plugins made by [`PluginMain`](rapace_plugin::PluginMain): in the test's process, and in processes of their own, which
//! are this test program again, told its role by a variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod ending;
mod guarded;
mod harness;
mod life;
mod process;
mod roles;
mod started;
#[cfg(feature = "tokio")]
mod tokio;

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}
