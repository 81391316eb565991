//! How a host bears a bad plugin, tested: faults on purpose, with a seed that brings them back.
//!
//! ```text
//! $ cargo run --example fault_injection --features fault-injection
//! The host makes the faults; the plugin is as it is.
//! one
//!   failed: the peer is gone: its process was killed by signal 9 (SIGKILL), so the call was not sent
//!   failed: DataLoss: the reply of demo.Shout.shout has 12 bytes that are no String: 8 bytes follow it
//!   failed: DataLoss: the reply of demo.Shout.shout has 10 bytes that are no String: 6 bytes follow it
//!   given up
//! two
//!   TWO
//! three
//!   THREE
//! four
//!   FOUR
//! five
//!   failed: no reply within 1s
//!   failed: the peer is gone: its process was killed by signal 9 (SIGKILL), so the call was not sent
//!   FIVE
//! What a failed test would print:
//! RAPACE_FAULTS="seed=3; drop@0.2; corrupt@0.2; kill@0.2"
//!   kill by rule 3: call 1 of demo.Shout.shout to shout
//!   corrupt by rule 2: call 2 of demo.Shout.shout to shout
//!   corrupt by rule 2: call 3 of demo.Shout.shout to shout
//!   drop by rule 1: call 7 of demo.Shout.shout to shout
//!   kill by rule 3: call 8 of demo.Shout.shout to shout
//! The plugin makes them; its environment tells it to.
//! six
//!   SIX
//! seven
//!   failed: Unavailable: injected fault: error=Unavailable by rule 1: call 2 of demo.Shout.shout from my-host
//!   failed: the peer is gone: its process was killed by signal 9 (SIGKILL)
//!   SEVEN
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use rapace::fault_injection::{FaultInjector, FaultPlan};
use rapace::prelude::*;

/// How long the host waits for a word.
const DEADLINE: Duration = Duration::from_secs(1);
/// How often it asks for one.
const ATTEMPTS: u32 = 3;

#[rapace::service(name = "demo.Shout", version = "1.0", provider = "plugin")]
trait Shout {
    /// Says it louder.
    async fn shout(&self, text: &str) -> String;
}

struct Loud;

impl Shout for Loud {
    async fn shout(&self, text: &str) -> String {
        text.to_uppercase()
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return Ok(rapace::plugin::run(plugin));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}

/// Nothing in here knows of faults.
fn plugin() -> Result<(), Box<dyn Error>> {
    let services = Services::new().add(ShoutServer::new(Loud));
    Ok(Plugin::attach(Config::new("shout", "1.0.0"), "cargo run --example fault_injection", services)?.serve()?)
}

fn host() -> Result<(), Box<dyn Error>> {
    let expected = |_: &PluginScope| Services::new().calls::<ShoutClient>();
    let host = PluginHost::builder(Config::new("my-host", "1.0.0")).services(expected).build()?;
    let spec = |name| Ok::<_, std::io::Error>(PluginSpec::new(name, std::env::current_exe()?).arg("--plugin"));

    println!("The host makes the faults; the plugin is as it is.");
    let plan: FaultPlan = "seed=3; drop@0.2; corrupt@0.2; kill@0.2".parse()?;
    let faults = FaultInjector::new(plan);
    let shout = host.load(spec("shout")?.faults(&faults))?;
    for word in ["one", "two", "three", "four", "five"] {
        say(&shout, word)?;
    }
    println!("What a failed test would print:\n{faults}");

    println!("The plugin makes them; its environment tells it to.");
    let plan = "error=Unavailable of demo.Shout.shout nth 2; kill-after of demo.Shout.shout nth 3";
    let shout = host.load(spec("other-shout")?.env(FaultPlan::VARIABLE, plan))?;
    for word in ["six", "seven"] {
        say(&shout, word)?;
    }
    host.shutdown();
    Ok(())
}

/// What is tested: it asks again when there was no answer, and starts a plugin that has died.
fn say(plugin: &PluginHandle, word: &str) -> Result<(), Box<dyn Error>> {
    let shout = ShoutClient::new(plugin).with_deadline(DEADLINE).blocking();
    println!("{word}");
    for _ in 0..ATTEMPTS {
        match shout.shout(word) {
            Ok(loud) => {
                println!("  {loud}");
                return Ok(());
            }
            Err(error) => {
                println!("  failed: {error}");
                if error.session_end().is_some() {
                    plugin.restart()?;
                }
            }
        }
    }
    println!("  given up");
    Ok(())
}
