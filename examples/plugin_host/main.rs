//! A host with two plugins, each in a process of its own.
//!
//! ```text
//! cargo run --example plugin_host
//! ```
//!
//! This one program is the host and, started again with `--plugin NAME`, each of its plugins, so that the example has
//! nothing to install. A host with separate plugin programs differs in one line: `PluginSpec::new(name, path)` names
//! the plugin's own program, whose `main` is what `plugins::run` does here. The contract is then a crate that both use.

mod contract;
mod events;
mod plugins;
mod services;

use std::error::Error;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rapace::GeometryConfig;
use rapace::host::StateChange;
use rapace::prelude::*;
use serde::Serialize;

use crate::contract::{
    AnalyticsConfig, HostEvent, PluginApiClient, PluginConfig, ProcessRequest, ProcessResponse, TransformConfig,
    registry,
};
use crate::services::HostState;

/// Two halves of 2 MiB, with rings of 64 descriptors and slots of 4 KiB.
const GEOMETRY: GeometryConfig = GeometryConfig { segment_bytes: 4 << 20, ring_capacity: 64, slot_bytes: 4096 };
const ANALYTICS_ID: u32 = 1;
const TRANSFORM_ID: u32 = 2;
/// How long the example waits for what is sure to come.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let code = match args[..] {
        [] => Some(host()),
        ["--plugin", name] => plugins::run(name),
        _ => None,
    };
    code.unwrap_or_else(|| {
        eprintln!("usage: plugin_host [--plugin analytics|transform]");
        ExitCode::from(2)
    })
}

fn host() -> ExitCode {
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plugin_host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate() -> Result<(), Box<dyn Error>> {
    println!("=== Rapace Plugin Host Example ===\n");
    let registry = registry()?;
    println!("Service registry: {} bytes\n{registry}\n", registry.to_bytes().len());
    println!("[Host] This is process {}", std::process::id());

    let state = Arc::new(HostState::new());
    let (of_plugin, observer) = (Arc::clone(&state), Arc::clone(&state));
    let config = Config { registry, geometry: GEOMETRY, ..Config::new("plugin_host", env!("CARGO_PKG_VERSION")) };
    let host = PluginHost::builder(config)
        .services(move |plugin| of_plugin.services_of(plugin.name()))
        .on_state(move |change| note_state(change, &observer))
        .on_output(|line| println!("[Host/Output] [{}] {}: {}", line.plugin, line.stream, line.text))
        .build()?;

    let analytics = announced(&state, &["analytics"], loaded("analytics"), || {
        load(&host, "analytics", ANALYTICS_ID, &AnalyticsConfig { window: 4 })
    })?;
    let transform = announced(&state, &["analytics", "transform"], loaded("transform"), || {
        load(&host, "transform", TRANSFORM_ID, &TransformConfig { prefix: ">> ".to_owned(), uppercase: true })
    })?;

    println!("\n=== Processing in both plugins at once ===");
    let numbers = postcard::to_stdvec(&[3_u32, 10, 20, 30, 40])?;
    thread::scope(|scope| {
        let call = scope.spawn(|| process(&analytics, 1, "mean", &numbers));
        process(&transform, 2, "text", b"shared memory").and(call.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;

    println!("\n=== Polling ===");
    host.poll();
    for plugin in host.plugins() {
        println!("[Host] Plugin {} is {}, and its peer {:?}", plugin.name(), plugin.state(), plugin.peer_state());
    }

    println!("\n=== Killing plugin: transform ===");
    let crash = HostEvent::PluginUnloaded { plugin: "transform".to_owned(), crashed: true };
    announced(&state, &["analytics"], crash, || kill_in_a_call(&transform, &state))?;
    process(&analytics, 4, "mean", &numbers)?;

    println!("\n=== Restarting plugin: transform ===");
    announced(&state, &["analytics", "transform"], loaded("transform"), || Ok(transform.restart()?))?;
    print_session(&transform);
    process(&transform, 5, "text", b"as good as new")?;

    println!("\n=== Changing a configuration: transform ===");
    let config_data = postcard::to_stdvec(&TransformConfig { prefix: String::new(), uppercase: false })?;
    publish(&state, &["analytics", "transform"], HostEvent::ConfigUpdated { plugin_id: TRANSFORM_ID, config_data })?;
    process(&transform, 6, "text", b"as good as new")?;

    println!("\n=== Shutting down ===");
    publish(&state, &["analytics", "transform"], HostEvent::Shutdown)?;
    for plugin in host.plugins() {
        println!("[Host] Shutting down plugin: {}", plugin.name());
        if let Some(report) = plugin.shutdown() {
            println!("[Host] Plugin {}: {report}", plugin.name());
        }
    }
    println!("\n=== Done ===");
    Ok(())
}

fn load(
    host: &PluginHost,
    name: &str,
    plugin_id: u32,
    config: &impl Serialize,
) -> Result<PluginHandle, Box<dyn Error>> {
    println!("\n=== Loading plugin: {name} ===");
    println!("[Host] Creating session for plugin: {name}");
    let config = PluginConfig { plugin_id, config_data: postcard::to_stdvec(config)? };
    let spec = PluginSpec::new(name, std::env::current_exe()?).arg("--plugin").arg(name);
    let plugin = host.load(spec.config_data(postcard::to_stdvec(&config)?))?;
    print_session(&plugin);
    Ok(plugin)
}

fn loaded(plugin: &str) -> HostEvent {
    HostEvent::PluginLoaded { plugin: plugin.to_owned() }
}

/// Does what makes an event, and waits until these plugins have logged it: the lines of the example have an order.
fn announced<T>(
    state: &HostState,
    plugins: &[&str],
    event: HostEvent,
    act: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let line = format!("Event: {event}");
    let awaited: Vec<_> = plugins.iter().map(|plugin| (plugin, state.logged(plugin, &line))).collect();
    let done = act()?;
    for (plugin, logged) in awaited {
        logged.recv_timeout(PATIENCE).map_err(|_| format!("plugin {plugin} has not logged {line:?}"))?;
    }
    Ok(done)
}

fn publish(state: &HostState, plugins: &[&str], event: HostEvent) -> Result<(), Box<dyn Error>> {
    announced(state, plugins, event.clone(), || {
        state.events.publish(event);
        Ok(())
    })
}

fn process(plugin: &PluginHandle, request_id: u64, operation: &str, data: &[u8]) -> Result<(), CallError> {
    let ProcessResponse { request_id, success, result } = call(plugin, request_id, operation, data)?;
    let (name, bytes) = (plugin.name(), result.len());
    println!("[Host] Plugin {name} process response: req_id={request_id}, success={success}, {bytes} bytes");
    Ok(())
}

fn call(plugin: &PluginHandle, request_id: u64, operation: &str, data: &[u8]) -> Result<ProcessResponse, CallError> {
    let request = ProcessRequest { request_id, operation: operation.to_owned(), data: data.to_owned() };
    PluginApiClient::new(plugin).blocking().process(request)
}

/// Calls a plugin, and kills it when it has begun to work on the call.
fn kill_in_a_call(plugin: &PluginHandle, state: &HostState) -> Result<(), Box<dyn Error>> {
    let begun = state.logged(plugin.name(), "Slow operation started");
    let (begun, killed, (outcome, failed)) = thread::scope(|scope| {
        let caller = scope.spawn(|| (call(plugin, 3, "slow", b""), Instant::now()));
        let begun = begun.recv_timeout(PATIENCE);
        let killed = Instant::now();
        plugin.kill();
        (begun, killed, caller.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    begun.map_err(|_| "the slow operation did not begin")?;
    let Err(error) = outcome else { return Err("a killed plugin has answered".into()) };
    let time = failed.saturating_duration_since(killed);
    println!("[Host] Plugin {} process failed: req_id=3, {time:.1?} after the kill: {error}", plugin.name());
    if let Some(crash) = plugin.crash() {
        println!("[Host] Plugin {} crashed: {crash}", plugin.name());
    }
    Ok(())
}

/// Prints a change, and tells the plugins of those that concern them.
fn note_state(change: &StateChange, state: &HostState) {
    if change.to == PluginState::Initializing {
        println!("[Host] Initializing plugin: {}", change.plugin);
    }
    println!("[Host] Plugin {} state: {change}", change.plugin);
    let plugin = change.plugin.to_string();
    match change.to {
        PluginState::Running => state.events.publish(HostEvent::PluginLoaded { plugin }),
        PluginState::Stopped => state.events.publish(HostEvent::PluginUnloaded { plugin, crashed: false }),
        PluginState::Crashed => state.events.publish(HostEvent::PluginUnloaded { plugin, crashed: true }),
        _ => {}
    }
}

fn print_session(plugin: &PluginHandle) {
    if let (Some(pid), Some(session)) = (plugin.process_id(), plugin.session()) {
        println!("[Host] Plugin {}: process {pid}, session {:#018x}", plugin.name(), session.nonce());
    }
}
