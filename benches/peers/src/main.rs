//! rapace and its peers, measured in one run, side by side.
//!
//! The program starts itself as client and server of each system; see README.md.

mod aims;
mod args;
mod asynchronous;
mod chart;
mod clock;
mod figure;
mod header;
mod limits;
mod measure;
mod peer;
mod peers;
mod plan;
mod race;
mod report;
mod server;
mod table;
mod work;

use std::process::ExitCode;

use args::Task;

/// Whatever may go wrong.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1)).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("race: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode, Error> {
    match task {
        Task::Race(options) => return race::run(&options),
        Task::Serve(role) => {
            find(&role.system)?.serve(&role.mode, &role.place)?;
        }
        Task::Measure(role, quick) => {
            server::end_with_parent()?;
            let plan = if quick { plan::Plan::quick() } else { plan::Plan::full() };
            if role.system == args::PAIRS {
                aims::pair::run(&role, &plan)?;
            } else {
                measure::run(find(&role.system)?.as_ref(), &role, &plan)?;
            }
        }
        Task::Report(results, to) => report::write(&results, &to)?,
        Task::Help => print!("{}", args::HELP),
    }
    Ok(ExitCode::SUCCESS)
}

fn find(system: &str) -> Result<Box<dyn peer::Peer>, Error> {
    let found = peer::all().into_iter().find(|peer| peer.name() == system);
    found.ok_or_else(|| format!("there is no system `{system}`").into())
}
