//! Where peers meet that did not start each other: a listening socket in the file system (SPEC E4).

use std::fs::symlink_metadata;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, fchmod};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with};

use super::guard::Guard;
use super::{Socket, SocketError, os, until};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// A listening socket, whose path is removed with it.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    /// Device and inode, so that only our own socket is ever removed.
    file: (u64, u64),
}

impl Listener {
    /// Listens at `path`, for the same user alone. The socket of a listener that has died is replaced.
    ///
    /// Of several that replace the same dead one at the same moment, the last has the path.
    ///
    /// # Errors
    ///
    /// When somebody listens there, or there is something that is not a socket.
    pub fn bind(path: impl Into<PathBuf>) -> Result<Self, SocketError> {
        let path = path.into();
        let address = address(&path)?;
        let fd = socket()?;
        // What is accepted inherits it, so that a peer has no moment before.
        Guard::inherit(&fd);
        // The kernel gives the file the mode of the socket, so there is no moment at which others may connect.
        fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(os("set the mode of the socket"))?;
        match bind(&fd, &address) {
            Err(Errno::ADDRINUSE) => {
                remove_stale(&path)?;
                bind(&fd, &address)
            }
            other => other,
        }
        .map_err(os("bind the socket"))?;
        let file = file(&path)?;
        let listener = Self { fd, path, file };
        listen(&listener.fd, BACKLOG).map_err(os("listen"))?;
        Ok(listener)
    }

    /// Waits for a peer to connect.
    ///
    /// # Errors
    ///
    /// When the deadline passes, or the operating system refuses.
    pub fn accept(&self, deadline: Instant) -> Result<Socket, SocketError> {
        let fd = until(self.fd.as_fd(), deadline, || accept_with(&self.fd, SocketFlags::CLOEXEC))?
            .map_err(os("accept a connection"))?;
        Ok(Socket { guard: Guard::of(&fd).map_err(os("guard the connection"))?, fd })
    }

    /// Nobody finds it by its path from now on.
    pub fn withdraw(&self) {
        if file(&self.path).is_ok_and(|file| file == self.file) {
            // Nobody is there to be told, and the next listener replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Where this listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Connects to the listener at `path`.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, SocketError> {
    let (address, fd) = (address(path)?, socket()?);
    retry_on_intr(|| rustix::net::connect(&fd, &address)).map_err(os("connect"))?;
    Ok(fd)
}

/// Removes the socket at `path` if nobody listens there.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let found = symlink_metadata(path).map_err(os("look at what is at the path"))?;
    if !found.file_type().is_socket() {
        return Err(SocketError::PathNotASocket { path: path.to_owned() });
    }
    let (address, probe) = (address(path)?, socket()?);
    match retry_on_intr(|| rustix::net::connect(&probe, &address)) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(os("remove the socket of a dead listener")),
        // Also a listener whose queue is full, or of another kind of socket.
        _ => Err(SocketError::PathInUse { path: path.to_owned() }),
    }
}

fn address(path: &Path) -> Result<SocketAddrUnix, SocketError> {
    SocketAddrUnix::new(path).map_err(os("use the path"))
}

/// It does not block when it connects to a full queue, or accepts a connection that has gone.
fn socket() -> Result<OwnedFd, SocketError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(os("make a socket"))
}

fn file(path: &Path) -> Result<(u64, u64), SocketError> {
    let found = symlink_metadata(path).map_err(os("look at the socket"))?;
    Ok((found.dev(), found.ino()))
}
