//! What a plugin may do and use: what it asks for in its manifest, and what its host allows.

use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::quantity::{Written, optional};
use crate::document::{Document, Step};

/// What a plugin may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Paths that it may read, with all below: absolute.
    pub read: Vec<PathBuf>,
    /// Paths that it may read and write, with all below: absolute.
    pub write: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// The host's services that it may call, such as `Storage`.
    pub services: Vec<String>,
}

/// What a plugin may use; what is not named is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Bytes of memory.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<u64>>")]
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
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<u64>>")]
    pub message_bytes: Option<u64>,
}

impl Permissions {
    /// What both allow.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        let services = self.services.iter().filter(|service| other.services.contains(service)).cloned();
        // What may be written may be read.
        let readable = |of: &Self| of.read.iter().chain(&of.write).cloned().collect::<Vec<_>>();
        let write = common(&self.write, &other.write);
        let mut read = common(&readable(self), &readable(other));
        read.retain(|path| !write.iter().any(|wider| path.starts_with(wider)));
        Self { read, write, network: self.network && other.network, services: services.collect() }
    }

    /// Notes paths that could mean something else than they say.
    pub(crate) fn check(&self, document: &mut Document, path: &[Step]) {
        for (name, paths) in [("read", &self.read), ("write", &self.write)] {
            for (index, found) in paths.iter().enumerate() {
                if !is_plain(found) {
                    let path: Vec<_> = path.iter().cloned().chain([Step::from(name), Step::from(index)]).collect();
                    document.refuse(&path, format!("found {found:?}, expected an absolute path without .."));
                }
            }
        }
    }
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// The trees that are within one of each: of two of which one is within the other, that one.
fn common(some: &[PathBuf], others: &[PathBuf]) -> Vec<PathBuf> {
    let pairs = some.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
    let inner = pairs.filter_map(|(one, other)| {
        if one.starts_with(other) { Some(one.clone()) } else { other.starts_with(one).then(|| other.clone()) }
    });
    let mut trees: Vec<PathBuf> = inner.collect();
    trees.sort();
    // A tree stands before those within it.
    trees.dedup_by(|later, earlier| later.starts_with(&*earlier));
    trees
}

impl PluginLimits {
    /// The lower of each.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        Self {
            memory_bytes: lower(self.memory_bytes, other.memory_bytes),
            cpu_seconds: lower(self.cpu_seconds, other.cpu_seconds),
            open_files: lower(self.open_files, other.open_files),
            processes: lower(self.processes, other.processes),
            calls: lower(self.calls, other.calls),
            message_bytes: lower(self.message_bytes, other.message_bytes),
        }
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
