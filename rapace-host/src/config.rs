//! The configuration of a whole host: from a file, or made in code.
//!
//! ```
//! use std::path::Path;
//! use rapace_host::{HostConfig, PluginConfig};
//!
//! let text = "
//!     name = 'my-host'
//!     version = '1.0.0'
//!     [plugins.shout]
//!     program = '/usr/lib/my-host/shout'
//! ";
//! let from_file = HostConfig::from_toml(text, Path::new("host.toml"), |name| std::env::var(name).ok())?;
//!
//! let mut in_code = HostConfig::new("my-host", "1.0.0");
//! let shout = PluginConfig { program: Some("/usr/lib/my-host/shout".into()), ..Default::default() };
//! in_code.plugins.insert("shout".to_owned(), shout);
//! assert_eq!(from_file, in_code);
//! # Ok::<(), rapace_host::ConfigError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rapace_session::{Config, Limits, Timeouts};
use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;

mod admin;
mod calls;
mod ceiling;
mod contract;
mod events;
mod metrics;
pub(crate) mod overrides;
mod plugin;
pub(crate) mod quantity;
mod session;
mod storage;

pub use admin::AdminConfig;
pub use calls::{CallLogging, CallRate, CallRules, CallsConfig, Token};
pub use ceiling::Ceiling;
pub use contract::{Binding, ContractConfig};
pub use events::EventsConfig;
pub use metrics::MetricsConfig;
pub use overrides::{BackoffOverrides, BreakerOverrides, RestartLimitOverrides, SupervisionOverrides, Switch};
pub use plugin::{PluginConfig, PluginSettings, SettingsError};
pub use session::MemoryConfig;
pub use storage::StorageConfig;

use crate::builder::ShutdownTimes;
use crate::document::{self, Document, FILE_BYTES_MAX, Problem};
use crate::manifest::Manifest;
use crate::policy::Supervision;
use session::{LimitsInFile, ShutdownTimesInFile, TimeoutsInFile};

/// The longest name and version of a host, in bytes: what the handshake takes.
const NAME_BYTES_MAX: usize = 128;
/// The longest path of a Unix socket, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The configuration of a host.
///
/// In a file, `${NAME}` in a text stands for a variable of the environment, `${NAME:-default}` for the same or a default,
/// and `$$` for a dollar. Relative paths are beside the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// Its name, which plugins are told: 1 to 128 bytes.
    pub name: String,
    /// Its version: 1 to 128 bytes.
    pub version: String,
    /// The memory of each process of a plugin.
    #[serde(default)]
    pub memory: MemoryConfig,
    /// What is taken from a plugin.
    #[serde(default, deserialize_with = "LimitsInFile::deserialize")]
    #[schemars(with = "LimitsInFile")]
    pub limits: Limits,
    /// How long things may take.
    #[serde(default, deserialize_with = "TimeoutsInFile::deserialize")]
    #[schemars(with = "TimeoutsInFile")]
    pub timeouts: Timeouts,
    /// How long a shutdown waits for each of its steps.
    #[serde(default, deserialize_with = "ShutdownTimesInFile::deserialize")]
    #[schemars(with = "ShutdownTimesInFile")]
    pub shutdown: ShutdownTimes,
    /// What is counted, and where that is to be had.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Where plugins are looked for.
    #[serde(default)]
    pub discovery: DiscoveryConfig,
    /// A directory in which each plugin has a socket, `NAME.sock`, at which one that was started by hand joins.
    #[serde(default)]
    pub attach: Option<PathBuf>,
    /// Where an operator connects.
    #[serde(default)]
    pub admin: AdminConfig,
    /// What is done around the calls of all plugins, and to them.
    #[serde(default)]
    pub calls: CallsConfig,
    /// How all plugins are looked after, where their manifests do not say otherwise.
    #[serde(default)]
    pub supervision: SupervisionOverrides,
    /// Where plugins' values are kept. By default they are kept nowhere, and no plugin is offered the service.
    #[serde(default)]
    pub storage: Option<StorageConfig>,
    /// Whether a plugin is refused that is not wholly confined to its permissions, where `plugins.NAME` does not say otherwise.
    /// Default no.
    #[serde(default)]
    pub require_sandbox: bool,
    /// The most that any plugin gets.
    #[serde(default)]
    pub ceiling: Ceiling,
    /// Plugins, by name.
    #[serde(default)]
    pub plugins: BTreeMap<String, PluginConfig>,
    /// Who answers, by type of contract.
    #[serde(default)]
    pub contracts: BTreeMap<String, ContractConfig>,
    /// What the service of events takes and keeps.
    #[serde(default)]
    pub events: EventsConfig,
}

/// Where plugins are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryConfig {
    /// Whether they are. Default yes.
    pub enabled: bool,
    /// In which directories. Default none.
    pub directories: Vec<PathBuf>,
    /// Also in directories below. Default no.
    pub recursive: bool,
    /// Whether files that come, change or go later are noticed. Default no.
    pub watch: bool,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self { enabled: true, directories: Vec::new(), recursive: false, watch: false }
    }
}

impl DiscoveryConfig {
    /// Whether it can find anything.
    fn finds(&self) -> bool {
        self.enabled && !self.directories.is_empty()
    }
}

/// Why a file is not the configuration of a host.
#[derive(Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {error}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Its name ends in none of `.toml`, `.yaml` and `.yml`.
    #[error("{}: expected a file that ends in .toml, .yaml or .yml", .file.display())]
    Format {
        /// The file.
        file: PathBuf,
    },
    /// It says what it must not.
    #[error("{}", document::lines(.problems))]
    Invalid {
        /// All that is wrong with it, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// As it is displayed: so a `main` that returns it prints what its reader is to mend.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl HostConfig {
    /// The defaults, for a host of this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), ..Self::default() }
    }

    /// Reads a file, as TOML or as YAML by the end of its name, with the variables of this process.
    ///
    /// # Errors
    ///
    /// It cannot be read; or all that is wrong with it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let environment = |name: &str| std::env::var(name).ok();
        let read = || read(path).map_err(|error| ConfigError::Read { file: path.to_owned(), error });
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::from_toml(&read()?, path, environment),
            Some("yaml" | "yml") => Self::from_yaml(&read()?, path, environment),
            _ => Err(ConfigError::Format { file: path.to_owned() }),
        }
    }

    /// Reads TOML, which stands in that file, with the variables that a function gives.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn from_toml(
        text: &str,
        file: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Self::from_document(Document::from_toml(text, file), file, &environment)
    }

    /// Reads YAML, which stands in that file, with the variables that a function gives.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn from_yaml(
        text: &str,
        file: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Self::from_document(Document::from_yaml(text, file), file, &environment)
    }

    /// The JSON schema of it.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).into()
    }

    /// What its sessions are made with; what it does not say is as by default.
    #[must_use]
    pub fn session(&self) -> Config {
        Config {
            geometry: self.memory.geometry(),
            prefault: self.memory.prefault(),
            limits: self.limits,
            timeouts: self.timeouts,
            ..Config::new(self.name.clone(), self.version.clone())
        }
    }

    /// All that holds for the plugin of that name, which may have a manifest, whose variables a function gives.
    ///
    /// # Errors
    ///
    /// The manifest names a variable that is missing.
    pub fn plugin(
        &self,
        name: &str,
        manifest: Option<&Manifest>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<PluginSettings, SettingsError> {
        PluginSettings::new(name, manifest, self, &environment)
    }

    fn from_document(
        mut document: Document,
        file: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        document.expand(environment);
        let mut config: Option<Self> = document.decode();
        if let Some(config) = &mut config {
            config.check(&mut document);
            config.beside(file.parent().unwrap_or(Path::new("")));
        }
        document.finish(config).map_err(|problems| ConfigError::Invalid { problems })
    }

    /// Notes what is out of bounds or contradicts itself. What could not be read is as by default here.
    fn check(&self, document: &mut Document) {
        for (field, text) in [("name", &self.name), ("version", &self.version)] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX {
                document.refuse(&[field.into()], format!("expected 1 to {NAME_BYTES_MAX} bytes"));
            }
        }
        if !document.is_refused(&["memory".into()]) {
            self.memory.check(document);
        }
        if !document.is_refused(&["limits".into()]) {
            session::check_limits(&self.limits, document);
        }
        session::check_timeouts(&self.timeouts, document);
        self.metrics.check(document);
        if self.attach.as_ref().is_some_and(|path| !(1..=SOCKET_PATH_BYTES_MAX).contains(&path.as_os_str().len())) {
            document.refuse(&["attach".into()], format!("expected a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes"));
        }
        self.admin.check(document);
        self.calls.check(&CallsConfig::default(), document, &["calls".into()]);
        self.supervision.check(Supervision::default(), document, &["supervision".into()]);
        if let Some(storage) = &self.storage {
            storage.check(document);
        }
        if !document.is_refused(&["events".into()]) {
            self.events.check(document);
        }
        self.ceiling.check(document);
        for (name, plugin) in &self.plugins {
            plugin.check(name, self, document);
        }
        for (contract, config) in &self.contracts {
            config.check(contract, self, document);
        }
    }

    /// Relative paths are beside the file.
    fn beside(&mut self, directory: &Path) {
        let in_path = |program: &&mut PathBuf| program.components().count() == 1 && !program.starts_with(".");
        let programs = self.plugins.values_mut().filter_map(|plugin| plugin.program.as_mut());
        let programs = programs.filter(|program| !in_path(program));
        let storage = self.storage.as_mut().map(|storage| &mut storage.path);
        let sockets = self.attach.as_mut().into_iter().chain(&mut self.admin.socket);
        for path in programs.chain(&mut self.discovery.directories).chain(sockets).chain(storage) {
            *path = directory.join(&*path);
        }
    }
}

/// Reads a text of bounded length.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path)?.take(bound + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
