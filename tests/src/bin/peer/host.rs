//! A host that has a plugin of its own, so that a test can kill it and see what becomes of the plugin.

use std::process::{Command, ExitCode, Stdio};

use rapace_core::socket::Socket;
use rapace_session::{Config, Handshake, NoService, PeerA, Process};

use crate::Failure;

/// Starts a plugin, prints its process id, and serves it. The plugin has the same standard output.
pub(crate) fn serve() -> Result<ExitCode, Failure> {
    let (ours, theirs) = Socket::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    let child = command.arg("serve").env("RAPACE_PROTOCOL", "1").stdin(Stdio::from(theirs.into_fd())).spawn()?;
    drop(command);
    let process = Process::new(child)?;
    let id = process.id();
    let session = Handshake::<PeerA>::offer(ours, Some(process), Config::new("host", "1"))?.finish(NoService)?;
    println!("{id}");
    session.serve();
    Ok(ExitCode::FAILURE)
}
