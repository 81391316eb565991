//! What a plugin may do and use: what it asks for in its manifest, and what its host allows.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::quantity::{Written, optional};
use crate::document::{Document, Step};

/// What a plugin may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Paths that it may read, and execute, with all below: absolute. One that leads over a symbolic link is not granted, and
    /// that is told; links in the root, such as `/bin`, are no such links.
    pub read: Vec<PathBuf>,
    /// Paths that it may read and write, with all below, as those.
    pub write: Vec<PathBuf>,
    /// Whether it may use the network. Unix sockets, which other programs of this machine listen at, are no network.
    pub network: bool,
    /// The host's services that it may call: `rapace.Storage`, or the last part of the name, `Storage`.
    pub services: Vec<String>,
    /// What it may do with the storage that all plugins share.
    pub shared_storage: SharedStorage,
    /// Topics of events that it may publish to: names, or beginnings of names that end in `*`.
    pub publish: Vec<String>,
    /// Topics of events that it may subscribe to, as those.
    pub subscribe: Vec<String>,
    /// Which system calls it is refused.
    pub syscalls: SyscallProfile,
}

/// Which system calls a plugin is refused, beside those that its other permissions rule out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SyscallProfile {
    /// As by default, and what few plugins need: anonymous files, watching files, new sessions, locking memory.
    Strict,
    /// What administers the machine, reaches into other processes, or changes modes, owners and times of files.
    #[default]
    Default,
    /// None.
    Unrestricted,
}

/// What a plugin may do with the storage that all plugins share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SharedStorage {
    /// Nothing.
    #[default]
    None,
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

/// What a plugin may use; what is not named is not limited, and only calls and storage may be 0. The first four are the
/// operating system's to enforce, for each of its processes with all that this starts: `Enforcement` tells by what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Bytes of memory. One that uses more is killed; where the host has no cgroups, it is refused memory instead, and what it
    /// has not touched counts too.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<u64>>")]
    pub memory_bytes: Option<u64>,
    /// Seconds of a processor's time in one life, at least 1. Then its process is sent SIGXCPU, and killed a second later.
    #[schemars(range(min = 1))]
    pub cpu_seconds: Option<u64>,
    /// Open files of each process. One that opens more is told so by the operating system, and the host is not: there is nothing
    /// to count.
    #[schemars(range(min = 1))]
    pub open_files: Option<u64>,
    /// Processes and threads, itself among them. One that starts more is refused them.
    #[schemars(range(min = 1))]
    pub processes: Option<u64>,
    /// Calls to the host that each of its processes has in flight, streams among them.
    pub calls: Option<u32>,
    /// Bytes of a message that it sends.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<u64>>")]
    pub message_bytes: Option<u64>,
    /// Lines of the log in a second, of its own and of what it prints.
    pub log_lines_per_second: Option<NonZeroU32>,
    /// Bytes in the host's storage, with their keys.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<u64>>")]
    pub storage_bytes: Option<u64>,
    /// Events that it publishes in a second.
    pub events_per_second: Option<NonZeroU32>,
}

impl Permissions {
    /// What both allow.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        let services = within_both(&self.services, &other.services, |wider, service| is_named(service, wider));
        // What may be written may be read.
        let readable = |of: &Self| of.read.iter().chain(&of.write).cloned().collect::<Vec<_>>();
        let write = common(&self.write, &other.write);
        let mut read = common(&readable(self), &readable(other));
        read.retain(|path| !write.iter().any(|wider| path.starts_with(wider)));
        Self {
            read,
            write,
            network: self.network && other.network,
            services,
            shared_storage: self.shared_storage.min(other.shared_storage),
            publish: within_both(&self.publish, &other.publish, covers),
            subscribe: within_both(&self.subscribe, &other.subscribe, covers),
            syscalls: self.syscalls.min(other.syscalls),
        }
    }

    /// Whether a service of the host may be called.
    #[must_use]
    pub fn allows_service(&self, service: &str) -> bool {
        self.services.iter().any(|name| is_named(service, name))
    }

    /// Whether a topic may be published to.
    #[must_use]
    pub fn allows_publishing(&self, topic: &str) -> bool {
        self.publish.iter().any(|allowed| covers(allowed, topic))
    }

    /// Whether a topic, or all that begin like one that ends in `*`, may be subscribed to.
    #[must_use]
    pub fn allows_subscribing(&self, topic: &str) -> bool {
        self.subscribe.iter().any(|allowed| covers(allowed, topic))
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

/// Whether that is a name of the service: the whole, or its last part.
fn is_named(service: &str, name: &str) -> bool {
    service == name || !name.contains('.') && service.rsplit('.').next() == Some(name)
}

/// Whether all topics of the one pattern are among those of the other.
fn covers(wider: &str, topic: &str) -> bool {
    wider.strip_suffix('*').map_or(wider == topic, |beginning| topic.starts_with(beginning))
}

/// What the one names and the other covers.
fn within_both(some: &[String], others: &[String], covers: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let within = |of: &[String], name: &str| of.iter().any(|wider| covers(wider, name));
    let inner = some.iter().filter(|name| within(others, name));
    let mut names: Vec<_> = inner.chain(others.iter().filter(|name| within(some, name))).cloned().collect();
    names.sort();
    names.dedup();
    names
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
            log_lines_per_second: lower(self.log_lines_per_second, other.log_lines_per_second),
            storage_bytes: lower(self.storage_bytes, other.storage_bytes),
            events_per_second: lower(self.events_per_second, other.events_per_second),
        }
    }

    /// Notes those with which it could not even start.
    pub(crate) fn check(&self, document: &mut Document, path: &[Step]) {
        for name in self.impossible() {
            document.refuse(&[path, &[name.into()]].concat(), "found 0, expected at least 1");
        }
    }

    /// Those with which nothing can run. Of calls and of storage there may be none.
    pub(crate) fn impossible(&self) -> impl Iterator<Item = &'static str> {
        let of_each = [
            ("memory_bytes", self.memory_bytes),
            ("cpu_seconds", self.cpu_seconds),
            ("open_files", self.open_files),
            ("processes", self.processes),
            ("message_bytes", self.message_bytes),
        ];
        of_each.into_iter().filter(|(_, limit)| *limit == Some(0)).map(|(name, _)| name)
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
