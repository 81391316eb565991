//! What a plugin that is not trusted can do through the operating system: what its permissions say, and nothing else.
//!
//! No new privileges, no capabilities, Landlock and seccomp are properties of a thread, which whatever it starts inherits.
//! So a thread of its own puts itself under them, starts the program, and ends: no code runs between fork and exec, and
//! the host itself is never confined.
//!
//! ```text
//!   executable.rs    the file that is executed, and the interpreter that it names
//!   paths.rs         files, TCP, signals: Landlock
//!   syscalls.rs      system calls: seccomp
//!   calls.rs         which of them are refused, and why
//!   report.rs        which of it holds
//! ```
//!
//! What is not kept from it: names, sizes and times of files (`stat` works everywhere), and what the processor's caches tell.

use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use thiserror::Error;

mod calls;
mod executable;
mod paths;
mod report;
mod syscalls;

pub use report::{Mechanism, Protection, SandboxReport};

use crate::permissions::Permissions;
use crate::program::OpenProgram;
use executable::Executable;

/// The name of the thread.
const THREAD_NAME: &str = "rapace-confined";

/// Why a plugin that requires a sandbox has none, or not the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unconfined {
    /// Neither its manifest nor its host says what it may do: it is trusted.
    #[error("it has no permissions, and so may do everything")]
    Trusted,
    /// What it is does not go through the operating system's hands, such as a plugin that is built in.
    #[error("it is {0}, which cannot be confined")]
    Kind(String),
    /// The kernel lacks some of it.
    #[error("{0}")]
    Lacking(SandboxReport),
}

/// Why nothing was started.
#[derive(Debug)]
pub(crate) enum SpawnError {
    /// The sandbox is not whole, and that is required.
    Lacking(SandboxReport),
    /// No thread, or none that could be prepared.
    Thread(io::Error),
    /// The command could not be executed.
    Execute(io::Error),
}

/// Whether a sandbox has to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It does.
    Whole,
    /// As far as the kernel has it.
    BestEffort,
}

/// A command that executes a program which was verified, for [`spawn`].
///
/// A script is read by its interpreter behind the start, from a descriptor of its own. Where no thread may have its own table
/// of descriptors, as in some containers, it is started by its name: if that is another file by then, the sandbox does
/// not let it be executed or read, unless its directory is granted.
pub(crate) fn command(program: &OpenProgram) -> Command {
    if program.is_script() && !has_own_table() {
        program.command_by_name()
    } else {
        program.command_by_own_descriptor()
    }
}

/// Whether a thread may have its own table of descriptors.
fn has_own_table() -> bool {
    let tried = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(|| unshare(CloneFlags::CLONE_FILES).is_ok());
    tried.is_ok_and(|thread| thread.join().unwrap_or(false))
}

/// Starts a command under the sandbox of these permissions: for a program that was verified, the one of [`command`].
///
/// The command's descriptors are made beforehand: none that the thread would make for it (`Stdio::piped`) is the caller's.
pub(crate) fn spawn(
    command: &mut Command,
    program: Option<&OpenProgram>,
    permissions: &Permissions,
    demand: Demand,
) -> Result<(Child, SandboxReport), SpawnError> {
    let executable = program.map_or_else(|| Executable::of(command), |program| Executable::opened(program.file()));
    let confined = || {
        if let Some(script) = program.filter(|program| program.is_script()) {
            hand_over(script);
        }
        let report = confine(permissions, executable.as_ref());
        if demand == Demand::Whole && !report.is_complete() {
            return Err(SpawnError::Lacking(report));
        }
        let child = command.spawn().map_err(SpawnError::Execute)?;
        Ok((child, report))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn_scoped(scope, confined);
        let ended = thread.map_err(SpawnError::Thread)?.join();
        ended.unwrap_or_else(|_| Err(SpawnError::Thread(io::Error::other("it panicked"))))
    })
}

/// The interpreter of a verified script reads it by its descriptor, which so has to outlive the start of the interpreter. It
/// does in this thread's own table of descriptors alone: what others start meanwhile has none of it.
fn hand_over(script: &OpenProgram) {
    // Without it, the script is started by its name; or is not there for its interpreter, which tells.
    if unshare(CloneFlags::CLONE_FILES).is_ok() {
        let _ = fcntl_setfd(script.file().as_fd(), FdFlags::empty());
    }
}

/// Puts this thread, and whatever it starts, under the sandbox.
fn confine(permissions: &Permissions, executable: Option<&Executable>) -> SandboxReport {
    let mut report = SandboxReport::default();
    report.note(Mechanism::NoNewPrivileges, Protection::of(set_no_new_privs(true)));
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    report.note(Mechanism::Capabilities, Protection::of(set_capabilities(None, none)));
    paths::restrict(permissions, executable, &mut report);
    // Last: the filter may refuse what comes before.
    report.note(Mechanism::SystemCalls, filter(permissions));
    report
}

fn filter(permissions: &Permissions) -> Protection {
    match syscalls::filters(permissions) {
        Ok(filters) if filters.is_empty() => Protection::NotAsked,
        Ok(filters) => Protection::of(filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter))),
        Err(error) => Protection::NotActive(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Stdio;

    use super::*;
    use crate::program::Program;
    use crate::program::tests::Directory;

    /// What a script prints that has been swapped between its hash and its start, by this command for it.
    fn printed_by_swapped(command: impl FnOnce(&OpenProgram) -> Command) -> Result<String, SpawnError> {
        let directory = Directory::new();
        let path = directory.put("p", b"#!/bin/sh\necho verified\n");
        let opened = Program::verify(&path, None).unwrap().open().unwrap();
        std::fs::rename(directory.put("other", b"#!/bin/sh\necho swapped\n"), &path).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = command(&opened);
        command.stdin(Stdio::null()).stdout(writer);
        let spawned = spawn(&mut command, Some(&opened), &Permissions::default(), Demand::Whole);
        drop(command);
        let (mut child, report) = spawned?;
        assert!(report.is_complete(), "{report}");
        // In the host itself the descriptor is closed by whatever it starts.
        assert_eq!(rustix::io::fcntl_getfd(opened.file()).unwrap(), FdFlags::CLOEXEC);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        Ok(text)
    }

    #[test]
    fn a_confined_script_that_is_swapped_behind_its_hash_is_not_what_runs() {
        assert_eq!(printed_by_swapped(command).unwrap(), "verified\n");
        // By its name it is another file, of which the sandbox knows nothing.
        match printed_by_swapped(OpenProgram::command_by_name) {
            Err(SpawnError::Execute(error)) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
            other => panic!("{other:?}"),
        }
    }
}
