//! A directory of plugins for a test, and the programs in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rapace_host::{Discovery, Scan};

/// A directory that is removed with all that is in it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rapace-discovery-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let directory = Self(path.canonicalize().unwrap());
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
        format!("#!/bin/sh\necho \"$@\" >> {}\ncat <<'END'\n{answer}\nEND\n", self.at(".ran").display())
    }

    /// What programs here were run with, line by line.
    pub(crate) fn runs(&self) -> Vec<String> {
        let runs = fs::read_to_string(self.at(".ran")).unwrap_or_default();
        runs.lines().map(str::to_owned).collect()
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
        let here = format!("{}/", self.path().display());
        let relative = |text: String| text.replace(&here, "").replace(here.trim_end_matches('/'), ".");
        let refused = scan.rejected.iter();
        refused
            .map(|refused| (relative(refused.path.display().to_string()), relative(refused.reason.to_string())))
            .collect()
    }

    /// There is nothing but this one file, and it is refused for this reason.
    #[track_caller]
    pub(crate) fn refuses(&self, path: &str, reason: &str) {
        let scan = self.scan();
        assert_eq!(names(&scan), [""; 0]);
        assert_eq!(self.refusals(&scan), [(path.to_owned(), reason.to_owned())]);
        assert_eq!(self.runs(), [""; 0], "something was executed");
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
