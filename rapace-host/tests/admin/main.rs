//! A host with its admin socket, plugins in processes of their own, and operators good and bad: this test program again, told
//! its role by a variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acting;
mod asking;
mod calling;
mod configured;
mod crashes;
mod logs;
mod plugin;
mod point;
mod strangers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rapace_host::{AdminPoint, PluginHandle, PluginHost, PluginSpec};
use rapace_host_api::admin::{AdminBlockingClient, AdminClient, LogLine};
use rapace_session::{Config, NoService, PeerB, Session};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with one plugin, and where its operator connects.
struct Stand {
    // Dropped in this order.
    point: AdminPoint,
    plugin: PluginHandle,
    host: PluginHost,
    directory: Directory,
}

impl Stand {
    fn new() -> Self {
        Self::with(spec("desk"))
    }

    fn with(spec: PluginSpec) -> Self {
        let directory = Directory::new();
        let host = PluginHost::builder(Config::new("test-host", "1.0.0")).build().unwrap();
        let plugin = host.load(spec).unwrap();
        let point = host.admin_at(directory.0.join("admin.sock")).unwrap();
        Self { point, plugin, host, directory }
    }

    fn operator(&self) -> Operator {
        Operator::at(&self.point)
    }

    fn desk(&self) -> plugin::DeskClient {
        plugin::DeskClient::new(&self.plugin)
    }
}

/// One who has connected.
struct Operator {
    client: AdminClient,
    session: Session<PeerB>,
}

impl Operator {
    fn at(point: &AdminPoint) -> Self {
        let session = Session::connect(point.path(), Config::new("operator", "1.0.0"), NoService).unwrap();
        Self { client: AdminClient::new(&session), session }
    }

    /// It works for as long as the operator is there.
    fn admin(&self) -> AdminBlockingClient {
        self.client.blocking()
    }
}

/// A directory that is removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rapace-admin-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let directory = Self(path);
        directory.mode(0o700);
        directory
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(&self.0, PermissionsExt::from_mode(mode)).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The plugin of this role.
fn spec(role: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new(role, program).arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    // With one thread a test program would begin a line, and the plugin's first would be the rest of it.
    spec.env(plugin::ROLE, role).env("RUST_TEST_THREADS", "2")
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

/// Lines that a plugin has printed itself, and not the test program that it is.
fn own(line: &LogLine) -> bool {
    line.text.starts_with("desk: ")
}
