//! What a host counts of plugins in processes of their own, beside what a test has made of them: this test program again, told
//! its role by a variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod configured;
#[cfg(feature = "prometheus")]
mod exposition;
mod lives;
mod plugin;
#[cfg(feature = "prometheus")]
mod scraping;
mod using;

use std::time::{Duration, Instant};

use rapace_host::{CallerSide, MethodStats, PluginHandle, PluginHost, PluginHostBuilder, PluginSpec};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{Code, Config, IncomingCall, Status};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the host serves; a method that it does not describe is answered too.
const ASKED: u32 = 1000;

/// A host that answers `ASKED` with as many bytes as it got, and else with a failure.
fn builder() -> PluginHostBuilder {
    let service = Service::builder("test.Host", Version::new(1, 0), Provider::Host);
    let registry = Registry::builder().service(service.unary::<u32, u32>("asked", ASKED)).build().unwrap();
    let serve = |mut call: IncomingCall| match call.method() {
        ASKED => {
            let body = call.take_body();
            call.reply(&body);
        }
        _ => call.fail(Status::new(Code::NotFound, "the host has no such thing")),
    };
    PluginHost::builder(Config { registry, ..Config::new("test-host", "1.0.0") }).services(move |_| serve)
}

fn spec(name: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new(name, program).arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    // With one thread a test program would begin a line, and the plugin's first would be the rest of it.
    spec.env(plugin::ROLE, name).env("RUST_TEST_THREADS", "2")
}

/// What was counted of a method.
fn counted(plugin: &PluginHandle, side: CallerSide, method: &str) -> MethodStats {
    let stats = plugin.stats();
    stats.method(side, method).unwrap_or_else(|| panic!("{method} was not called:\n{stats}")).clone()
}

/// Waits for what is sure to come.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}
