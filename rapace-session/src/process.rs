//! The peer's process, where this side started it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rapace_core::socket::pidfd_open;
use rustix::io::retry_on_intr;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

/// A child process that is watched by a pidfd, and reaped when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Watches a child.
    ///
    /// # Errors
    ///
    /// When the kernel gives no pidfd. The child is killed then.
    pub fn new(mut child: Child) -> io::Result<Self> {
        match pidfd_open(child.id()) {
            Ok(pidfd) => Ok(Self { child, pidfd, exit: None }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has ended.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        self.collect(WaitIdOptions::NOHANG)
    }

    /// By the pidfd, never by the number: that may be another process's once somebody else has reaped this one.
    fn collect(&mut self, options: WaitIdOptions) -> Option<ExitStatus> {
        if self.exit.is_none() {
            let ended = retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | options));
            // An error means that somebody else has reaped the child: it has ended, and nobody knows how.
            self.exit = ended.ok().flatten().map(|status| {
                let core_dump = if status.dumped() { 0x80 } else { 0 };
                let code = status.exit_status().map(|code| code << 8);
                ExitStatus::from_raw(code.or(status.terminating_signal()).unwrap_or_default() | core_dump)
            });
        }
        self.exit
    }

    /// Waits until it has ended, or the time is over.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_for_end(self.pidfd.as_fd(), patience);
        self.exit()
    }

    /// Kills it with SIGKILL, and reaps it.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        if self.exit().is_none() {
            // An error means that it has ended already.
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        self.collect(WaitIdOptions::empty())
    }
}

impl AsFd for Process {
    /// The pidfd: readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until the process of a pidfd has ended, or the time is over.
pub(crate) fn wait_for_end(pidfd: BorrowedFd<'_>, patience: Duration) {
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        // Rounded up, so that the last round does not end before the time is over.
        let rounded = left.saturating_add(Duration::from_millis(u64::from(!left.is_zero())));
        let timeout = PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX);
        // An interrupted or failed poll only means that we look again.
        let ended = poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout).is_ok_and(|ready| ready > 0);
        if ended || left.is_zero() {
            return;
        }
    }
}

/// How a process ended, in words: `exited with code 3`, `was killed by signal 9 (SIGKILL)`.
pub fn describe_exit(exit: ExitStatus) -> String {
    match (exit.code(), exit.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("was killed by signal {signal} ({name})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, None) => exit.to_string(),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(signal).ok().map(nix::sys::signal::Signal::as_str)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn spawn(script: &str) -> Process {
        Process::new(Command::new("sh").args(["-c", script]).spawn().unwrap()).unwrap()
    }

    #[test]
    fn an_exit_is_seen_and_described() {
        let mut process = spawn("exit 3");
        let exit = process.wait(Duration::from_secs(20)).unwrap();
        assert_eq!(describe_exit(exit), "exited with code 3");
        assert_eq!(process.exit(), Some(exit));
    }

    #[test]
    fn a_kill_is_seen_and_described() {
        let mut process = spawn("exec sleep 1000");
        assert_eq!(process.wait(Duration::ZERO), None);
        assert_eq!(describe_exit(process.kill().unwrap()), "was killed by signal 9 (SIGKILL)");
    }

    #[test]
    fn a_process_that_somebody_else_reaped_is_left_alone() {
        let mut process = spawn("exec sleep 1000");
        let child = rustix::process::Pid::from_raw(process.id().try_into().unwrap());
        rustix::process::kill_process(child.unwrap(), Signal::KILL).unwrap();
        rustix::process::waitpid(child, rustix::process::WaitOptions::empty()).unwrap();
        assert_eq!((process.exit(), process.kill()), (None, None));
    }

    #[test]
    fn a_dropped_process_is_reaped() {
        let process = spawn("exec sleep 1000");
        let id = process.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
