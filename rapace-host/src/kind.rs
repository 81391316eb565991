//! Kinds of plugins: what is at the other end of a session, and how it comes there.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command};
use std::sync::Arc;

use parking_lot::Mutex;
use rapace_core::socket::Socket;
use rapace_session::{Process, Status};

use crate::builder::Context;
use crate::limits::Enclosure;
use crate::program::{OpenProgram, Program};
use crate::sandbox::{self, Demand, SandboxReport, SpawnError};
use crate::scope::PluginScope;
use crate::spec::command;
use crate::start::StartCause;

/// A kind of plugin.
///
/// The host asks it for one end of a socket at whose other end a plugin shakes hands, once for each life; all else, the
/// session, its calls, its end, is the same for all kinds. Programs ([`PluginSpec::new`](crate::PluginSpec::new)) are one
/// kind, and built-in plugins another.
pub trait PluginKind: Send + Sync + 'static {
    /// What it is, for messages: a program's path, for example.
    fn describe(&self) -> String;

    /// Brings up another life of the plugin. It is called by a thread that may block, for no longer than
    /// the host's start timeout.
    ///
    /// # Errors
    ///
    /// When there is nothing that could shake hands.
    fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause>;

    /// Whether its lives are confined to the plugin's permissions: see [`Connection::sandbox`]. One that is not is refused where
    /// a sandbox is required.
    fn is_confined(&self) -> bool {
        false
    }

    /// What typed clients call directly, if the plugin is in this process: see [`AsCaller::built_in`](rapace_session::AsCaller::built_in).
    fn built_in(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// The life that was connected last takes no more calls, for this reason. Those that go by its session know of it.
    fn withdrawn(&self, reason: &Status) {
        let _ = reason;
    }
}

/// What one life of a plugin is started with.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct NewLife<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// Its arguments.
    pub args: &'a [OsString],
    /// The variables of its environment, beside those that all plugins have.
    pub env: &'a [(OsString, OsString)],
    /// Whose plugin it is.
    pub(crate) host: Option<&'a Context>,
    /// What it may do and use.
    pub scope: &'a PluginScope,
    /// Whether its sandbox has to be whole.
    pub(crate) demand: Demand,
}

impl fmt::Debug for NewLife<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewLife").field("plugin", &self.plugin).field("args", &self.args).finish_non_exhaustive()
    }
}

/// One life of a plugin, before the handshake.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The host's end.
    pub socket: Socket,
    /// The process, if it is the plugin's own: it is killed when it breaks a rule or does not end in time.
    pub process: Option<Process>,
    /// What it prints.
    pub output: Option<(ChildStdout, ChildStderr)>,
    /// The sandbox that it is in, if it is in one.
    pub sandbox: Option<SandboxReport>,
    /// What the process is held by.
    pub(crate) enclosure: Option<Arc<Enclosure>>,
    /// A person has started it, who may have it in a debugger.
    pub(crate) is_by_hand: bool,
}

impl Connection {
    /// Without a process of its own, and without output.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, process: None, output: None, sandbox: None, enclosure: None, is_by_hand: false }
    }
}

/// A program: each life is a process.
#[derive(Debug)]
pub(crate) struct ProgramKind(pub(crate) PathBuf);

impl PluginKind for ProgramKind {
    fn describe(&self) -> String {
        self.0.display().to_string()
    }

    fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause> {
        start(command(Command::new(&self.0), life), &self.0, None, life)
    }

    fn is_confined(&self) -> bool {
        true
    }
}

/// A program that was verified: each life is a process that executes it as it was read.
#[derive(Debug)]
pub(crate) struct VerifiedKind {
    program: Program,
    /// A script, which its interpreters may read as long as they run. All lives have the same.
    script: Mutex<Option<Arc<OpenProgram>>>,
}

impl VerifiedKind {
    pub(crate) fn new(program: Program) -> Self {
        Self { program, script: Mutex::default() }
    }

    /// The program, verified again; a script as it was kept.
    fn open(&self) -> Result<Arc<OpenProgram>, StartCause> {
        let opened = Arc::new(self.program.open().map_err(StartCause::of_verification)?);
        if !opened.is_script() {
            return Ok(opened);
        }
        let mut script = self.script.lock();
        match &*script {
            Some(kept) if kept.check_unchanged().is_ok() => Ok(Arc::clone(kept)),
            _ => Ok(Arc::clone(script.insert(opened))),
        }
    }
}

impl PluginKind for VerifiedKind {
    fn describe(&self) -> String {
        self.program.path().display().to_string()
    }

    fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause> {
        let opened = self.open()?;
        let is_confined = life.scope.permissions().is_some();
        let own = if is_confined { sandbox::command(&opened) } else { opened.command() };
        start(command(own, life), self.program.path(), Some(&opened), life)
    }

    fn is_confined(&self) -> bool {
        true
    }
}

/// Starts the process, with its end of the socket as standard input (SPEC E1), under its sandbox if it is not trusted.
fn start(
    mut command: Command,
    program: &Path,
    opened: Option<&OpenProgram>,
    life: &NewLife<'_>,
) -> Result<Connection, StartCause> {
    let (socket, theirs) = Socket::pair().map_err(StartCause::os("make a socket"))?;
    let pipe = || std::io::pipe().map_err(StartCause::os("make a pipe"));
    let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
    command.stdin(theirs.into_fd()).stdout(their_stdout).stderr(their_stderr);
    let enclosure = Enclosure::around(&mut command, life.scope, life.host.map(|host| &host.cgroups));
    let enclosure = Arc::new(enclosure.reaped_by(life.host.and_then(|host| host.attendance.handle())));
    let spawned = match life.scope.permissions() {
        Some(permissions) => {
            sandbox::spawn(&mut command, opened, permissions, life.demand).map(|(child, report)| (child, Some(report)))
        }
        None => command.spawn().map(|child| (child, None)).map_err(SpawnError::Execute),
    };
    // It holds a copy of their ends, which would hide the end of theirs.
    drop(command);
    let (mut child, sandbox) = spawned.map_err(|error| StartCause::of_spawn(error, program))?;
    opened.map_or(Ok(()), |opened| opened.check_started(&mut child)).map_err(StartCause::of_verification)?;
    let output = (ChildStdout::from(OwnedFd::from(stdout)), ChildStderr::from(OwnedFd::from(stderr)));
    let process = Process::new(child).map_err(StartCause::os("watch the process"))?;
    let process = Some(enclosure.close_behind(process));
    Ok(Connection { process, output: Some(output), sandbox, enclosure: Some(enclosure), ..Connection::new(socket) })
}
