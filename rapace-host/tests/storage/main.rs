//! The storage with real plugins, and a host that is killed: this test program again, told its role by a variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deploying;
mod hog;
mod killed;
mod process;
mod removing;
mod spaces;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rapace_host::{PluginHost, PluginSpec, Storage, StorageOpenError};
use rapace_session::Config;

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rapace-storage-{}-host-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The file of a storage in it.
    fn storage(&self) -> PathBuf {
        self.0.join("storage.redb")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Opens a storage. A process that another test is starting may have the file for a moment, until it is another program.
fn open(path: &Path) -> Storage {
    let opened = RefCell::new(None);
    eventually("the storage is free", || match Storage::open(path) {
        Ok(storage) => opened.replace(Some(storage)).is_none(),
        Err(StorageOpenError::InUse { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    opened.into_inner().unwrap()
}

/// A host that offers this storage.
fn host(storage: &Storage) -> PluginHost {
    let builder = PluginHost::builder(Config::new("test-host", "1.0.0"));
    builder.storage(storage).build().unwrap()
}

/// A plugin of this name and role.
fn spec(name: &str, role: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    PluginSpec::new(name, program).arg("--exact").arg(process::TEST).arg("--nocapture").env(process::ROLE, role)
}

/// Runs a future.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Waits for what is sure to come.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}
