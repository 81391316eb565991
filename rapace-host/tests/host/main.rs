//! A host and its plugins in processes of their own: this test program again, told its role by a variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod census;
mod deploying;
mod directory;
mod ending;
mod finding;
mod granting;
mod hanging;
mod joining;
mod keeping;
mod life;
mod output;
mod plugin;
mod refusals;
mod reload;
mod starting;
mod supervision;
mod verified;
mod watching;

use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rapace_host::{PluginHost, PluginHostBuilder, PluginSpec, StateChange};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{Config, Timeouts};
use rustix::process::{Pid, Signal, kill_process};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The services of the plugins here, with an argument of this type.
fn registry<T: postcard_schema::Schema>() -> Registry {
    let service = Service::builder("test.Plugin", Version::new(1, 0), Provider::Plugin);
    Registry::builder().service(service.unary::<T, u32>("echo", plugin::ECHO)).build().unwrap()
}

/// The same, with an `initialize` that may fail.
fn typed_registry() -> Registry {
    let service = Service::builder("test.Plugin", Version::new(1, 0), Provider::Plugin);
    let service = service.unary::<(), Result<(), String>>("initialize", 2000);
    Registry::builder().service(service).build().unwrap()
}

/// That of a plugin that hands its state over.
fn stateful_registry() -> Registry {
    let service = Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin);
    Registry::builder().service(service.unary::<(), Vec<u8>>("export_state", 2003)).build().unwrap()
}

fn config() -> Config {
    Config { registry: registry::<u32>(), ..Config::new("test-host", "1.0.0") }
}

/// A host that waits this long for a plugin to start.
fn with_patience(start: Duration) -> PluginHostBuilder {
    let timeouts = Timeouts { start, ..Timeouts::default() };
    PluginHost::builder(Config { timeouts, ..config() })
}

/// A builder that sends its state changes.
fn watched(builder: PluginHostBuilder) -> (PluginHost, mpsc::Receiver<StateChange>) {
    let (sender, changes) = mpsc::channel();
    let told = move |change: &StateChange| drop(sender.send(change.clone()));
    (builder.on_state(told).build().unwrap(), changes)
}

/// So many changes, which may be told a moment after they can be seen.
#[track_caller]
fn in_words(changes: &mpsc::Receiver<StateChange>, count: usize) -> Vec<String> {
    (0..count).map(|_| changes.recv_timeout(PATIENCE).unwrap().to_string()).collect()
}

/// The plugin of this role.
fn spec(role: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new(role, program).arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    // With one thread a test program would begin a line, and the plugin's first would be the rest of it.
    spec.env(plugin::ROLE, role).env("RUST_TEST_THREADS", "2")
}

/// A program that is no plugin, written for `sh`.
fn script(text: &str) -> PluginSpec {
    PluginSpec::new("script", "sh").arg("-c").arg(text)
}

/// A pipe, and the path at which other processes open it: what they read ends when the writer is dropped.
fn gate() -> (std::io::PipeReader, std::io::PipeWriter, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
    (reader, writer, path)
}

/// Waits for what is sure to come.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Stops a process, and sees each of its threads stopped: until then they go on.
fn stop(pid: u32) -> Pid {
    let process = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let is_stopped = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        status.contains("State:\tT")
    };
    let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(Result::unwrap);
    eventually("it is stopped", || tasks().all(is_stopped));
    process
}

/// A host that answers whatever it is asked.
fn answers(call: rapace_session::IncomingCall) {
    call.reply(b"");
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
