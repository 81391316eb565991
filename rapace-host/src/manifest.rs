//! What a plugin says of itself in a file beside its program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rapace_registry::Version;

use crate::policy::Supervision;

/// A plugin's manifest, `NAME.plugin.toml`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Manifest {
    /// Its name: that of the file.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its program, beside the manifest or below. Default: the file of that name without `.plugin.toml`.
    pub program: PathBuf,
    /// The SHA-256 of the program.
    pub sha256: Option<[u8; 32]>,
    /// Arguments.
    pub args: Vec<String>,
    /// Variables of its environment; `${NAME}` stands for one of the host's.
    pub env: BTreeMap<String, String>,
    /// The services that it serves: it is refused if it does not.
    pub provides: BTreeMap<String, Version>,
    /// The services of the host that it calls.
    pub requires: BTreeMap<String, Version>,
    /// The types that it has of each type of contract, such as `json-processor` of `dataProcessor`.
    pub contracts: BTreeMap<String, Vec<String>>,
    /// What it asks to be allowed.
    pub permissions: Permissions,
    /// What it may use.
    pub limits: PluginLimits,
    /// How its host looks after it.
    pub supervision: Supervision,
    /// Its configuration, if the host's has none for it.
    pub config: Option<serde_json::Value>,
}

/// What a plugin may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permissions {
    /// Paths that it may read.
    pub read: Vec<PathBuf>,
    /// Paths that it may read and write.
    pub write: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// The host's services that it may call, such as `Storage`.
    pub services: Vec<String>,
}

/// What a plugin may use; what is not named is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginLimits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Seconds of a processor's time.
    pub cpu_seconds: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Calls of the host in flight.
    pub calls: Option<u32>,
    /// Bytes of a message.
    pub message_bytes: Option<u64>,
}
