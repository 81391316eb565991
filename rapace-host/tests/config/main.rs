//! The configuration of a host, from files and in code.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod absurd;
mod broken;
mod example;
mod schema;
mod settings;

use std::path::Path;

use rapace_host::{ConfigError, HostConfig};

/// A format.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Toml,
    Yaml,
}

/// Reads a text, with these variables.
fn read_with(format: Format, text: &str, variables: &[(&str, &str)]) -> Result<HostConfig, ConfigError> {
    let environment =
        |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    match format {
        Format::Toml => HostConfig::from_toml(text, Path::new("conf/host.toml"), environment),
        Format::Yaml => HostConfig::from_yaml(text, Path::new("conf/host.yaml"), environment),
    }
}

/// Reads a text, with no variables.
fn read(format: Format, text: &str) -> Result<HostConfig, ConfigError> {
    read_with(format, text, &[])
}

/// What is wrong with a text, a line for each.
fn problems(format: Format, text: &str) -> Vec<String> {
    let error = read(format, text).expect_err(text);
    error.to_string().lines().map(str::to_owned).collect()
}
