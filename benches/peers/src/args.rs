//! The command line.

use std::path::PathBuf;

use crate::Error;

/// The role of a server.
pub const SERVE: &str = "--role-server";
/// The role of a client, which measures one row once.
pub const MEASURE: &str = "--role-client";

/// What is measured instead of a row: the pairs of the aims, by their places in the list.
pub const PAIRS: &str = "aims";

/// What this process is to do.
#[derive(Debug)]
pub enum Task {
    /// Run the race.
    Race(Options),
    /// Show the results in the first folder in the second, and in PERFORMANCE.md.
    Report(PathBuf, PathBuf),
    /// Be a server.
    Serve(Role),
    /// Measure one row.
    Measure(Role, bool),
    /// Say how it is used.
    Help,
}

/// A part that a process plays.
#[derive(Debug)]
pub struct Role {
    /// The system.
    pub system: String,
    /// The way in which it is used.
    pub mode: String,
    /// The folder of client and server.
    pub place: PathBuf,
}

/// How the race is run.
#[derive(Debug, Default)]
pub struct Options {
    /// In 90 seconds.
    pub quick: bool,
    /// These systems only; all if there are none. `system` or `system/mode`.
    pub only: Vec<String>,
    /// The results on standard output.
    pub json: bool,
    /// Where results and charts go.
    pub out: PathBuf,
}

/// How it is used.
pub const HELP: &str = "\
race [--quick] [--only NAME]... [--json] [--out DIR]
race --report DIR [--out DIR]

  --quick      less of everything, in 90 seconds
  --only NAME  this system only, or `system/mode`; may be repeated
  --json       results.json on standard output, tables on standard error
  --out DIR    where results.json and the charts go (default: this package's results/)
  --report DIR measure nothing: write charts and tables of the last results to DIR, and to PERFORMANCE.md
";

/// Reads it.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Task, Error> {
    let mut args = args.into_iter();
    let mut options =
        Options { out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")), ..Options::default() };
    let mut report = None;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            SERVE => return Ok(Task::Serve(role(value)?)),
            MEASURE => {
                let role = role(&mut value)?;
                return Ok(Task::Measure(role, value()? == "quick"));
            }
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            "--only" => options.only.push(value()?),
            "--out" => options.out = value()?.into(),
            "--report" => report = Some(value()?.into()),
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`{other}` is no option\n\n{HELP}").into()),
        }
    }
    Ok(match report {
        Some(to) => Task::Report(options.out, to),
        None => Task::Race(options),
    })
}

fn role(mut value: impl FnMut() -> Result<String, String>) -> Result<Role, Error> {
    Ok(Role { system: value()?, mode: value()?, place: value()?.into() })
}
