//! The plugin, of any version.

use std::process::ExitCode;

use rapace::plugin::schemars::{self, JsonSchema};
use rapace::prelude::*;
use serde::Deserialize;

#[rapace::service(name = "demo.Greeter", version = "1.0", provider = "plugin")]
pub(crate) trait Greeter {
    async fn greet(&self, name: &str) -> String;
}

/// What its manifest gives it, unless the host's configuration has another.
#[derive(Deserialize, JsonSchema)]
struct Manners {
    greeting: String,
}

struct Polite {
    version: String,
    greeting: String,
}

impl Greeter for Polite {
    async fn greet(&self, name: &str) -> String {
        format!("\"{}, {name}!\" says version {}", self.greeting, self.version)
    }
}

pub(crate) fn run(version: &str) -> ExitCode {
    let own_version = version.to_owned();
    PluginMain::new("greeter", version)
        .config::<Manners>()
        .serve_with(|ctx| {
            let greeting = ctx.config().greeting.clone();
            Ok(GreeterServer::new(Polite { version: own_version, greeting }))
        })
        .run_with([])
}
