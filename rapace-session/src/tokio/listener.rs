//! Waiting for peers to connect, in a tokio program.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rapace_core::socket::{Listener, Socket, SocketError};
use tokio::io::unix::AsyncFd;

use super::watch;

/// A listener that tasks wait on.
#[derive(Debug)]
pub struct AsyncListener {
    /// Dropped before the listener itself.
    ready: AsyncFd<OwnedFd>,
    listener: Listener,
}

impl AsyncListener {
    /// Takes a listener into the current runtime.
    ///
    /// # Errors
    ///
    /// When the socket cannot be registered.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    pub fn new(listener: Listener) -> io::Result<Self> {
        Ok(Self { ready: watch(listener.as_fd().try_clone_to_owned()?)?, listener })
    }

    /// Waits for a peer to connect. Dropped, it has taken none.
    ///
    /// # Errors
    ///
    /// When the operating system refuses, as it does where this process has too many open files: to try again at once
    /// may be in vain.
    pub async fn accept(&self) -> Result<Socket, SocketError> {
        loop {
            let failed = |error| SocketError::Os { operation: "wait for a connection", error };
            let mut ready = self.ready.readable().await.map_err(failed)?;
            match self.listener.accept(Instant::now()) {
                // Somebody else has taken it, or it has gone.
                Err(SocketError::DeadlinePassed) => ready.clear_ready(),
                accepted => return accepted,
            }
        }
    }

    /// Nobody finds it by its path from now on.
    pub fn withdraw(&self) {
        self.listener.withdraw();
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.listener.path()
    }
}
