//! A program is asked what it is: run as `PROGRAM capabilities`, with nothing of the host's but a few variables, in a sandbox
//! in which it may read what is in its own directory but not write anything, nor use the network. It is held to bounds of
//! time, output and all that the operating system limits, and killed with all that it has started when it has answered or
//! has not.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rapace_session::describe_exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use thiserror::Error;

use crate::discovery::capabilities::{Capabilities, CapabilitiesFault};
use crate::limits::{Cgroups, Enclosure};
use crate::permissions::{Permissions, PluginLimits, SyscallProfile};
use crate::program::{OpenProgram, ProgramError};
use crate::sandbox::{self, Demand, SpawnError};
use crate::scope::PluginScope;
use crate::spec::in_plugins_environment;
use crate::start::excerpt;

/// What a program may print to standard output: 64 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Of what it prints to standard error, so much is kept.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;
/// What it may use of memory: 256 MiB. An interpreter needs some of it.
const MEMORY_BYTES: u64 = 256 << 20;
/// Seconds of a processor's time of each of its processes. Of all together it is the host's patience that is limited.
const CPU_SECONDS: u64 = 5;
/// Open files of each of its processes.
const OPEN_FILES: u64 = 64;
/// Its processes and threads.
const PROCESSES: u64 = 32;
/// The same where the kernel counts those of the user: his other programs start some too, meanwhile.
const PROCESSES_OF_USER: u64 = 256;
/// Reads at once.
const READ_BYTES: usize = 8 << 10;

/// Why a program is not known by its own words.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// It could not be executed.
    #[error("`capabilities` could not be asked of it: {0}")]
    Start(#[source] io::Error),
    /// It is being written to: the kernel does not execute such a file.
    #[error("it is being written to")]
    BeingWritten,
    /// It was written to in place behind its hash.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its output could not be read.
    #[error("what it prints could not be read: {0}")]
    Read(#[source] io::Error),
    /// It took too long.
    #[error("asked for `capabilities`, it had not ended within {waited:?}; it printed {printed}")]
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// The beginning of what it printed.
        printed: String,
    },
    /// It printed too much.
    #[error("asked for `capabilities`, it printed more than {most} bytes: {printed}")]
    TooMuch {
        /// How much it may print.
        most: usize,
        /// The beginning of it.
        printed: String,
    },
    /// Nobody wants to know any more: the watcher was dropped.
    #[error("it was asked for `capabilities`, but nobody waits for them any more")]
    Stopped,
    /// It ended, but not with exit code 0.
    #[error("asked for `capabilities`, it {}, expected exit code 0; it printed {printed}", describe_exit(*.exit))]
    Failed {
        /// How it ended.
        exit: ExitStatus,
        /// The beginning of what it printed.
        printed: String,
    },
    /// What it printed is not what was asked for.
    #[error("its `capabilities` are wrong: {fault}; it printed {printed}")]
    Wrong {
        /// What is wrong.
        fault: CapabilitiesFault,
        /// The beginning of what it printed.
        printed: String,
    },
}

impl AskError {
    /// Whether the same program may answer another time.
    pub(crate) fn is_passing(&self) -> bool {
        !matches!(self, Self::TooMuch { .. } | Self::Failed { .. } | Self::Wrong { .. })
    }
}

/// Asks a program what it is, until the other end of the pipe is closed.
pub(crate) fn ask(
    program: &OpenProgram,
    cgroups: &Cgroups,
    patience: Duration,
    stop: Option<&PipeReader>,
) -> Result<Capabilities, AskError> {
    let deadline = Instant::now() + patience;
    let mut command = sandbox::command(program);
    in_plugins_environment(&mut command).arg("capabilities").process_group(0);
    let pipe = || io::pipe().map_err(AskError::Start);
    let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
    command.stdin(Stdio::null()).stdout(their_stdout).stderr(their_stderr);
    let (enclosure, permissions) = (enclosure(&mut command, program, cgroups), permissions(program));
    let spawned = sandbox::spawn(&mut command, Some(program), &permissions, Demand::BestEffort);
    // It holds a copy of their ends, which would hide the end of theirs.
    drop(command);
    let (child, _) = spawned.map_err(|error| match error {
        SpawnError::Execute(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => AskError::BeingWritten,
        SpawnError::Execute(error) | SpawnError::Thread(error) => AskError::Start(error),
        SpawnError::Lacking(report) => AskError::Start(io::Error::other(report.to_string())),
    })?;
    let mut run = Run::new(child, enclosure, stdout.into(), stderr.into())?;
    program.check_unchanged()?;
    let in_time = run.read_until(deadline, stop)?;
    let (exit, printed) = (run.end(), run.printed());
    if run.answer.len() > ANSWER_BYTES_MAX {
        return Err(AskError::TooMuch { most: ANSWER_BYTES_MAX, printed });
    }
    match exit.map_err(AskError::Read)? {
        _ if !in_time => Err(AskError::TimedOut { waited: patience, printed }),
        exit if !exit.success() => Err(AskError::Failed { exit, printed }),
        _ => Capabilities::parse(&run.answer).map_err(|fault| AskError::Wrong { fault, printed }),
    }
}

/// Before anything is known of it, it may look at what came with it, and tell its host.
fn permissions(program: &OpenProgram) -> Permissions {
    let read = program.real_path().parent().map(Path::to_owned).into_iter().collect();
    Permissions { read, syscalls: SyscallProfile::Strict, ..Permissions::default() }
}

/// What it is held by.
fn enclosure(command: &mut Command, program: &OpenProgram, cgroups: &Cgroups) -> Enclosure {
    let limits = PluginLimits {
        memory_bytes: Some(MEMORY_BYTES),
        cpu_seconds: Some(CPU_SECONDS),
        open_files: Some(OPEN_FILES),
        processes: Some(if cgroups.count_processes() { PROCESSES } else { PROCESSES_OF_USER }),
        ..PluginLimits::default()
    };
    let name = program.real_path().file_name().unwrap_or_default().to_string_lossy();
    Enclosure::around(command, &PluginScope::new(&*name).with_limits(limits), Some(cgroups))
}

/// A process that was asked. Dropped, it is killed with all that it has started, and reaped.
struct Run {
    child: Child,
    enclosure: Enclosure,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    answer: Vec<u8>,
    complaint: Vec<u8>,
    has_ended: bool,
}

impl Run {
    fn new(child: Child, enclosure: Enclosure, stdout: OwnedFd, stderr: OwnedFd) -> Result<Self, AskError> {
        let ((answer, complaint), (stdout, stderr)) = (Default::default(), (Some(stdout), Some(stderr)));
        let run = Self { child, enclosure, stdout, stderr, answer, complaint, has_ended: false };
        for pipe in [&run.stdout, &run.stderr].into_iter().flatten() {
            ioctl_fionbio(pipe, true).map_err(|errno| AskError::Read(errno.into()))?;
        }
        Ok(run)
    }

    /// Reads what it prints until it ends, prints too much, or its time is over; says whether it was in time.
    fn read_until(&mut self, deadline: Instant, stop: Option<&PipeReader>) -> Result<bool, AskError> {
        let failed = |errno: Errno| AskError::Read(errno.into());
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).map_err(failed)?;
        let (mut stdout, mut stderr) = (self.stdout.take(), self.stderr.take());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let fds = [Some(pidfd.as_fd()), stop.map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd)];
            let fds = fds.into_iter().chain([stderr.as_ref().map(AsFd::as_fd)]).flatten();
            let mut waited: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut waited, Timespec::try_from(left).ok().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
            if stop.is_some() && !waited[1].revents().is_empty() {
                return Err(AskError::Stopped);
            }
            // What it printed before it ended is there when its end is.
            let ended = !waited[0].revents().is_empty();
            if !drain(&mut stdout, &mut self.answer, ANSWER_BYTES_MAX + 1).map_err(failed)? {
                return Ok(true);
            }
            drain(&mut stderr, &mut self.complaint, COMPLAINT_BYTES_MAX).map_err(failed)?;
            if ended {
                return Ok(true);
            }
        }
    }

    /// Kills its group, and what has left that, and reaps it.
    fn end(&mut self) -> io::Result<ExitStatus> {
        // Until it is reaped, nothing else can have this number. An error means that nobody is left.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.has_ended = true;
        self.enclosure.end();
        self.child.wait()
    }

    /// The first line that it printed, in words.
    fn printed(&self) -> String {
        let line = |bytes: &[u8]| excerpt(String::from_utf8_lossy(bytes).trim_start());
        match (line(&self.answer), line(&self.complaint)) {
            (stdout, stderr) if stdout.is_empty() && stderr.is_empty() => "nothing".to_owned(),
            (stdout, stderr) if stderr.is_empty() => format!("`{stdout}`"),
            (stdout, stderr) if stdout.is_empty() => format!("`{stderr}` to stderr"),
            (stdout, stderr) => format!("`{stdout}`, and `{stderr}` to stderr"),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.end();
        }
    }
}

/// Reads what is there, keeps so much of it, and says whether there was room for all. At the end of the stream the pipe is
/// dropped.
fn drain(pipe: &mut Option<OwnedFd>, kept: &mut Vec<u8>, bytes_max: usize) -> rustix::io::Result<bool> {
    let mut buffer = [0; READ_BYTES];
    let Some(fd) = &*pipe else { return Ok(true) };
    // One that prints as fast as it is read does not keep the reader from its clock.
    for _ in 0..=ANSWER_BYTES_MAX / READ_BYTES {
        match read(fd, &mut buffer) {
            Ok(0) => {
                *pipe = None;
                break;
            }
            Ok(count) => {
                let room = bytes_max.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
                if kept.len() == bytes_max {
                    return Ok(false);
                }
            }
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}
