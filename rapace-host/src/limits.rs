//! What the operating system holds a plugin's process to, and with it all that it starts.
//!
//! Limits that a process has are set between fork and exec, and it joins its cgroups there, so that no instruction of its
//! program runs without them. It is in cgroups of its own if it has such a limit or is not trusted, where the host has
//! cgroups to divide: they limit all that it starts together, tell what it uses, and lose nobody when it ends.
//!
//! ```text
//!   Enclosure                    one life of a plugin
//!     group.rs                   its cgroups, and what their files say
//!     processor.rs               the time that it has used, with all that it has started
//!     enforcement.rs, usage.rs   what is told of it
//!   Cgroups                      a host: where it has directories of cgroups
//!     hierarchy.rs               one of them: made, locked, swept when a host has died
//!       place.rs                 where this process's own cgroups are
//!     ending.rs                  processes are killed, directories removed
//!     ends.rs                    who waits for that
//! ```

mod cgroups;
mod ending;
mod ends;
mod enforcement;
mod group;
mod hierarchy;
mod place;
mod processor;
mod usage;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rapace_core::child::{ChildLimit, ChildSetup};
use rapace_session::Process;
use rustix::process::Signal;
use tokio::runtime::Handle;

pub(crate) use self::cgroups::Cgroups;
use self::ending::{LONG_PATIENCE, PATIENCE};
pub(crate) use self::ends::Ends;
pub use self::enforcement::{Enforcement, Means, Overrun};
use self::group::Group;
pub(crate) use self::processor::watch as watch_processor_time;
pub use self::usage::Usage;
use crate::permissions::PluginLimits;
use crate::scope::{Limit, PluginScope};

/// What one life of a plugin is held by.
#[derive(Debug)]
pub(crate) struct Enclosure {
    scope: PluginScope,
    group: Option<Group>,
    enforcement: Enforcement,
    overruns: Mutex<Overruns>,
    /// Nanoseconds of a processor's time, as last seen.
    cpu_seen: AtomicU64,
    /// Whose threads see to its end.
    reaper: Option<Handle>,
}

/// What was seen of the limits that it met.
#[derive(Debug, Default)]
struct Overruns {
    killed_for_memory: u64,
    refused_processes: u64,
    of_cpu_time: u64,
    /// Its own process was killed for this.
    killed_for: Option<Limit>,
}

impl Enclosure {
    /// Has the command start a process that is held to what this scope says.
    pub(crate) fn around(command: &mut Command, scope: &PluginScope, cgroups: Option<&Cgroups>) -> Self {
        let (limits, mut setup) = (scope.limits(), ChildSetup::default());
        let is_limited = Enforcement::nothing(limits) != Enforcement::default();
        let is_held = is_limited || scope.permissions().is_some();
        let made = cgroups
            .filter(|_| is_held)
            .and_then(|cgroups| Group::make(cgroups.hosted(), scope.name(), cgroups.next_life()));
        let (group, files) = made.unzip();
        files.into_iter().flatten().for_each(|file| setup.join(file));
        let enforcement = enforce(limits, group.as_ref(), &mut setup);
        if is_held {
            // A core file is as large as the memory, and nothing else limits it.
            setup.limit(ChildLimit::CoreBytes(0));
        }
        for limit in enforcement.lacking() {
            let reason = cgroups.map_or("there is no host", |cgroups| &cgroups.hosted().lacking);
            tracing::warn!(plugin = scope.name(), %limit, reason, "is limited, but nothing enforces it");
        }
        setup.apply(command);
        let (overruns, cpu_seen, reaper) = Default::default();
        Self { scope: scope.clone(), group, enforcement, overruns, cpu_seen, reaper }
    }

    /// What its process has started is ended by a thread of these, and not by whoever sees that the process has ended.
    pub(crate) fn reaped_by(self, reaper: Option<Handle>) -> Self {
        Self { reaper, ..self }
    }

    /// Ends all that its process has started, when that ends.
    pub(crate) fn close_behind(self: &Arc<Self>, process: Process) -> Process {
        let (enclosure, id) = (Arc::clone(self), process.id());
        process.at_end(move |exit| enclosure.ended(id, exit))
    }

    /// By what it is held.
    pub(crate) fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// What is used now, with this process.
    pub(crate) fn usage(&self, process: Option<u32>) -> Option<Usage> {
        self.notice();
        let of = |get: fn(&Group) -> Option<u64>| self.group.as_ref().and_then(get);
        let (cpu, memory, processes) =
            (self.group.as_ref().and_then(Group::cpu), of(Group::memory_bytes), of(Group::processes));
        let own = usage::of_process(process?)?;
        Some(Usage {
            cpu: cpu.unwrap_or(own.cpu),
            memory_bytes: memory.unwrap_or(own.memory_bytes),
            processes: processes.unwrap_or(own.processes),
        })
    }

    /// A processor's time that has been used, as last seen: it never goes back, and is there when all has ended.
    pub(crate) fn cpu_seen(&self) -> Duration {
        Duration::from_nanos(self.cpu_seen.load(Ordering::Relaxed))
    }

    /// Keeps what was seen of that, while the process was there.
    pub(crate) fn note_cpu(&self, cpu: Duration) {
        // A count that orders nothing.
        self.cpu_seen.fetch_max(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The limits that it has met.
    pub(crate) fn overruns(&self) -> Vec<Overrun> {
        let limits = self.scope.limits();
        let seen = self.overruns.lock();
        let found = [
            (Limit::Memory, limits.memory_bytes, seen.killed_for_memory),
            (Limit::CpuTime, limits.cpu_seconds, seen.of_cpu_time),
            (Limit::Processes, limits.processes, seen.refused_processes),
        ];
        let met = found.into_iter().filter(|(_, _, times)| *times > 0);
        met.filter_map(|(limit, allowed, times)| {
            Some(Overrun { limit, allowed: allowed?, times, killed: seen.killed_for == Some(limit) })
        })
        .collect()
    }

    /// Counts the limits that it has met since this was last done.
    pub(crate) fn notice(&self) {
        let Some(group) = &self.group else { return };
        let limits = self.scope.limits();
        let mut seen = self.overruns.lock();
        let memory = limits
            .memory_bytes
            .map(|allowed| (Limit::Memory, allowed, counted(&mut seen.killed_for_memory, group.killed_for_memory())));
        let processes = limits.processes.map(|allowed| {
            (Limit::Processes, allowed, counted(&mut seen.refused_processes, group.refused_processes()))
        });
        drop(seen);
        memory.into_iter().chain(processes).for_each(|(limit, allowed, news)| self.tell(limit, allowed, news));
    }

    /// Not under the lock: telling is logging, and what logs is somebody else's code.
    fn tell(&self, limit: Limit, allowed: u64, (more, times): (u64, u64)) {
        self.scope.overrun_by(limit, more, Overrun { limit, allowed, times, killed: false });
    }

    /// Ends all that it holds, for one whose process nobody watches.
    pub(crate) fn end(&self) {
        self.notice();
        if let Some(group) = &self.group {
            group.end(PATIENCE);
        }
    }

    /// Its process has ended, and is not reaped yet.
    fn ended(self: &Arc<Self>, process: u32, exit: Option<ExitStatus>) {
        if let Some(usage) = self.usage(Some(process)) {
            self.note_cpu(usage.cpu);
        }
        let signal = exit.and_then(|exit| exit.signal());
        let is_killed = signal == Some(Signal::KILL.as_raw());
        if let Some(seconds) = self.scope.limits().cpu_seconds {
            // The kernel kills one that goes on behind SIGXCPU.
            let used = usage::of_process(process).map_or(Duration::ZERO, |usage| usage.cpu);
            if signal == Some(Signal::XCPU.as_raw()) || is_killed && used >= Duration::from_secs(seconds) {
                self.has_used_its_time();
            }
        }
        let mut seen = self.overruns.lock();
        if is_killed && seen.killed_for_memory > 0 && seen.killed_for.is_none() {
            seen.killed_for = Some(Limit::Memory);
        }
        drop(seen);
        let Some(group) = &self.group else { return };
        let Some(reaper) = &self.reaper else { return group.end(PATIENCE) };
        let (end, enclosure) = (self.scope.ends().begin(), Arc::clone(self));
        // Without a thread it ends with the group.
        drop(reaper.spawn_blocking(move || {
            let _end = end;
            enclosure.group.iter().for_each(|group| group.end(LONG_PATIENCE));
        }));
    }

    /// It is killed, or about to be, because its time is over.
    fn has_used_its_time(&self) {
        let mut seen = self.overruns.lock();
        seen.killed_for = Some(Limit::CpuTime);
        let news = counted(&mut seen.of_cpu_time, 1);
        drop(seen);
        if let Some(allowed) = self.scope.limits().cpu_seconds {
            self.tell(Limit::CpuTime, allowed, news);
        }
    }
}

/// Notes how often something has happened; gives how many times more than before, and how often.
fn counted(before: &mut u64, times: u64) -> (u64, u64) {
    let more = times.saturating_sub(*before);
    *before = times.max(*before);
    (more, times)
}

/// Enforces what can be, and says by what.
fn enforce(limits: &PluginLimits, group: Option<&Group>, setup: &mut ChildSetup) -> Enforcement {
    let mut enforcement = Enforcement::default();
    if let Some(bytes) = limits.memory_bytes {
        let by_cgroup = group.is_some_and(|group| group.limit_memory(bytes));
        if !by_cgroup {
            // Beside a cgroup it would count memory that is never touched, and hide that the plugin wants more than it may.
            setup.limit(ChildLimit::DataBytes(bytes));
        }
        enforcement.memory = Some(if by_cgroup { Means::Cgroup } else { Means::EachProcess });
    }
    if let Some(seconds) = limits.cpu_seconds {
        setup.limit(ChildLimit::CpuSeconds(seconds));
        let is_summed = group.is_some_and(|group| group.cpu().is_some());
        enforcement.cpu_time = Some(if is_summed { Means::Cgroup } else { Means::EachProcess });
    }
    if let Some(count) = limits.open_files {
        setup.limit(ChildLimit::OpenFiles(count));
        enforcement.open_files = Some(Means::EachProcess);
    }
    if let Some(count) = limits.processes {
        let means = if group.is_some_and(|group| group.limit_processes(count)) {
            Means::Cgroup
        } else if rustix::process::geteuid().is_root() {
            // The kernel counts root's processes and refuses none.
            Means::Nothing
        } else {
            setup.limit(ChildLimit::UserProcesses(usage::tasks_of_user().saturating_add(count)));
            Means::User
        };
        enforcement.processes = Some(means);
    }
    enforcement
}
