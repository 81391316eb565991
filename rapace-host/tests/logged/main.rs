//! What a host logs, and what is put around calls by its configuration: a host, and plugins in processes of their own, which
//! are this test program again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod around;
mod log;
mod plugin;

use std::time::Duration;

use rapace_host::{PluginHost, PluginHostBuilder, PluginSpec};
use rapace_service::Services;
use rapace_session::Config;

use plugin::{BackServer, FrontClient, Host};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn builder() -> PluginHostBuilder {
    PluginHost::builder(Config::new("test-host", "1.0.0"))
        .services(|_| Services::new().add(BackServer::new(Host)).calls::<FrontClient>())
}

/// A plugin of that name.
fn spec(name: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new(name, program).arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    spec.env(plugin::NAME, name)
}
