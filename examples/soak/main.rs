//! A host that is not spared: good, slow, crashing, hanging and lying plugins, for as long as it is told.
//!
//! ```text
//! cargo run --release --example soak -- --minutes 60
//! ```
//!
//! Threads and tasks make calls of all kinds to every plugin; the bad ones end, or are ended, a second or so into each of
//! their lives, and are started again. A live line counts, and the verdict at the end says of each thing that must hold
//! whether it did: the exit code is 0 if all of them did, and else 1.
//!
//! This one program is the host and, started again with `--plugin TEMPER`, each of its plugins.

mod callers;
mod calls;
mod contract;
mod counts;
mod gauges;
mod host;
mod lateness;
mod liar;
mod life;
mod options;
mod plugin;
mod screen;
mod services;
mod stop;
mod temper;
mod trend;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match options.plugin {
        Some(temper) => plugin::run(temper),
        None => host::run(&options).unwrap_or_else(|error| {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }),
    }
}
