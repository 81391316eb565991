//! What those who serve a plugin know of it: its name, what it may do and use, and how often it would have used more.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rapace_host_api::admin::LogSource;
use rapace_host_api::logger::LogField;
use rapace_service::intercept::CallMetrics;
use tokio::sync::Notify;

use crate::calls::PluginCalls;
use crate::limits::Ends;
use crate::log_tail::LogTail;
use crate::permissions::{Permissions, PluginLimits};
use crate::plugin_log::PluginLog;
use crate::services::EventAccount;
use crate::spec::PluginSpec;

/// A plugin, for those who serve it. Its name is the host's word, not what the plugin says of itself.
#[derive(Clone)]
pub struct PluginScope {
    name: Arc<str>,
    permissions: Option<Arc<Permissions>>,
    limits: Arc<PluginLimits>,
    overruns: Arc<Overruns>,
    /// What it says, in all versions.
    pub(crate) log: Arc<PluginLog>,
    /// Events that it publishes and subscribes to, in all versions.
    pub(crate) events: Arc<EventAccount>,
    pub(crate) calls: Arc<PluginCalls>,
    call_metrics: CallMetrics,
    /// What it has said, in all versions.
    tail: Arc<LogTail>,
    /// Which process this life of it is.
    process_id: Arc<OnceLock<u32>>,
    /// Lives whose processes are being ended.
    ends: Arc<Ends>,
}

/// What a plugin may use only so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Memory.
    Memory,
    /// A processor's time.
    CpuTime,
    /// Open files.
    OpenFiles,
    /// Processes and threads.
    Processes,
    /// Calls in flight.
    Calls,
    /// Bytes of a message.
    MessageBytes,
    /// Lines of the log in a second.
    LogRate,
    /// Bytes in the storage.
    StorageBytes,
    /// Events in a second.
    EventRate,
    /// Calls of a method in a second.
    CallRate,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Memory,
        Self::CpuTime,
        Self::OpenFiles,
        Self::Processes,
        Self::Calls,
        Self::MessageBytes,
        Self::LogRate,
        Self::StorageBytes,
        Self::EventRate,
        Self::CallRate,
    ];

    /// Its name, as in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::CpuTime => "cpu_time",
            Self::OpenFiles => "open_files",
            Self::Processes => "processes",
            Self::Calls => "calls",
            Self::MessageBytes => "message_bytes",
            Self::LogRate => "log_rate",
            Self::StorageBytes => "storage_bytes",
            Self::EventRate => "event_rate",
            Self::CallRate => "call_rate",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Default)]
struct Overruns([AtomicU64; Limit::ALL.len()]);

impl PluginScope {
    /// One of that name, which may do everything. A host makes its own; this one is for those that serve without a host,
    /// in tests for example.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::heard_by(name.into(), &Arc::default())
    }

    /// One whose lines ring this bell.
    pub(crate) fn heard_by(name: Arc<str>, bell: &Arc<Notify>) -> Self {
        let (limits, overruns, log, events) = Default::default();
        let (calls, call_metrics, process_id, ends) = Default::default();
        let tail = Arc::new(LogTail::new(bell));
        Self { name, permissions: None, limits, overruns, log, events, calls, call_metrics, tail, process_id, ends }
    }

    /// The same with these permissions.
    #[must_use]
    pub fn with_permissions(self, permissions: Permissions) -> Self {
        Self { permissions: Some(Arc::new(permissions)), ..self }
    }

    /// The same with these limits.
    #[must_use]
    pub fn with_limits(self, limits: PluginLimits) -> Self {
        Self { limits: Arc::new(limits), ..self }
    }

    /// Another life of the same plugin, in this version: what it did before counts.
    pub(crate) fn of(&self, spec: &PluginSpec) -> Self {
        let (permissions, limits) = (spec.permissions.clone(), Arc::clone(&spec.limits));
        let (calls, process_id) = (Arc::clone(&spec.calls), Arc::default());
        Self { permissions, limits, calls, process_id, ..self.clone() }
    }

    /// This life of it is this process.
    pub(crate) fn is_process(&self, process_id: u32) {
        // It is told once.
        let _ = self.process_id.set(process_id);
    }

    /// Keeps a line of what it says.
    pub(crate) fn keep_line(&self, source: LogSource, text: &str, fields: &[LogField]) {
        self.tail.keep(&self.name, self.process_id.get().copied(), source, text, fields);
    }

    /// What its lives have started and is being ended.
    pub(crate) fn ends(&self) -> &Arc<Ends> {
        &self.ends
    }

    /// What it has said.
    pub(crate) fn tail(&self) -> &Arc<LogTail> {
        &self.tail
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do; none for a plugin that is trusted.
    #[must_use]
    pub fn permissions(&self) -> Option<&Permissions> {
        self.permissions.as_deref()
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &PluginLimits {
        &self.limits
    }

    /// What is counted of its calls, by all its versions.
    pub(crate) fn call_metrics(&self) -> &CallMetrics {
        &self.call_metrics
    }

    /// It would have used more than it may. This is counted, and logged the less often the more often it happens.
    pub fn overrun(&self, limit: Limit, detail: impl fmt::Display) {
        self.overrun_by(limit, 1, detail);
    }

    /// The same, so many times.
    pub(crate) fn overrun_by(&self, limit: Limit, more: u64, detail: impl fmt::Display) {
        if more == 0 {
            return;
        }
        // A count that orders nothing.
        let before = self.overruns.0[limit as usize].fetch_add(more, Ordering::Relaxed);
        let times = before.saturating_add(more);
        // There is a power of two behind the one and not behind the other.
        if before.checked_ilog2() != times.checked_ilog2() {
            tracing::warn!(plugin = %self.name, %limit, times, "would use more than it may: {detail}");
        }
    }

    /// How often it would have used more than it may.
    #[must_use]
    pub fn overruns(&self, limit: Limit) -> u64 {
        self.overruns.0[limit as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Debug for PluginScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginScope").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_counts_by_itself_and_over_all_versions() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
        }
        let scope = PluginScope::new("p");
        let spec = PluginSpec::new("p", "/bin/p").permissions(Permissions::default());
        let next = scope.of(&spec);
        scope.overrun(Limit::Calls, "one");
        next.overrun(Limit::Calls, "two");
        next.overrun(Limit::LogRate, "three");
        assert_eq!((scope.overruns(Limit::Calls), next.overruns(Limit::LogRate)), (2, 1));
        assert_eq!(scope.overruns(Limit::Memory), 0);
        assert_eq!((scope.permissions(), next.permissions()), (None, Some(&Permissions::default())));
    }
}
