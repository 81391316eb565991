//! A directory of plugins for a test, and the programs in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rapace_host::{Discovery, Rejected, Scan};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::ioctl_fionread;

/// A directory that is removed with all that is in it.
///
/// Programs that are asked what they are can write nowhere. What tells that they ran is a letter that each takes out of a
/// pipe, `.letters`.
pub(crate) struct Directory(PathBuf, fs::File);

/// What a pipe begins with, again and again.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LETTERS_MAX: usize = LETTERS.len() * 50;

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rapace-discovery-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let letters = path.join(".letters");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &letters, FileType::Fifo, mode, 0).unwrap();
        let mut letters = fs::File::options().read(true).write(true).open(letters).unwrap();
        letters.write_all(&LETTERS.repeat(LETTERS_MAX / LETTERS.len())).unwrap();
        let directory = Self(path.canonicalize().unwrap(), letters);
        directory.mode("", 0o755);
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.0.clone() } else { self.0.join(relative) }
    }

    pub(crate) fn mode(&self, relative: &str, mode: u32) {
        fs::set_permissions(self.at(relative), PermissionsExt::from_mode(mode)).unwrap();
    }

    pub(crate) fn directory(&self, relative: &str) {
        fs::create_dir(self.at(relative)).unwrap();
        self.mode(relative, 0o755);
    }

    pub(crate) fn link(&self, relative: &str, target: impl AsRef<Path>) {
        std::os::unix::fs::symlink(target, self.at(relative)).unwrap();
    }

    /// Writes a file.
    pub(crate) fn put(&self, relative: &str, mode: u32, content: impl AsRef<[u8]>) {
        // By another process: a child that another test has just forked would keep the file open for writing, and then it
        // could not be executed.
        let mut cat = Command::new("sh");
        cat.args(["-c", "cat > \"$0\""]).arg(self.at(relative)).stdin(Stdio::piped());
        let mut cat = cat.spawn().unwrap();
        cat.stdin.take().unwrap().write_all(content.as_ref()).unwrap();
        assert!(cat.wait().unwrap().success());
        self.mode(relative, mode);
    }

    /// Writes a program that says that it is a plugin of this name, and leaves a note that it ran.
    pub(crate) fn program(&self, relative: &str, name: &str) {
        self.put(relative, 0o755, self.saying(&answer(name)));
    }

    /// A program that answers with this.
    pub(crate) fn saying(&self, answer: &str) -> String {
        let take = self.taking_a_letter();
        format!("#!/bin/sh\n{take} >/dev/null\n[ \"$*\" = capabilities ] || exit 9\ncat <<'END'\n{answer}\nEND\n")
    }

    /// Takes a letter and prints it, in the shell's language.
    pub(crate) fn taking_a_letter(&self) -> String {
        format!("head -c1 <{}", self.at(".letters").display())
    }

    /// How many letters were taken.
    pub(crate) fn runs(&self) -> usize {
        LETTERS_MAX - usize::try_from(ioctl_fionread(&self.1).unwrap()).unwrap()
    }

    /// Writes a manifest, with the program's hash as it is.
    pub(crate) fn manifest(&self, relative: &str, program: &str) {
        let program_path = self.at(relative).with_file_name(program);
        let hash = hash(&fs::read(program_path).unwrap());
        self.put(relative, 0o644, format!("version = \"1.0.0\"\nprogram = \"{program}\"\nsha256 = \"{hash}\"\n"));
    }

    pub(crate) fn discovery(&self) -> Discovery {
        Discovery::new([self.path()])
    }

    pub(crate) fn scan(&self) -> Scan {
        self.discovery().scan()
    }

    /// What is refused here, with paths from here.
    pub(crate) fn refusals(&self, scan: &Scan) -> Vec<(String, String)> {
        self.relative(&scan.rejected)
    }

    /// The same of what is refused by whatever look.
    pub(crate) fn relative(&self, refused: &[Rejected]) -> Vec<(String, String)> {
        let here = format!("{}/", self.path().display());
        let relative = |text: String| text.replace(&here, "").replace(here.trim_end_matches('/'), ".");
        refused
            .iter()
            .map(|refused| (relative(refused.path.display().to_string()), relative(refused.reason.to_string())))
            .collect()
    }

    /// There is nothing but this one file, and it is refused for this reason.
    #[track_caller]
    pub(crate) fn refuses(&self, path: &str, reason: &str) {
        let scan = self.scan();
        assert_eq!(names(&scan), [""; 0]);
        assert_eq!(self.refusals(&scan), [(path.to_owned(), reason.to_owned())]);
        assert_eq!(self.runs(), 0, "something was executed");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Whoever could not remove it would have failed already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a plugin without services says of itself.
pub(crate) fn answer(name: &str) -> String {
    format!(r#"{{"name":"{name}","version":"1.0.0","protocol":1,"services":[],"contracts":{{}},"config_schema":null}}"#)
}

pub(crate) fn names(scan: &Scan) -> Vec<&str> {
    scan.found.iter().map(|found| &*found.name).collect()
}

/// The SHA-256 in hexadecimal digits, by another implementation.
pub(crate) fn hash(content: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}
