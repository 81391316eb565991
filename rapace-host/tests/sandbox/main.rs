//! What plugins can do in their sandboxes: this test program again, in processes of its own, does what it is told to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod files;
mod lacking;
mod life;
mod network;
mod processes;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rapace_host::{Permissions, PluginHandle, PluginHost, PluginSpec, SandboxReport};
use rapace_session::{CallOptions, Config};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;

fn host() -> PluginHost {
    PluginHost::builder(Config::new("test-host", "1.0.0")).build().unwrap()
}

/// The plugin, trusted.
fn trusted() -> PluginSpec {
    let spec = PluginSpec::new("actor", std::env::current_exe().unwrap());
    spec.arg("--exact").arg("actions::actor").arg("--nocapture").env(actions::ROLE, "plugin")
}

/// The plugin, with these permissions, in the whole sandbox.
fn confined(permissions: Permissions) -> PluginSpec {
    trusted().permissions(permissions).require_sandbox(true)
}

/// It does something, and says what came of it, or which error.
#[track_caller]
fn does(plugin: &PluginHandle, action: impl AsRef<str>) -> Result<String, i32> {
    let reply = plugin.call(actions::DO, action.as_ref().as_bytes(), &CallOptions::new()).unwrap();
    actions::understood(std::str::from_utf8(&reply.body).unwrap())
}

fn report(plugin: &PluginHandle) -> SandboxReport {
    plugin.instances().remove(0).sandbox.unwrap()
}

fn reading<const N: usize>(paths: [&Path; N]) -> Permissions {
    Permissions { read: paths.map(Path::to_owned).to_vec(), ..Permissions::default() }
}

fn writing<const N: usize>(paths: [&Path; N]) -> Permissions {
    Permissions { write: paths.map(Path::to_owned).to_vec(), ..Permissions::default() }
}

/// A directory with `granted/file` and `other/file` in it, removed with all.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rapace-sandbox-{}-{number}", std::process::id()));
        for tree in ["granted", "other"] {
            std::fs::create_dir_all(path.join(tree)).unwrap();
            std::fs::write(path.join(tree).join("file"), tree).unwrap();
        }
        // Programs are verified here.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn at(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// Writes a script for the shell. By another process: a child that another test has just forked would keep the file open
    /// for writing, and then it could not be executed.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let mut shell = std::process::Command::new("sh");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        assert!(shell.arg("-c").arg(write).arg(self.at(name)).arg(text).status().unwrap().success());
        self.at(name)
    }

    /// An action with paths from here.
    fn action(&self, action: &str, paths: &[&str]) -> String {
        let paths = paths.iter().map(|path| self.at(path).display().to_string());
        std::iter::once(action.to_owned()).chain(paths).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Whoever could not remove it would have failed already.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
