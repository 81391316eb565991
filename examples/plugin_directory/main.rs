//! A host that follows a directory: what is put there is loaded, what replaces it takes over while it is called, what is
//! removed is unloaded, and what is not what its manifest says is refused.
//!
//! ```text
//! $ cargo run --example plugin_directory
//! the directory is empty
//!   WARN the configuration has a section for it, but no such plugin was found plugin="greeter"
//!   nobody greets Ann
//! greeter 1.0.0 is put there
//!   process 0: Discovered
//!   process 0: Discovered -> Verified
//!   process 0: Verified -> Connected
//!   process 0: Connected -> Initializing
//!   process 0: Initializing -> Running
//!   "Hello, Ann!" says version 1.0.0
//! greeter 2.0.0 takes its place
//!   process 1: Discovered
//!   process 1: Discovered -> Verified
//!   process 1: Verified -> Connected
//!   process 1: Connected -> Initializing
//!   process 1: Initializing -> Running
//!   process 0: Running -> Draining
//!   process 0: Draining -> ShuttingDown
//!   process 0: ShuttingDown -> Stopped
//!   "Good day, Ann!" says version 2.0.0
//! somebody has been at greeter 3.0.0
//!   WARN no plugin path=plugins/greeter.plugin.toml
//!     reason=its program plugins/bin/greeter-3.0.0: its SHA-256 is 130103a98826fde0a4b6e8c14ed6bd3ea95c7d3eacac15a951af4d0a7a150a2a,
//!     expected 12a25fe27580ec920d818b9133e9a8066c4de67262a4f06d7dc0934ca549cab9
//!   "Good day, Ann!" says version 2.0.0
//! greeter is removed
//!   process 1: Running -> Draining
//!   process 1: Draining -> ShuttingDown
//!   process 1: ShuttingDown -> Stopped
//!   nobody greets Ann
//! ```
//!
//! This one program is the host and, started by the scripts that it puts there, its plugin. `main` puts in words what is done
//! to the directory; the indented lines are what the host makes of it.

mod directory;
mod events;
mod plugin;

use std::error::Error;
use std::process::ExitCode;

use rapace::host::HostConfig;
use rapace::prelude::*;

use directory::Directory;
use events::Events;
use plugin::GreeterClient;

/// The whole host.
const HOST: &str = r#"
    name = "greeting-host"
    version = "1.0.0"

    [discovery]
    directories = ["plugins"]
    watch = true

    # A plugin that is found needs no section. This one is told where the program is that its script starts.
    [plugins.greeter.env]
    EXAMPLE = "${EXAMPLE}"
"#;

fn host() -> Result<(), Box<dyn Error>> {
    let example = std::env::current_exe()?.to_string_lossy().into_owned();
    let directory = Directory::new()?;
    let (events, log) = Events::new(directory.path());
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();

    let variable = |name: &str| (name == "EXAMPLE").then(|| example.clone());
    let config = HostConfig::from_toml(HOST, &directory.path().join("host.toml"), variable)?;
    let host = PluginHost::builder(config.session()).on_state(move |change| log.changed(change)).deploy(config)?;
    let greet = |name: &str| match host.plugin("greeter") {
        Some(greeter) => GreeterClient::new(&greeter).blocking().greet(name).map(|text| println!("  {text}")),
        None => {
            println!("  nobody greets {name}");
            Ok(())
        }
    };
    println!("the directory is empty");
    events.print_until("no such plugin was found")?;
    greet("Ann")?;

    println!("greeter 1.0.0 is put there");
    let script = directory.program("1.0.0")?;
    directory.manifest("1.0.0", "Hello", &script)?;
    events.print_until("process 0: Initializing -> Running")?;
    greet("Ann")?;

    println!("greeter 2.0.0 takes its place");
    let script = directory.program("2.0.0")?;
    directory.manifest("2.0.0", "Good day", &script)?;
    events.print_until("process 0: ShuttingDown -> Stopped")?;
    greet("Ann")?;

    println!("somebody has been at greeter 3.0.0");
    directory.program("3.0.0")?;
    // The hash is that of another program.
    directory.manifest("3.0.0", "Hand over your money", &script)?;
    events.print_until("reason=")?;
    greet("Ann")?;

    println!("greeter is removed");
    directory.remove_manifest()?;
    events.print_until("process 1: ShuttingDown -> Stopped")?;
    while host.plugin("greeter").is_some() {
        std::thread::yield_now();
    }
    greet("Ann")?;
    host.shutdown();
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some("--plugin"), Some(version)) = (arguments.next().as_deref(), arguments.next()) {
        return Ok(plugin::run(&version));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}
