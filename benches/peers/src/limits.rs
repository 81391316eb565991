//! The physical limits of the machine, measured as if they were systems that take part. Client and server are on a processor
//! each, but for the wake-up on one core.

mod cache_line;
mod copy_echo;
mod copying;
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

struct Limit;

impl Peer for Limit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["cache-line", "wake-up", "wake-up-one-core", "memcpy", "copy-echo"]
    }

    fn polls(&self, _mode: &str) -> bool {
        true
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        pin(false)?;
        Ok(match mode {
            "cache-line" => Box::new(cache_line::start(place)?),
            "wake-up" | ONE_CORE => Box::new(wake_up::start(mode, place)?),
            "memcpy" => Box::new(copying::Copying),
            _ => Box::new(copy_echo::start(place)?),
        })
    }

    fn serve(&self, mode: &str, _place: &Path) -> Result<(), Error> {
        pin(mode != ONE_CORE)?;
        match mode {
            "cache-line" => cache_line::serve(),
            "wake-up" | ONE_CORE => wake_up::serve(),
            _ => copy_echo::serve(),
        }
    }
}
