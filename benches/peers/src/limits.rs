//! The physical limits of the machine, measured as if they were systems that take part. Client and server are on a processor
//! each, but for the wake-up on one core and the bare process.

mod cache_line;
mod copy_echo;
mod copying;
mod process;
mod shared;
mod wake_up;

use std::path::Path;

use crate::Error;
use crate::peer::{Client, Peer};
use crate::server::pin;

/// All limits.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Limit)]
}

const NAME: &str = "limit";
const ONE_CORE: &str = "wake-up-one-core";
const PROCESS: &str = "process";

struct Limit;

impl Peer for Limit {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Those that rapace is compared with most come last, right before it: the machine may change.
    fn modes(&self) -> &'static [&'static str] {
        &[PROCESS, "memcpy", ONE_CORE, "wake-up", "copy-echo", "cache-line"]
    }

    fn polls(&self, _mode: &str) -> bool {
        true
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        if mode != PROCESS {
            pin(false)?;
        }
        Ok(match mode {
            PROCESS => Box::new(process::start(place)?),
            "cache-line" => Box::new(cache_line::start(place)?),
            "wake-up" | ONE_CORE => Box::new(wake_up::start(mode, place)?),
            "memcpy" => Box::new(copying::Copying),
            _ => Box::new(copy_echo::start(place)?),
        })
    }

    fn serve(&self, mode: &str, _place: &Path) -> Result<(), Error> {
        if mode == PROCESS {
            return process::serve();
        }
        pin(mode != ONE_CORE)?;
        match mode {
            "cache-line" => cache_line::serve(),
            "wake-up" | ONE_CORE => wake_up::serve(),
            _ => copy_echo::serve(),
        }
    }
}
