//! A plugin's program that was verified: what was hashed is what is executed.
//!
//! The file is opened once. Its owner, its mode and its hash are taken from that descriptor, and the kernel is told to execute
//! the descriptor and not the path: `/proc/self/fd/N`, where the child that is to become the plugin has a copy of
//! it until it does (it is close-on-exec). Whoever replaces the file meanwhile changes another file.
//!
//! A script (`#!`) is read by its interpreter, after the plugin's copy has been closed. It is given the host's own descriptor,
//! `/proc/PID/fd/N`, which any process of the same user can open, and which is a link to the script's real path. The host
//! keeps it open while the plugin runs. So a script is the one that was hashed too; in it, `$0` is that link. In a sandbox the
//! host's descriptors are out of reach: there a script is given a copy of its own (`sandbox.rs`).
//! In lists of processes, `argv` has the real path; the short name is the descriptor's number.
//!
//! What remains is a file that its owner writes to in place. The kernel refuses to execute a file that is open for writing
//! and to write to one that runs; what was written between the hash and the start is seen behind the start, by the time
//! of its last change and then by its hash, and the process is killed.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::discovery::folder::{Entry, FileError, Folder, Stamp, descriptor_path, real_path};

/// A program of more bytes than this is refused unread: 1 GiB.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;
/// So much of it is read at once.
const READ_BYTES: usize = 64 << 10;

/// A plugin's program that was verified, to be executed as long as it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    folder: PathBuf,
    relative: PathBuf,
    path: PathBuf,
    sha256: [u8; 32],
}

/// Why a program is not executed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The file is not trusted.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is another file than the one that was verified.
    #[error("its SHA-256 is {}, expected {}", hexadecimal(.found), hexadecimal(.expected))]
    HashDiffers {
        /// That of the file.
        found: [u8; 32],
        /// That of the manifest; without one, that of the file when it was found.
        expected: [u8; 32],
    },
    /// It was written to while it was read or started.
    #[error("it was written to between its hash and its start")]
    WrittenTo,
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
}

impl Program {
    /// Verifies a program that the user has named, and what may be asked of it: that it is a regular file which only
    /// its owner, or a group, may write to; that this is root or the host's user; and its hash, if it is known. The directory it is in must
    /// not be for anybody to write to, and a symbolic link may not leave it.
    ///
    /// # Errors
    ///
    /// Which of these is not so.
    pub fn verify(path: impl AsRef<Path>, sha256: Option<[u8; 32]>) -> Result<Self, ProgramError> {
        let path = path.as_ref();
        let name = path.file_name().ok_or(FileError::NotThere)?;
        // The parent of a bare name is the empty path.
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder).map_err(ProgramError::Read)?;
        let folder = Folder::open(&folder)?;
        let relative = Path::new(name);
        Ok(Self::verify_in(&folder, relative, &folder.find(relative)?, sha256, None)?.0)
    }

    /// Verifies a program that was found; its hash may be known since it was found before.
    pub(crate) fn verify_in(
        folder: &Folder,
        relative: &Path,
        found: &Entry,
        sha256: Option<[u8; 32]>,
        known: Option<[u8; 32]>,
    ) -> Result<(Self, OpenProgram), ProgramError> {
        let opened = OpenProgram::new(found, sha256, known)?;
        let path = folder.at(relative);
        let (folder, relative) = (folder.path().to_owned(), relative.to_owned());
        Ok((Self { folder, relative, path, sha256: opened.sha256 }, opened))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its SHA-256.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Opens it anew, and verifies that it is still the same.
    pub(crate) fn open(&self) -> Result<OpenProgram, ProgramError> {
        let found = Folder::open(&self.folder)?.find(&self.relative)?;
        OpenProgram::new(&found, Some(self.sha256), None)
    }
}

/// A program, open to be executed. A script has to be kept as long as its process runs.
#[derive(Debug)]
pub(crate) struct OpenProgram {
    file: File,
    stamp: Stamp,
    real_path: PathBuf,
    sha256: [u8; 32],
    is_script: bool,
}

impl OpenProgram {
    fn new(found: &Entry, expected: Option<[u8; 32]>, known: Option<[u8; 32]>) -> Result<Self, ProgramError> {
        let file = found.open_program(PROGRAM_BYTES_MAX)?;
        let stamp = Stamp::of(&file.metadata().map_err(ProgramError::Read)?);
        let known = known.filter(|_| stamp == found.stamp());
        let sha256 = known.map_or_else(|| hash(&file), Ok).map_err(ProgramError::Read)?;
        match expected {
            Some(expected) if expected != sha256 => return Err(ProgramError::HashDiffers { found: sha256, expected }),
            _ => {}
        }
        let is_script = is_script(&file).map_err(ProgramError::Read)?;
        let opened = Self { stamp, real_path: real_path(&file)?, file, sha256, is_script };
        opened.check_unchanged()?;
        Ok(opened)
    }

    /// A command that executes this very file, while this is kept.
    pub(crate) fn command(&self) -> Command {
        let path = descriptor_path(&self.file);
        if self.is_script {
            let own = Path::new("/proc").join(std::process::id().to_string());
            return Command::new(path.strip_prefix("/proc/self").map_or(path.clone(), |rest| own.join(rest)));
        }
        self.command_by_own_descriptor()
    }

    /// The same for what is started with a descriptor of its own.
    pub(crate) fn command_by_own_descriptor(&self) -> Command {
        let mut command = Command::new(descriptor_path(&self.file));
        command.arg0(&self.real_path);
        command
    }

    /// A command that executes what has its name by then.
    pub(crate) fn command_by_name(&self) -> Command {
        Command::new(&self.real_path)
    }

    /// Where the file was when it was opened.
    pub(crate) fn real_path(&self) -> &Path {
        &self.real_path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is a script, which its interpreter reads by way of this.
    pub(crate) fn is_script(&self) -> bool {
        self.is_script
    }

    /// Behind the start: if the file was written to meanwhile, the process is killed.
    pub(crate) fn check_started(&self, child: &mut Child) -> Result<(), ProgramError> {
        self.check_unchanged().inspect_err(|_| {
            // An error means that it has ended.
            let _ = child.kill();
            let _ = child.wait();
        })
    }

    /// What was hashed is what is in the file.
    pub(crate) fn check_unchanged(&self) -> Result<(), ProgramError> {
        let stamp = Stamp::of(&self.file.metadata().map_err(ProgramError::Read)?);
        // A file that was only renamed, or replaced, has another time too.
        if stamp == self.stamp || hash(&self.file).map_err(ProgramError::Read)? == self.sha256 {
            Ok(())
        } else {
            Err(ProgramError::WrittenTo)
        }
    }
}

fn hash(file: &File) -> io::Result<[u8; 32]> {
    let (mut hasher, mut offset, mut buffer) = (Sha256::new(), 0, vec![0; READ_BYTES]);
    while offset <= PROGRAM_BYTES_MAX {
        match read_at(file, &mut buffer, offset)? {
            [] => return Ok(hasher.finalize().into()),
            read => {
                hasher.update(read);
                offset += read.len() as u64;
            }
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}

fn is_script(file: &File) -> io::Result<bool> {
    Ok(read_at(file, &mut [0; 2], 0)? == b"#!")
}

fn read_at<'a>(file: &File, buffer: &'a mut [u8], offset: u64) -> io::Result<&'a [u8]> {
    let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, offset))?;
    Ok(&buffer[..read])
}

/// A hash as it is written.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Stdio, id};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory with programs, removed with them.
    pub(crate) struct Directory(PathBuf);

    impl Directory {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("rapace-program-{}-{number}", id()));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            Self(path.canonicalize().unwrap())
        }

        /// Written by another process: no child that a test has just forked keeps it open for writing.
        pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            let mut cat = Command::new("sh");
            let mut cat = cat.args(["-c", "cat > \"$0\""]).arg(&path).stdin(Stdio::piped()).spawn().unwrap();
            cat.stdin.take().unwrap().write_all(content).unwrap();
            assert!(cat.wait().unwrap().success());
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn printed(mut command: Command) -> String {
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The shell's own file is a program that says who it is.
    fn shell() -> Vec<u8> {
        fs::read(fs::canonicalize("/bin/sh").unwrap()).unwrap()
    }

    #[test]
    fn a_binary_that_is_swapped_behind_its_hash_is_not_what_runs() {
        let directory = Directory::new();
        let path = directory.put("p", &shell());
        let verified = Program::verify(&path, None).unwrap();
        let opened = verified.open().unwrap();
        // The swap: another program takes the name, between the check and the start.
        let other = directory.put("other", b"#!/bin/sh\necho swapped\n");
        fs::rename(other, &path).unwrap();
        let mut command = opened.command();
        command.args(["-c", "echo \"$0\"; readlink /proc/$$/exe"]);
        let expected = format!("{0}\n{0} (deleted)\n", path.display());
        assert_eq!(printed(command), expected);
        // What ran is what was hashed, so all is well.
        opened.check_unchanged().unwrap();
        let error = verified.open().unwrap_err();
        assert!(
            matches!(error, ProgramError::HashDiffers { expected, .. } if expected == *verified.sha256()),
            "{error}"
        );
    }

    #[test]
    fn a_script_that_is_swapped_behind_its_hash_is_not_what_runs() {
        let directory = Directory::new();
        let path = directory.put("p", b"#!/bin/sh\necho verified \"$@\"; readlink \"$0\"\n");
        let opened = Program::verify(&path, None).unwrap().open().unwrap();
        assert!(opened.is_script());
        let other = directory.put("other", b"#!/bin/sh\necho swapped\n");
        fs::rename(other, &path).unwrap();
        let mut command = opened.command();
        command.arg("x");
        assert_eq!(printed(command), format!("verified x\n{} (deleted)\n", path.display()));
        opened.check_unchanged().unwrap();
    }

    #[test]
    fn a_program_that_is_written_to_behind_its_hash_is_noticed() {
        let directory = Directory::new();
        let path = directory.put("p", b"#!/bin/sh\nread verified\n");
        let opened = Program::verify(&path, None).unwrap().open().unwrap();
        directory.put("p", b"#!/bin/sh\nread replaced\n");
        let mut child = opened.command().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(matches!(opened.check_started(&mut child), Err(ProgramError::WrittenTo)));
        assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
        directory.put("p", b"#!/bin/sh\nread verified\n");
        opened.check_unchanged().unwrap();
    }

    #[test]
    fn the_descriptor_of_a_program_is_not_given_to_it() {
        let directory = Directory::new();
        for content in [shell(), b"#!/bin/sh\neval \"$2\"\n".to_vec()] {
            let path = directory.put("p", &content);
            let opened = Program::verify(&path, None).unwrap().open().unwrap();
            let mut command = opened.command();
            // The shell itself may keep its script open.
            command.args(["-c", "for fd in /proc/$$/fd/*; do readlink $fd; done; true"]);
            let count = printed(command).lines().filter(|line| line.starts_with(directory.0.to_str().unwrap())).count();
            assert_eq!(count, usize::from(opened.is_script()));
        }
    }

    #[test]
    fn a_hash_is_that_of_the_whole_file() {
        let directory = Directory::new();
        let content: Vec<u8> = (0..READ_BYTES * 2 + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let program = Program::verify(directory.put("p", &content), None).unwrap();
        assert_eq!(program.sha256()[..], Sha256::digest(&content)[..]);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let program = Program::verify(directory.put("p", b""), None).unwrap();
        assert_eq!(hexadecimal(program.sha256()), empty);
        // One that has no bytes on the disk, but too many to be read.
        let large = directory.put("large", b"");
        File::options().write(true).open(&large).unwrap().set_len(PROGRAM_BYTES_MAX + 1).unwrap();
        let error = Program::verify(large, None).unwrap_err().to_string();
        assert_eq!(error, "it has 1073741825 bytes, expected at most 1073741824");
        let error = Program::verify(program.path(), Some([7; 32])).unwrap_err().to_string();
        assert_eq!(error, format!("its SHA-256 is {empty}, expected {}", "07".repeat(32)));
    }
}
