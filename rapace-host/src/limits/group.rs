//! The cgroups of one life of a plugin, one in each hierarchy.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cgroups::Hosted;
use super::ending::{PATIENCE, end};
use super::hierarchy::{Controllers, Hierarchy};
use super::place::Version;

/// Characters of a plugin's name in that of its directories.
const NAME_CHARS_MAX: usize = 64;

/// Cgroups, which are there until their processes have ended.
#[derive(Debug)]
pub(super) struct Group {
    plugin: String,
    name: String,
    parts: Vec<Part>,
    has_ended: AtomicBool,
    /// Those of the host stay as long as they have some below.
    _hosted: Arc<Hosted>,
}

#[derive(Debug)]
struct Part {
    version: Version,
    controllers: Controllers,
    directory: PathBuf,
}

impl Group {
    /// Makes one for a life of the plugin of this name, and gives the files by which a process joins it; none where there
    /// is no hierarchy to make it in.
    pub(super) fn make(hosted: &Arc<Hosted>, plugin: &str, number: u64) -> Option<(Self, Vec<OwnedFd>)> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        let name = format!("{}-{number}", plugin.chars().take(NAME_CHARS_MAX).map(plain).collect::<String>());
        let (parts, has_ended, _hosted) = (Vec::new(), false.into(), Arc::clone(hosted));
        let mut group = Self { plugin: plugin.to_owned(), name, parts, has_ended, _hosted };
        let mut files = Vec::new();
        for hierarchy in &hosted.hierarchies {
            match Part::make(hierarchy, &group.name) {
                Ok((part, file)) => {
                    group.parts.push(part);
                    files.push(file.into());
                }
                Err(error) => {
                    tracing::warn!(plugin, directory = %hierarchy.directory.display(), %error, "cannot make a cgroup");
                }
            }
        }
        (!group.parts.is_empty()).then_some((group, files))
    }

    /// Limits the bytes of memory; says whether it could.
    pub(super) fn limit_memory(&self, bytes: u64) -> bool {
        let Some(part) = self.part(|has| has.memory) else { return false };
        let bytes = bytes.to_string();
        match part.version {
            Version::One => {
                let limited = part.write("memory.limit_in_bytes", &bytes);
                // With what is swapped out, where that is counted.
                let _ = part.write("memory.memsw.limit_in_bytes", &bytes);
                limited
            }
            Version::Two => {
                let _ = part.write("memory.swap.max", "0");
                part.write("memory.max", &bytes)
            }
        }
    }

    /// Limits the number of processes and threads; says whether it could.
    pub(super) fn limit_processes(&self, count: u64) -> bool {
        self.part(|has| has.pids).is_some_and(|part| part.write("pids.max", &count.to_string()))
    }

    /// Processes that were killed because there was not enough memory within the limit.
    pub(super) fn killed_for_memory(&self) -> u64 {
        let Some(part) = self.part(|has| has.memory) else { return 0 };
        match part.version {
            // One may also be killed because the machine has no memory left.
            // Where a machine as a whole has no memory left, that is counted too: the kernel's count of failures does not tell.
            Version::One => part.read_field("memory.oom_control", "oom_kill").unwrap_or(0),
            Version::Two if part.read_field("memory.events", "oom") == Some(0) => 0,
            Version::Two => part.read_field("memory.events", "oom_kill").unwrap_or(0),
        }
    }

    /// How often a process or a thread was refused.
    pub(super) fn refused_processes(&self) -> u64 {
        self.part(|has| has.pids).and_then(|part| part.read_field("pids.events", "max")).unwrap_or(0)
    }

    /// A processor's time that has been used.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let part = self.part(|has| has.cpu)?;
        match part.version {
            Version::One => part.read("cpuacct.usage").map(Duration::from_nanos),
            Version::Two => part.read_field("cpu.stat", "usage_usec").map(Duration::from_micros),
        }
    }

    /// Bytes of memory in use.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let part = self.part(|has| has.memory)?;
        part.read(match part.version {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        })
    }

    /// Processes and threads.
    pub(super) fn processes(&self) -> Option<u64> {
        self.part(|has| has.pids)?.read("pids.current")
    }

    /// Ends all that is in it, and removes it, unless that takes longer than this.
    pub(super) fn end(&self, patience: Duration) {
        if self.has_ended.swap(true, Ordering::SeqCst) {
            return;
        }
        let directories: Vec<_> = self.parts.iter().map(|part| part.directory.clone()).collect();
        if !end(&directories, &format!("/{}", self.name), patience) {
            // The end of the host's own directory is another attempt.
            tracing::warn!(plugin = self.plugin, ?directories, "what a plugin has started has not ended");
        }
    }

    fn part(&self, has: impl Fn(Controllers) -> bool) -> Option<&Part> {
        self.parts.iter().find(|part| has(part.controllers))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end(PATIENCE);
    }
}

impl Part {
    fn make(hierarchy: &Hierarchy, name: &str) -> io::Result<(Self, File)> {
        let (version, controllers) = (hierarchy.version, hierarchy.controllers);
        let directory = hierarchy.directory.join(name);
        fs::create_dir(&directory)?;
        let opened = File::options().write(true).create(true).truncate(false).open(directory.join("cgroup.procs"));
        let file = opened.inspect_err(|_| drop(fs::remove_dir(&directory)))?;
        Ok((Self { version, controllers, directory }, file))
    }

    fn write(&self, file: &str, text: &str) -> bool {
        fs::write(self.directory.join(file), text).is_ok()
    }

    fn read(&self, file: &str) -> Option<u64> {
        number(&fs::read_to_string(self.directory.join(file)).ok()?)
    }

    /// The number behind a word at the beginning of a line.
    fn read_field(&self, file: &str, field: &str) -> Option<u64> {
        read_field(&self.directory.join(file), field)
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn read_field(path: &Path, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == field)
        .and_then(|(_, rest)| number(rest))
}
