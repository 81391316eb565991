//! Plugins in processes of their own.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rapace_core::socket::Socket;
use rapace_session::{CallOptions, Config, Handler, Handshake, PeerA, Process, Session};
use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;
use crate::contract::manners;

pub(crate) const ROLE: &str = "RAPACE_TEST_ROLE";
/// Arguments of the role, a line each.
pub(crate) const ARGUMENTS: &str = "RAPACE_TEST_ARGUMENTS";

/// This program in a role.
pub(crate) fn test_program(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "roles::role", "--nocapture"]);
    command.env(ROLE, role).env_remove(ARGUMENTS).env_remove("RAPACE_PROTOCOL").env_remove("RAPACE_ATTACH");
    command.stdin(Stdio::null());
    command
}

/// A plugin that was started by a host: this test.
pub(crate) struct Started {
    pub(crate) session: Session<PeerA>,
    pub(crate) stderr: BufReader<ChildStderr>,
    /// Another descriptor of the host's end of the socket.
    pub(crate) socket: OwnedFd,
}

impl Started {
    pub(crate) fn new(command: &mut Command, services: impl Handler) -> Self {
        let (socket, theirs) = Socket::pair().unwrap();
        command.env("RAPACE_PROTOCOL", "1").stdin(theirs.into_fd()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // It keeps the other end until then.
        command.stdin(Stdio::null());
        Self::with(socket, child, services)
    }

    pub(crate) fn with(socket: Socket, mut child: Child, services: impl Handler) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let copy = socket.as_fd().try_clone_to_owned().unwrap();
        let process = Process::new(child).unwrap();
        let handshake = Handshake::<PeerA>::offer(socket, Some(process), Config::new("host", "1")).unwrap();
        Self { session: handshake.finish(services).unwrap(), stderr, socket: copy }
    }

    /// Calls `initialize` with a configuration of a polite plugin.
    pub(crate) fn initialize(&self) {
        let configuration = serde_json::to_vec(&manners("Hello")).unwrap();
        self.session.call_lifecycle(2000, &configuration, &CallOptions::new()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.session.process_id().unwrap()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// The next line of its standard error.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Waits for its end; how it ended, and the rest of its standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let exit = self.session.reap(PATIENCE).unwrap();
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (exit, text)
    }
}
