//! What a host logs, and what is put around calls by its configuration: a host, and plugins in processes of their own, which
//! are this test program again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod around;
mod deployed;
mod life;
mod log;
mod plugin;

use std::time::{Duration, Instant};

use rapace_host::{PluginHost, PluginHostBuilder, PluginSpec};
use rapace_service::Services;
use rapace_session::Config;

use plugin::{BackServer, FrontClient, Host};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn builder() -> PluginHostBuilder {
    serving(Config::new("test-host", "1.0.0"))
}

fn serving(config: Config) -> PluginHostBuilder {
    PluginHost::builder(config).services(|_| Services::new().add(BackServer::new(Host)).calls::<FrontClient>())
}

/// A plugin of that name.
fn spec(name: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new(name, program).arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    spec.env(plugin::NAME, name)
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
