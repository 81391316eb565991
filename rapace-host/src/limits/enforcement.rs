//! What holds a plugin to its limits, and what became of those that it met.

use std::fmt;

use crate::permissions::PluginLimits;
use crate::scope::Limit;

/// By what one life of a plugin is held to what the operating system limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enforcement {
    pub(super) memory: Option<Means>,
    pub(super) cpu_time: Option<Means>,
    pub(super) open_files: Option<Means>,
    pub(super) processes: Option<Means>,
}

/// By what a limit is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Means {
    /// A cgroup: for all processes of the plugin together.
    Cgroup,
    /// A limit that each of its processes has for itself.
    EachProcess,
    /// A limit that counts all processes of the host's user, whosever they are.
    User,
    /// Nothing: the machine has nothing that the host could use.
    Nothing,
}

impl Enforcement {
    /// What a plugin has that the host has not started.
    pub(crate) fn nothing(limits: &PluginLimits) -> Self {
        let nothing = |limit: Option<u64>| limit.map(|_| Means::Nothing);
        Self {
            memory: nothing(limits.memory_bytes),
            cpu_time: nothing(limits.cpu_seconds),
            open_files: nothing(limits.open_files),
            processes: nothing(limits.processes),
        }
    }

    /// By what this limit is enforced; none where the plugin has no such limit, or it is not the operating system's.
    #[must_use]
    pub fn of(&self, limit: Limit) -> Option<Means> {
        match limit {
            Limit::Memory => self.memory,
            Limit::CpuTime => self.cpu_time,
            Limit::OpenFiles => self.open_files,
            Limit::Processes => self.processes,
            _ => None,
        }
    }

    /// The limits that the plugin has, and nothing enforces.
    pub fn lacking(&self) -> impl Iterator<Item = Limit> + '_ {
        Limit::ALL.into_iter().filter(|limit| self.of(*limit) == Some(Means::Nothing))
    }
}

/// Each limit that the plugin has, and by what it is enforced: `memory by a cgroup, cpu_time by a limit of each process`.
impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = Limit::ALL.into_iter().filter_map(|limit| Some((limit, self.of(limit)?)));
        for (index, (limit, means)) in limits.enumerate() {
            write!(f, "{}{limit} by {means}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "a cgroup",
            Self::EachProcess => "a limit of each process",
            Self::User => "a limit of the host's user",
            Self::Nothing => "nothing",
        })
    }
}

/// A limit of the operating system's that a plugin met in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrun {
    /// Which.
    pub limit: Limit,
    /// What is allowed: bytes, seconds, or processes and threads.
    pub allowed: u64,
    /// How often.
    pub times: u64,
    /// Whether the plugin's own process was killed for it.
    pub killed: bool,
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Limit::Memory => write!(f, "more than {} of memory", Bytes(self.allowed)),
            Limit::CpuTime => write!(f, "more than {} s of a processor's time", self.allowed),
            Limit::Processes => write!(f, "more than {} processes and threads", self.allowed),
            limit => write!(f, "more than {} of {limit}", self.allowed),
        }
    }
}

/// Bytes, in the largest unit that they are a multiple of.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overrun_is_told_with_its_figure() {
        for (limit, allowed, words) in [
            (Limit::Memory, 64 << 20, "more than 64 MiB of memory"),
            (Limit::Memory, 3 << 30, "more than 3 GiB of memory"),
            (Limit::Memory, 1000, "more than 1000 bytes of memory"),
            (Limit::Memory, 0, "more than 0 bytes of memory"),
            (Limit::CpuTime, 2, "more than 2 s of a processor's time"),
            (Limit::Processes, 20, "more than 20 processes and threads"),
        ] {
            assert_eq!(Overrun { limit, allowed, times: 1, killed: false }.to_string(), words);
        }
    }

    #[test]
    fn nothing_enforces_the_limits_of_what_the_host_has_not_started() {
        let limits =
            PluginLimits { memory_bytes: Some(1), processes: Some(1), calls: Some(1), ..PluginLimits::default() };
        let enforcement = Enforcement::nothing(&limits);
        assert_eq!(enforcement.lacking().collect::<Vec<_>>(), [Limit::Memory, Limit::Processes]);
        assert_eq!(enforcement.to_string(), "memory by nothing, processes by nothing");
        assert_eq!(Enforcement::default().to_string(), "");
        assert_eq!((enforcement.of(Limit::CpuTime), enforcement.of(Limit::Calls)), (None, None));
    }
}
