//! A host from a configuration file, with plugins that have permissions and limits, its metrics, and an operator.
//!
//! ```text
//! $ cargo run --example operator
//! operated-host runs
//!   chatter is Running, and confined to what it may do
//!   notes is Running, and confined to what it may do
//!   snoop is Running, and confined to what it may do
//! plugins are called
//!   notes keeps one
//!   chatter says 10 things, and 3 are taken
//!     ResourceExhausted: rapace.Logger.log is called too often: the method may be called 3 times per 3600s, 3 at once
//!   snoop reads /etc/passwd
//!     Permission denied (os error 13)
//!   snoop hides something in the storage
//!     PermissionDenied: rapace.Storage.set is not among what this plugin may call
//! GET /metrics, of which these
//!   rapace_calls_total{plugin="chatter",side="plugin",method="rapace.Logger.log",code="Ok"} 3
//!   rapace_calls_total{plugin="chatter",side="plugin",method="rapace.Logger.log",code="ResourceExhausted"} 7
//!   rapace_calls_total{plugin="notes",side="plugin",method="rapace.Storage.set",code="Ok"} 1
//!   rapace_calls_total{plugin="notes",side="plugin",method="rapace.Events.publish",code="Ok"} 1
//!   rapace_calls_total{plugin="snoop",side="plugin",method="rapace.Storage.set",code="PermissionDenied"} 1
//!   rapace_overruns_total{plugin="chatter",limit="call_rate"} 7
//! an operator connects
//!   list:
//!     chatter  Running, healthy, 0 calls in flight
//!     notes    Running, healthy, 0 calls in flight
//!     snoop    Running, healthy, 0 calls in flight
//!   describe notes:
//!     serves demo.Notes 1.0:
//!       keep(name: String, text: String) -> Result<(), String>
//!       names() -> Result<Vec<String>, String>
//!     may call Storage, Events, publish notes.*
//!   stats:
//!     chatter  0 restarts, 7 times over call_rate
//!     notes    0 restarts
//!     snoop    0 restarts
//!   logs of chatter:
//!     INFO   | talk: listen! number=1
//!     INFO   | talk: listen! number=2
//!     INFO   | talk: listen! number=3
//!   calls with JSON:
//!     keep {"name": "bread", "text": "rye"}
//!       {"Ok":null}
//!     keep {"name": "everything", "text": "more than there is room for in the storage"}
//!       {"Err":"the space would have 75 bytes, but may have 64"}
//!     names null
//!       {"Ok":["bread","milk"]}
//!   notes is restarted
//!     names null
//!       {"Ok":["bread","milk"]}
//! the host shuts down
//!   snoop: shutdown acknowledged, exited with code 0
//!   notes: shutdown acknowledged, exited with code 0
//!   chatter: shutdown acknowledged, exited with code 0
//!   the admin socket is gone
//! what was told by events
//!   from here on
//!   notes: notes.kept milk
//!   notes: notes.kept bread
//!   host: host.plugin.unloaded notes
//!   host: host.plugin.loaded notes
//!   host: host.shutdown
//!   the end
//! ```
//!
//! This one program is the host and, started again with `--plugin`, each of its plugins; what each of them may do stands in
//! `host.toml`. That requires the whole sandbox, for which it takes Linux 6.12: where a plugin cannot be confined, it is not
//! started. The operator and whoever asks for the metrics are in this process for the example's sake: they use nothing but
//! the socket and the port.

mod admin;
mod directory;
mod plugins;
mod scrape;

use std::error::Error;
use std::process::ExitCode;

use rapace::host::{Deployment, HostConfig, InstanceInfo, SandboxReport};
use rapace::host_api::events::{Delivery, HostEvent};
use rapace::prelude::*;

use directory::Directory;
use plugins::{ChatterClient, NotesClient, SnoopClient};

/// The configuration, as if it stood in the directory; of its variables there is one.
fn configuration(directory: &Directory) -> Result<HostConfig, Box<dyn Error>> {
    let example = std::env::current_exe()?.to_string_lossy().into_owned();
    let variable = |name: &str| (name == "EXAMPLE").then(|| example.clone());
    Ok(HostConfig::from_toml(include_str!("host.toml"), &directory.path().join("host.toml"), variable)?)
}

/// What happens in the host: its own events, and those of its plugins.
fn in_words(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Subscribed => "from here on".to_owned(),
        Delivery::Event(event) => {
            let what = match HostEvent::read(event) {
                Some(HostEvent::PluginLoaded { plugin, .. } | HostEvent::PluginUnloaded { plugin, .. }) => plugin,
                Some(_) => String::new(),
                None => String::from_utf8_lossy(event.payload()).into_owned(),
            };
            format!("{}: {} {what}", event.source().unwrap_or("host"), event.topic()).trim_end().to_owned()
        }
        Delivery::Missed { events } => format!("{events} are missing"),
        Delivery::Shutdown => "the end".to_owned(),
    }
}

fn call_plugins(host: &Deployment) -> Result<(), Box<dyn Error>> {
    let plugin = |name: &str| host.plugin(name).ok_or(format!("there is no plugin {name}"));

    NotesClient::new(&plugin("notes")?).blocking().keep("milk", "two bottles")?;
    println!("  notes keeps one");
    let (taken, refusal) = ChatterClient::new(&plugin("chatter")?).blocking().chat(10)?;
    let refusal = refusal.unwrap_or_default();
    // When it may go on is another each time.
    let (refusal, _) = refusal.split_once("; retry").unwrap_or((&refusal, ""));
    println!("  chatter says 10 things, and {taken} are taken");
    println!("    {refusal}");

    let snoop = SnoopClient::new(&plugin("snoop")?).blocking();
    println!("  snoop reads /etc/passwd");
    println!("    {}", outcome(snoop.read("/etc/passwd")));
    println!("  snoop hides something in the storage");
    println!("    {}", outcome(snoop.hide("something")));
    Ok(())
}

fn outcome<T>(result: Result<T, rapace::Error<String>>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "and may".to_owned())
}

fn host() -> Result<(), Box<dyn Error>> {
    let directory = Directory::new()?;
    let config = configuration(&directory)?;
    let host = PluginHost::builder(config.session()).deploy(config)?;
    println!("{} runs", host.config().name);
    for plugin in host.plugins() {
        let is_confined = |process: &InstanceInfo| process.sandbox.as_ref().is_some_and(SandboxReport::is_complete);
        let confined = if plugin.instances().iter().all(is_confined) { "confined" } else { "not confined" };
        println!("  {} is {}, and {confined} to what it may do", plugin.name(), plugin.state());
    }
    let mut events = host.events().subscribe(["notes.*", "host.*"])?;

    println!("plugins are called");
    call_plugins(&host)?;

    println!("GET /metrics, of which these");
    let metrics = scrape::scrape(host.metrics_address().ok_or("metrics are not to be had")?)?;
    let of_services = |line: &str| line.starts_with("rapace_calls_total{") && line.contains(r#"side="plugin""#);
    let of_interest = |line: &&str| of_services(line) || line.starts_with("rapace_overruns_total{");
    for line in metrics.lines().filter(of_interest).filter(|line| !line.ends_with(" 0")) {
        println!("  {line}");
    }

    println!("an operator connects");
    let socket = host.config().admin.socket.clone().ok_or("there is no admin socket")?;
    admin::visit(&socket)?;

    println!("the host shuts down");
    for (plugin, report) in host.shutdown() {
        println!("  {plugin}: {report}");
    }
    drop(host);
    println!("  the admin socket is {}", if socket.exists() { "still there" } else { "gone" });
    println!("what was told by events");
    while let Some(delivery) = events.recv() {
        println!("  {}", in_words(&delivery));
    }
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some("--plugin"), Some(name)) = (arguments.next().as_deref(), arguments.next()) {
        return Ok(plugins::run(&name));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}
