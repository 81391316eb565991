//! The file that is about to be executed: the sandbox lets the plugin execute it, and nothing else.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// What the kernel reads of a script's first line.
const FIRST_LINE_BYTES: usize = 256;
/// Where a program without a slash is looked for when there is no `PATH`.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// The file that a command executes.
pub(super) struct Executable {
    /// It, by what may be no more than its place.
    pub(super) file: OwnedFd,
    /// What its first line names, if it is a script.
    pub(super) interpreter: Option<PathBuf>,
}

impl Executable {
    /// That of a command; none if there is no such file, which its start will tell.
    pub(super) fn of(command: &Command) -> Option<Self> {
        let program = Path::new(command.get_program());
        if program.as_os_str().as_bytes().contains(&b'/') {
            return Self::at(program);
        }
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        std::env::split_paths(path.unwrap_or(OsStr::new(PATH_DEFAULT)))
            .find_map(|folder| Self::at(&folder.join(program)))
    }

    /// One that is open for reading.
    pub(super) fn opened(file: &File) -> Option<Self> {
        Some(Self { file: file.as_fd().try_clone_to_owned().ok()?, interpreter: interpreter(file) })
    }

    fn at(path: &Path) -> Option<Self> {
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        let is_executable = FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_mode & 0o111 != 0;
        // One that cannot be read is no script, or one that its interpreter cannot read either. One that has become a FIFO
        // meanwhile holds nobody up.
        let readable = || File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok();
        is_executable.then(|| Self { file, interpreter: readable().as_ref().and_then(interpreter) })
    }
}

/// What the first line of a script names.
fn interpreter(file: &File) -> Option<PathBuf> {
    let mut beginning = [0; FIRST_LINE_BYTES];
    let read = file.read_at(&mut beginning, 0).ok()?;
    let line = beginning[..read].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\0')).find(|word| !word.is_empty())?;
    Some(OsStr::from_bytes(name).into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn temporary(content: &[u8]) -> File {
        let memory = rustix::fs::memfd_create("script", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(memory);
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn the_interpreter_is_the_first_word_of_the_first_line() {
        for (content, expected) in [
            (&b"#!/bin/sh\necho"[..], Some("/bin/sh")),
            (b"#! \t/usr/bin/env  python3 -u\n", Some("/usr/bin/env")),
            (b"#!/bin/sh", Some("/bin/sh")),
            (b"#!\n/bin/sh", None),
            (b"#!", None),
            (b"\x7fELF/bin/sh", None),
            (b"", None),
        ] {
            assert_eq!(interpreter(&temporary(content)).as_deref(), expected.map(Path::new), "{content:?}");
        }
    }

    #[test]
    fn a_program_without_a_slash_is_the_first_of_the_path_that_can_be_executed() {
        let same = |found: &Executable, path: &str| {
            let (found, expected) = (fstat(&found.file).unwrap(), rustix::fs::stat(path).unwrap());
            (found.st_ino, found.st_dev) == (expected.st_ino, expected.st_dev)
        };
        let mut command = Command::new("sh");
        command.env("PATH", "/none:/dev:/bin");
        assert!(same(&Executable::of(&command).unwrap(), "/bin/sh"));
        command.env("PATH", "/none:/dev");
        assert!(Executable::of(&command).is_none());
        assert!(same(&Executable::of(&Command::new("sh")).unwrap(), "/bin/sh"));
        for none in ["/", "/etc/passwd", "/dev/null", "/none", ""] {
            assert!(Executable::of(&Command::new(none)).is_none(), "{none}");
        }
    }
}
