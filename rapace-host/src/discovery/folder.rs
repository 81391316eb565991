//! A directory of plugins, and its files: opened so that no link leads out of it, and refused where somebody else could
//! have written.
//!
//! A file is opened without reading or running anything (`O_PATH`), looked at by that descriptor, and only then opened for
//! reading, by the same descriptor. So a FIFO blocks nobody, a device is not touched, and no path is followed twice.

use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::{Errno, retry_on_intr};
use thiserror::Error;

use crate::escaped::escaped;

/// Whoever may write to it could write something else.
const WORLD_WRITABLE: u32 = 0o002;
/// In a directory with this bit, only the owner of a file may replace it.
const STICKY: u32 = 0o1000;
const ANY_EXECUTE: u32 = 0o111;
/// More than a step of the clock of a file system that counts ticks of the kernel, and of one that counts seconds.
const STEP_OF_TICKS: Duration = Duration::from_millis(50);
const STEP_OF_SECONDS: Duration = Duration::from_secs(2);

/// Why a file or a directory is not trusted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is nothing.
    #[error("there is no such file")]
    NotThere,
    /// A symbolic link, or a loop of them, that does not end within the directory.
    #[error(
        "a symbolic link leads out of the directory {}: it may only lead to what is in it, by a relative path",
        escaped(&.directory.display().to_string())
    )]
    LeavesDirectory {
        /// Where it would have to stay.
        directory: PathBuf,
    },
    /// Links that lead to one another, or too many of them.
    #[error("too many symbolic links, one behind the other")]
    Loop,
    /// Something that is no file, or no directory.
    #[error("it is {found}, expected {expected}")]
    Kind {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Anybody may write to it.
    #[error("anybody may write to it: its mode is {mode:04o}, expected none with 0002")]
    WorldWritable {
        /// Its permission bits.
        mode: u32,
    },
    /// Anybody may replace what is in the directory.
    #[error("anybody may replace what is in it: its mode is {mode:04o}, expected none with 0002, or one with 1000 too")]
    WorldWritableDirectory {
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("it belongs to user {found}, expected 0 or {user}, whom the host runs as")]
    Owner {
        /// Its owner.
        found: u32,
        /// The host's user.
        user: u32,
    },
    /// Nobody may execute it.
    #[error("it is not executable: its mode is {mode:04o}, expected one with 0111")]
    NotExecutable {
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than is ever read.
    #[error("it has {found} bytes, expected at most {most}")]
    TooLarge {
        /// How large it is.
        found: u64,
        /// How large it may be.
        most: u64,
    },
    /// It is no text.
    #[error("it is no UTF-8: byte {at} is the first that is wrong")]
    NotText {
        /// The offset of that byte.
        at: usize,
    },
    /// The operating system refused something else.
    #[error("cannot {operation}: {error}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        error: io::Error,
    },
}

impl FileError {
    fn os(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Os { operation, error }
    }

    fn of_open(errno: Errno, directory: &Path) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotThere,
            Errno::XDEV => Self::LeavesDirectory { directory: directory.to_owned() },
            Errno::LOOP => Self::Loop,
            errno => Self::Os { operation: "open it", error: errno.into() },
        }
    }
}

/// What tells a file from another, and from itself before it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The file, whatever is in it.
    pub(crate) fn identity(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether a further change would be seen in its time.
    pub(crate) fn is_settled(self) -> bool {
        let age = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|now| {
            let changed = Duration::new(u64::try_from(self.changed.0).ok()?, u32::try_from(self.changed.1).ok()?);
            now.checked_sub(changed)
        });
        let step = if self.changed.1 == 0 { STEP_OF_SECONDS } else { STEP_OF_TICKS };
        age.is_some_and(|age| age > step)
    }
}

/// A directory that was opened and may be trusted.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: File,
    path: PathBuf,
    user: u32,
}

impl Folder {
    /// Opens a directory that a user has named: links in its path are the user's will.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry_on_intr(|| open(path, flags, Mode::empty())).map_err(|errno| match errno {
            Errno::NOTDIR if path.exists() => FileError::Kind { found: "no directory", expected: "a directory" },
            errno => FileError::of_open(errno, path),
        })?;
        let folder =
            Self { directory: directory.into(), path: path.to_owned(), user: rustix::process::geteuid().as_raw() };
        let metadata = folder.directory.metadata().map_err(FileError::os("look at it"))?;
        check_directory(&metadata, folder.user)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of what is in it.
    pub(crate) fn at(&self, relative: &Path) -> PathBuf {
        // Joined to nothing, it would end with a slash.
        if relative.as_os_str().is_empty() { self.path.clone() } else { self.path.join(relative) }
    }

    /// Finds what is there, following links that stay in this directory. Nothing of it is read.
    pub(crate) fn find(&self, relative: &Path) -> Result<Entry, FileError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = retry_on_intr(|| openat2(&self.directory, relative, flags, Mode::empty(), resolve));
        let file = match opened {
            Ok(file) => file.into(),
            // The kernel has no such call, a filter of system calls does not know it, or something was renamed meanwhile.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.find_by_real_path(relative)?,
            Err(errno) => return Err(FileError::of_open(errno, &self.path)),
        };
        let metadata = file.metadata().map_err(FileError::os("look at it"))?;
        Ok(Entry { file, metadata, user: self.user })
    }

    /// The same where the kernel does not keep a path beneath a directory: what was opened says where it is.
    fn find_by_real_path(&self, relative: &Path) -> Result<File, FileError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| openat(&self.directory, relative, flags, Mode::empty()));
        let file = File::from(opened.map_err(|errno| FileError::of_open(errno, &self.path))?);
        if !real_path(&file)?.starts_with(real_path(&self.directory)?) {
            return Err(FileError::LeavesDirectory { directory: self.path.clone() });
        }
        Ok(file)
    }
}

/// Something in a folder, opened but not for reading.
#[derive(Debug)]
pub(crate) struct Entry {
    file: File,
    metadata: Metadata,
    user: u32,
}

impl Entry {
    pub(crate) fn is_directory(&self) -> bool {
        self.metadata.is_dir()
    }

    /// Whether somebody may execute it, as a file.
    pub(crate) fn is_program(&self) -> bool {
        self.metadata.is_file() && self.metadata.mode() & ANY_EXECUTE != 0
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::of(&self.metadata)
    }

    /// Where it really is.
    pub(crate) fn real_path(&self) -> Result<PathBuf, FileError> {
        real_path(&self.file)
    }

    /// Lists a directory that may be trusted.
    pub(crate) fn list(&self) -> Result<Dir, FileError> {
        check_directory(&self.metadata, self.user)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| openat(&self.file, ".", flags, Mode::empty()));
        opened.and_then(Dir::new).map_err(|errno| FileError::os("list it")(errno.into()))
    }

    /// Opens a program that may be trusted, for reading.
    pub(crate) fn open_program(&self, bytes_max: u64) -> Result<File, FileError> {
        self.check_file()?;
        let mode = self.metadata.mode();
        if mode & ANY_EXECUTE == 0 {
            return Err(FileError::NotExecutable { mode: mode & 0o7777 });
        }
        self.open(bytes_max)
    }

    /// Opens a file that may be trusted, for reading.
    pub(crate) fn open_text(&self, bytes_max: u64) -> Result<File, FileError> {
        self.check_file()?;
        self.open(bytes_max)
    }

    fn check_file(&self) -> Result<(), FileError> {
        if !self.metadata.is_file() {
            return Err(FileError::Kind { found: in_words(self.metadata.file_type()), expected: "a regular file" });
        }
        check_owner(&self.metadata, self.user)?;
        match self.metadata.mode() {
            mode if mode & WORLD_WRITABLE != 0 => Err(FileError::WorldWritable { mode: mode & 0o7777 }),
            _ => Ok(()),
        }
    }

    fn open(&self, bytes_max: u64) -> Result<File, FileError> {
        let found = self.metadata.size();
        if found > bytes_max {
            return Err(FileError::TooLarge { found, most: bytes_max });
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| openat(CWD, descriptor_path(&self.file), flags, Mode::empty()));
        opened.map(File::from).map_err(|errno| FileError::os("read it")(errno.into()))
    }
}

/// The path by which this process opens what the descriptor is of.
pub(crate) fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Where an open file is now.
pub(crate) fn real_path(file: &File) -> Result<PathBuf, FileError> {
    std::fs::read_link(descriptor_path(file)).map_err(FileError::os("find its path"))
}

fn check_directory(metadata: &Metadata, user: u32) -> Result<(), FileError> {
    check_owner(metadata, user)?;
    match metadata.mode() {
        mode if mode & WORLD_WRITABLE != 0 && mode & STICKY == 0 => {
            Err(FileError::WorldWritableDirectory { mode: mode & 0o7777 })
        }
        _ => Ok(()),
    }
}

/// Root could change everything anyway.
fn check_owner(metadata: &Metadata, user: u32) -> Result<(), FileError> {
    match metadata.uid() {
        found if found != 0 && found != user => Err(FileError::Owner { found, user }),
        _ => Ok(()),
    }
}

fn in_words(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_block_device() => "a block device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_a_folder_is_refused_by_old_kernels_too() {
        let path = std::env::temp_dir().join(format!("rapace-folder-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let link = |name: &str, target: &str| std::os::unix::fs::symlink(target, path.join(name)).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        link("inside", "./file");
        link("outside", "/proc/version");
        link("above", "..");
        link("loop", "loop");
        let folder = Folder::open(&path).unwrap();
        let find = |name: &str| {
            let old = folder.find_by_real_path(Path::new(name)).map(|file| Stamp::of(&file.metadata().unwrap()));
            let new = folder.find(Path::new(name)).map(|entry| entry.stamp());
            let [old, new] = [old, new].map(|found| found.map_err(|error| error.to_string()));
            assert_eq!(old, new, "{name}");
            new
        };
        assert_eq!(find("inside").unwrap(), find("file").unwrap());
        for name in ["outside", "above"] {
            assert!(find(name).unwrap_err().starts_with("a symbolic link leads out of the directory"));
        }
        assert_eq!(find("loop").unwrap_err(), "too many symbolic links, one behind the other");
        assert_eq!(find("none").unwrap_err(), "there is no such file");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
