//! The other process of the tests: `peer BEHAVIOUR [KEY=VALUE ...]`, started as a host starts a plugin.

mod broken;
mod crash;
mod host;
mod hostile;
mod liar;
mod options;
mod plugin;
mod raw;
mod streams;

use std::error::Error;
use std::process::ExitCode;

use options::Options;

/// Whatever went wrong, in words.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1);
    let behaviour = arguments.next().ok_or("usage: peer BEHAVIOUR [KEY=VALUE ...]")?;
    if behaviour == "hostile" {
        return hostile::run(&arguments.collect::<Vec<_>>());
    }
    let options = Options::parse(arguments)?;
    match behaviour.as_str() {
        "serve" => plugin::serve(options),
        "lie" => liar::serve().map(|()| ExitCode::SUCCESS),
        "host" => host::serve(),
        "exercising-host" => crash::host(options),
        "plugins-host" => crash::plugins_host(options),
        other => broken::run(other),
    }
}
