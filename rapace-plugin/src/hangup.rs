//! The end of a program that serves by itself, behind its host's.
//!
//! A thread that waits for the end of the session's socket alone. Of [`crate::guardian`] it is the least: such a program
//! may have signals and a shutdown of its own.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::attach::outcome;
use crate::guardian::kill;
use crate::host::HostHandle;

/// How long the program may go on.
const GRACE: Duration = Duration::from_millis(500);

/// Kills the process when its host is gone, unless it is dropped in time.
#[derive(Debug)]
pub(crate) struct HangUp {
    done: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl HangUp {
    /// Watches the session with this host, by a duplicate of its socket.
    pub(crate) fn watch(name: String, socket: OwnedFd, host: HostHandle) -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        let run = move || watch(&name, socket, &host, &reader);
        let thread = Builder::new().name("rapace-guardian".to_owned()).spawn(run)?;
        Ok(Self { done: Some(writer), thread: Some(thread) })
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        self.done = None;
        if let Some(thread) = self.thread.take() {
            // A panic is the runtime's to print.
            let _ = thread.join();
        }
    }
}

fn watch(name: &str, socket: OwnedFd, host: &HostHandle, done: &PipeReader) {
    // Of the socket nothing but the hang-up: bells are the session's own.
    if is_done(done, Some(&socket), None) {
        return;
    }
    drop(socket);
    // Looked at again behind the grace: who reads the host's last word may not have come to it yet.
    if !has_closed(host) && !is_done(done, None, Some(GRACE)) && !has_closed(host) {
        kill(name, GRACE);
    }
}

/// Whether the host has closed the session. It is still there then, and sees to the end itself.
fn has_closed(host: &HostHandle) -> bool {
    let end = host.session().and_then(|session| {
        // Reads what the host has left, if nobody else does.
        session.peer_state();
        session.end()
    });
    end.is_some_and(|end| outcome(end).is_ok())
}

/// Waits for the end of the watch, for that of a socket, or for so long; says whether it was the first.
fn is_done(done: &PipeReader, socket: Option<&OwnedFd>, time: Option<Duration>) -> bool {
    let timeout = time.and_then(|time| Timespec::try_from(time).ok());
    let mut fds = vec![PollFd::new(done, PollFlags::IN)];
    fds.extend(socket.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty())));
    while let Err(error) = poll(&mut fds, timeout.as_ref()) {
        if error != rustix::io::Errno::INTR {
            break;
        }
    }
    !fds[0].revents().is_empty()
}
