//! The peer's process, where this side started it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rapace_core::socket::pidfd_open;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_send_signal, waitid,
};

/// A child process that is watched by a pidfd, and reaped when it is dropped. With it end all processes of the group that it
/// leads, if it leads one.
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    exit: Option<ExitStatus>,
    has_ended: bool,
    at_end: Option<Box<AtEnd>>,
}

type AtEnd = dyn FnOnce(Option<ExitStatus>) + Send + Sync;

impl Process {
    /// Watches a child.
    ///
    /// # Errors
    ///
    /// When the kernel gives no pidfd. The child is killed then.
    pub fn new(mut child: Child) -> io::Result<Self> {
        match pidfd_open(child.id()) {
            Ok(pidfd) => Ok(Self { child, pidfd, exit: None, has_ended: false, at_end: None }),
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

    /// Has this done at its end, once: by whoever is the first to see that it has ended, and before its id may be another's. It is
    /// told how the process ended, if anybody knows.
    #[must_use]
    pub fn at_end(mut self, act: impl FnOnce(Option<ExitStatus>) + Send + Sync + 'static) -> Self {
        self.at_end = Some(Box::new(act));
        self
    }

    /// By the pidfd, never by the number: that may be another process's once somebody else has reaped this one.
    fn collect(&mut self, options: WaitIdOptions) -> Option<ExitStatus> {
        if self.has_ended {
            return self.exit;
        }
        // First it is only looked at: until it is reaped, no other process and no other group has its id.
        match self.look(options | WaitIdOptions::NOWAIT) {
            Ok(None) => return None,
            Ok(Some(status)) => {
                self.exit = Some(exit_status(&status));
                // An error means that there are none.
                let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            }
            // Somebody else has reaped the child: it has ended, and nobody knows how.
            Err(_) => {}
        }
        self.has_ended = true;
        if let Some(act) = self.at_end.take() {
            act(self.exit);
        }
        // It is known how it ended.
        let _ = self.look(WaitIdOptions::NOHANG);
        self.exit
    }

    fn look(&self, options: WaitIdOptions) -> Result<Option<WaitIdStatus>, Errno> {
        retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | options))
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

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).field("exit", &self.exit).finish_non_exhaustive()
    }
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let core_dump = if status.dumped() { 0x80 } else { 0 };
    let code = status.exit_status().map(|code| code << 8);
    ExitStatus::from_raw(code.or(status.terminating_signal()).unwrap_or_default() | core_dump)
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
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

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

    #[test]
    fn what_a_leader_has_started_ends_with_it() {
        for end in ["exit 3", "kill -9 $$", "exec sleep 1000"] {
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("sleep 1000 & echo; {end}")])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .process_group(0);
            let mut child = command.spawn().unwrap();
            let mut stdout = child.stdout.take().unwrap();
            assert_eq!(stdout.read(&mut [0]).unwrap(), 1);
            let mut process = Process::new(child).unwrap();
            if end.starts_with("exec") {
                drop(process);
            } else {
                assert!(process.wait(Duration::from_secs(20)).is_some());
            }
            // It ends when the last process that has it is gone.
            let ended = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], 20_000_u16);
            assert_eq!(ended, Ok(1), "{end}");
        }
    }

    #[test]
    fn its_end_is_told_once_and_before_it_is_reaped() {
        let (sender, told) = mpsc::channel();
        let process = spawn("exec sleep 1000");
        let id = process.id();
        let is_there = move || std::path::Path::new(&format!("/proc/{id}")).exists();
        let mut process = process.at_end(move |exit| sender.send((exit, is_there())).unwrap());
        let exit = process.kill();
        assert_eq!((process.exit(), process.kill()), (exit, exit));
        drop(process);
        assert_eq!(told.iter().collect::<Vec<_>>(), [(exit, true)]);
        assert!(exit.is_some() && !is_there());
    }
}
