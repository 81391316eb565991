//! The directory of a socket at which others connect: whoever may write to it could put another socket in the place of that one.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Mode bits of a directory to which others than its owner may write.
const OTHERS_WRITE: u32 = 0o022;
/// The mode bit of a directory in which nobody may replace what is another's.
const STICKY: u32 = 0o1000;

/// Why no socket is made in a directory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketDirectoryError {
    /// It is not there, and cannot be made.
    #[error("{}: {error}", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Others could put another socket in the place of the host's.
    #[error("{}: {problem}", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Makes the directory if it is not there, for this user alone; refuses one in which others could replace a socket.
pub(crate) fn prepare(path: &Path) -> Result<(), SocketDirectoryError> {
    let failed = |error| SocketDirectoryError::Missing { path: path.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = std::fs::metadata(path).map_err(failed)?;
    let unsafe_ = |problem| Err(SocketDirectoryError::Unsafe { path: path.to_owned(), problem });
    let user = rustix::process::geteuid().as_raw();
    if ![user, 0].contains(&found.uid()) {
        return unsafe_(format!("belongs to user {}, expected {user} or root", found.uid()));
    }
    match found.mode() {
        mode if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 => {
            unsafe_(format!("others may write to it (mode {:o})", mode & 0o7777))
        }
        _ => Ok(()),
    }
}

/// The same for the directory of this socket.
pub(crate) fn prepare_for(socket: &Path) -> Result<(), SocketDirectoryError> {
    match socket.parent() {
        Some(parent) if parent != Path::new("") => prepare(parent),
        _ => prepare(Path::new(".")),
    }
}
