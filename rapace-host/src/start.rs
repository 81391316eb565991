//! Why a plugin did not start.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rapace_registry::Version;
use rapace_session::{CallError, Fault, HandshakeError, RefusalReason, Status, describe_exit};
use thiserror::Error;

use crate::discovery::FileError;
use crate::ending::{beginning, write_tail};
use crate::program::ProgramError;
use crate::sandbox::{SpawnError, Unconfined};
use crate::spec::PluginSpec;

/// A plugin that did not start. Its process, if there was one, is gone.
#[non_exhaustive]
pub struct StartError {
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// Its program, or what else it is.
    pub program: String,
    /// What went wrong.
    pub cause: Box<StartCause>,
    /// How its process ended; none when there was none, or when it was killed because it did not start.
    pub exit: Option<ExitStatus>,
    /// The end of what it printed to standard error, at most 8 KiB.
    pub stderr: String,
}

/// What went wrong at the start of a plugin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartCause {
    /// The host has a plugin of this name.
    #[error("there is a plugin of this name")]
    NameTaken,
    /// The host has a plugin of this type of the contract.
    #[error("plugin {by} is the {of_type} of the contract {contract}")]
    ContractTaken {
        /// The contract.
        contract: String,
        /// The type of it.
        of_type: String,
        /// Who has it.
        by: String,
    },
    /// The contract is exclusive, and the host has a plugin of it.
    #[error("the contract {contract} is exclusive, and plugin {by} has it")]
    ContractExclusive {
        /// The contract.
        contract: String,
        /// Who has it.
        by: String,
    },
    /// It does not serve what it is said to.
    #[error("it is said to serve {service} {expected}, but {}", .found.map_or_else(|| "does not".to_owned(), |found| format!("serves {found}")))]
    NotProvided {
        /// The service.
        service: String,
        /// The version that was expected, or a later one that its callers understand.
        expected: Version,
        /// The version that it serves.
        found: Option<Version>,
    },
    /// The host does not serve what the plugin is said to need.
    #[error("it needs {service} {expected}, but the host {}", .found.map_or_else(|| "does not serve it".to_owned(), |found| format!("serves {found}")))]
    NotOffered {
        /// The service.
        service: String,
        /// The version that is needed, or a later one that its callers understand.
        expected: Version,
        /// The version that the host serves.
        found: Option<Version>,
    },
    /// The host shuts down.
    #[error("the host shuts down")]
    HostShutDown,
    /// The host has forgotten the plugin.
    #[error("it has been unloaded")]
    Unloaded,
    /// It was started beside the plugin, and cannot take its place any more.
    #[error("there is no place for it: {0}")]
    NoPlace(&'static str),
    /// There is no such program.
    #[error("there is no such program")]
    NotFound,
    /// The program is there, but what its first line names is not.
    #[error("the interpreter that it names is not there")]
    NoInterpreter,
    /// What is there is no program, or not one that this user may run.
    #[error("it cannot be executed: {0}")]
    NotExecutable(io::Error),
    /// It is not the program that was verified, or no longer one to be trusted.
    #[error("it is not executed: {0}")]
    NotVerified(ProgramError),
    /// It was written to in place between its hash and its start. What had started was killed.
    #[error("it was written to while it was started, and is killed")]
    WrittenTo,
    /// Its sandbox is required, and is not whole. It has not been started.
    #[error("it would not be confined as is required: {0}")]
    NotSandboxed(Unconfined),
    /// It may use nothing of what each process needs. It has not been started.
    #[error("its limit {0} is 0, which no plugin can run with")]
    NothingAllowed(&'static str),
    /// The operating system refused something else.
    #[error("cannot {operation}: {error}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// It printed something and did not shake hands: another kind of program.
    #[error("not a rapace plugin: it printed `{printed}` to stdout and {}", .exit.map_or_else(|| "never said hello".to_owned(), describe_exit))]
    NotAPlugin {
        /// The first line of the end of its standard output, or its beginning.
        printed: String,
        /// How it ended, if it did.
        exit: Option<ExitStatus>,
    },
    /// Its process ended before the handshake was complete.
    #[error("it {} before the handshake was complete", describe_exit(*.exit))]
    Exited {
        /// How.
        exit: ExitStatus,
    },
    /// It closed its socket, or standard input, and either went on or took longer than a moment to end.
    #[error("it closed its socket before the handshake was complete, and had not ended a moment later")]
    HungUp,
    /// It runs, but does not do its part of the handshake.
    #[error("no {due} from it within {waited:?}")]
    Silent {
        /// What was due.
        due: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It speaks another version of the protocol.
    #[error("it speaks another version of the protocol: {0}")]
    OtherVersion(String),
    /// One side refuses the other for another reason.
    #[error("no session was agreed on: {0}")]
    Refused(Status),
    /// It broke a rule of the protocol.
    #[error("it broke a rule of the protocol in the handshake: {0}")]
    Fault(Fault),
    /// The handshake failed for a reason of the host's own.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// It did not answer `initialize`, or with an error.
    #[error("initialize failed: {0}")]
    Initialize(CallError),
}

impl StartError {
    /// Before there is a process.
    pub(crate) fn new(spec: &PluginSpec, cause: StartCause) -> Self {
        let (plugin, program) = (Arc::clone(&spec.name), spec.kind.describe());
        Self { plugin, program, cause: Box::new(cause), exit: None, stderr: String::new() }
    }
}

/// As it is displayed: so a `main` that returns it prints what its reader is to mend.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin {} ({}) did not start: {}", self.plugin, self.program, self.cause)?;
        write_tail(f, &self.stderr)
    }
}

impl std::error::Error for StartError {}

impl StartCause {
    pub(crate) fn os(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Os { operation, error }
    }

    /// Why a program that was verified is not executed.
    pub(crate) fn of_verification(error: ProgramError) -> Self {
        match error {
            ProgramError::File(FileError::NotThere) => Self::NotFound,
            ProgramError::WrittenTo => Self::WrittenTo,
            error => Self::NotVerified(error),
        }
    }

    /// Why the program could not be executed.
    pub(crate) fn of_spawn(error: SpawnError, program: &Path) -> Self {
        let error = match error {
            SpawnError::Lacking(report) => return Self::NotSandboxed(Unconfined::Lacking(report)),
            SpawnError::Thread(error) => return Self::Os { operation: "confine it", error },
            SpawnError::Execute(error) => error,
        };
        match error.kind() {
            // A bare name is looked for in PATH, not here.
            io::ErrorKind::NotFound if program.components().count() > 1 && program.exists() => Self::NoInterpreter,
            io::ErrorKind::NotFound => Self::NotFound,
            // It has no name among the stable kinds.
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => Self::NotExecutable(error),
            io::ErrorKind::PermissionDenied => Self::NotExecutable(error),
            _ => Self::Os { operation: "start the program", error },
        }
    }

    /// Why there is no session with a process that has printed this.
    pub(crate) fn of_handshake(error: HandshakeError, stdout: &str) -> Self {
        match error {
            HandshakeError::PeerGone(exit) if !stdout.is_empty() => Self::NotAPlugin { printed: excerpt(stdout), exit },
            HandshakeError::TimedOut { .. } if !stdout.is_empty() => {
                Self::NotAPlugin { printed: excerpt(stdout), exit: None }
            }
            HandshakeError::PeerGone(Some(exit)) => Self::Exited { exit },
            HandshakeError::PeerGone(None) => Self::HungUp,
            HandshakeError::TimedOut { due, waited } => Self::Silent { due, waited },
            HandshakeError::RefusedByPeer(status) | HandshakeError::Refused(status) => Self::of_refusal(status),
            HandshakeError::Fault(fault) => Self::Fault(fault),
            other => Self::Handshake(other),
        }
    }

    fn of_refusal(status: Status) -> Self {
        match RefusalReason::of(&status) {
            Some(RefusalReason::Version) => Self::OtherVersion(status.message),
            _ => Self::Refused(status),
        }
    }
}

/// Characters of a program's output that a message shows.
const EXCERPT_CHARS: usize = 80;

/// The first line, whatever is in it.
pub(crate) fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    beginning(line, EXCERPT_CHARS).chars().flat_map(char::escape_debug).collect()
}
