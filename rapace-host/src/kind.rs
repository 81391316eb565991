//! Kinds of plugins: what is at the other end of a session, and how it comes there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdout, Stdio};

use rapace_core::socket::Socket;
use rapace_session::Process;

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
}

/// What one life of a plugin is started with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NewLife<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// Its arguments.
    pub args: &'a [OsString],
    /// The variables of its environment, beside those that all plugins have.
    pub env: &'a [(OsString, OsString)],
}

/// One life of a plugin, before the handshake.
#[derive(Debug)]
pub struct Connection {
    /// The host's end.
    pub socket: Socket,
    /// The process, if it is the plugin's own: it is killed when it breaks a rule or does not end in time.
    pub process: Option<Process>,
    /// What it prints.
    pub output: Option<(ChildStdout, ChildStderr)>,
}

/// A program: each life is a process.
#[derive(Debug)]
pub(crate) struct ProgramKind(pub(crate) PathBuf);

impl PluginKind for ProgramKind {
    fn describe(&self) -> String {
        self.0.display().to_string()
    }

    /// Starts the process, with its end of the socket as standard input (SPEC E1).
    fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause> {
        let (socket, theirs) = Socket::pair().map_err(StartCause::os("make a socket"))?;
        let mut command = command(&self.0, life);
        command.stdin(theirs.into_fd()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = command.spawn();
        // It holds a copy of their end, which would hide the end of theirs.
        drop(command);
        let mut child = spawned.map_err(|error| StartCause::of_spawn(error, &self.0))?;
        let output = child.stdout.take().zip(child.stderr.take());
        let process = Process::new(child).map_err(StartCause::os("watch the process"))?;
        Ok(Connection { socket, process: Some(process), output })
    }
}
