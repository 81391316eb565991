//! What a child does for itself between fork and exec, so that no instruction of its program runs without it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::io::write;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::memory;

/// What the children of a command do before they execute their program.
///
/// A command that has one is started by a fork, which costs the more the more memory this process has.
#[derive(Debug, Default)]
pub struct ChildSetup {
    joins: Vec<OwnedFd>,
    limits: Vec<(Resource, Rlimit)>,
}

/// What the kernel limits for a process, and for each that it starts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildLimit {
    /// Bytes of private memory that may be written to, whether or not they are touched.
    DataBytes(u64),
    /// Seconds of a processor's time: then SIGXCPU, and SIGKILL a second later.
    CpuSeconds(u64),
    /// The number from which on there are no descriptors.
    OpenFiles(u64),
    /// Processes and threads of the user, all together. It does not bind root.
    UserProcesses(u64),
    /// Bytes of a core file.
    CoreBytes(u64),
}

impl ChildSetup {
    /// They join the cgroup of this file, a `cgroup.procs` that is open for writing.
    pub fn join(&mut self, procs: OwnedFd) {
        self.joins.push(procs);
    }

    /// They are limited to this, or to what this process itself is, whatever is less.
    pub fn limit(&mut self, limit: ChildLimit) {
        let (resource, soft, hard) = match limit {
            ChildLimit::DataBytes(bytes) => (Resource::Data, bytes, bytes),
            ChildLimit::CpuSeconds(seconds) => (Resource::Cpu, seconds, seconds.saturating_add(1)),
            ChildLimit::OpenFiles(count) => (Resource::Nofile, count, count),
            ChildLimit::UserProcesses(count) => (Resource::Nproc, count, count),
            ChildLimit::CoreBytes(bytes) => (Resource::Core, bytes, bytes),
        };
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        self.limits.push((resource, Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) }));
    }

    /// Has the children of this command do so. One that cannot is not started, and the error is the start's.
    pub fn apply(self, command: &mut Command) {
        if !self.joins.is_empty() || !self.limits.is_empty() {
            memory::before_exec(command, self);
        }
    }

    /// Does it: the child of a process with threads may make system calls, and hardly anything else. `memory::before_exec`
    /// relies on that.
    pub(crate) fn run(&self) -> io::Result<()> {
        for procs in &self.joins {
            // The process that writes.
            write(procs, b"0")?;
        }
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn printed(script: &str, limits: &[ChildLimit]) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut setup = ChildSetup::default();
        limits.iter().for_each(|limit| setup.limit(*limit));
        setup.apply(&mut command);
        String::from_utf8(command.output().unwrap().stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_child_is_limited_from_its_first_instruction() {
        let limits = [
            ChildLimit::DataBytes(64 << 20),
            ChildLimit::CpuSeconds(7),
            ChildLimit::OpenFiles(17),
            ChildLimit::UserProcesses(400),
            ChildLimit::CoreBytes(0),
        ];
        let script = "ulimit -Sd; ulimit -St; ulimit -Ht; ulimit -Sn; ulimit -Hn; ulimit -c";
        assert_eq!(printed(script, &limits), "65536 7 8 17 17 0");
        assert_eq!(printed("grep processes /proc/self/limits", &limits), "Max processes 400 400 processes");
    }

    #[test]
    fn a_limit_above_that_of_this_process_is_that_of_this_process() {
        let own = getrlimit(Resource::Nofile).maximum;
        let own = own.map_or_else(|| "unlimited".to_owned(), |own| own.to_string());
        assert_eq!(printed("ulimit -Sn; ulimit -Hn", &[ChildLimit::OpenFiles(u64::MAX)]), format!("{own} {own}"));
    }

    #[test]
    fn a_child_writes_itself_into_what_it_joins_and_is_not_started_if_it_cannot() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut setup = ChildSetup::default();
        setup.join(writer.as_fd().try_clone_to_owned().unwrap());
        setup.join(writer.into());
        let mut command = Command::new("true");
        setup.apply(&mut command);
        assert!(command.status().unwrap().success());
        drop(command);
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        assert_eq!(written, "00");
        let mut setup = ChildSetup::default();
        setup.join(reader.into());
        let mut command = Command::new("true");
        setup.apply(&mut command);
        assert_eq!(command.spawn().unwrap_err().raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }
}
