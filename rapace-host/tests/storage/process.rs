//! The plugins of the tests, and the host that is killed.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use rapace_host::{PluginHost, PluginState, StateChange};
use rapace_host_api::storage::{Space, StorageClient, StorageError};
use rapace_macros::service;
use rapace_plugin::{PluginContext, PluginMain};
use rapace_service::Error;
use rapace_session::Config;

pub(crate) const ROLE: &str = "RAPACE_TEST_ROLE";
/// The file of the storage of the host that is killed.
pub(crate) const FILE: &str = "RAPACE_TEST_FILE";
/// A path, to which each acknowledged write is told.
const PIPE: &str = "RAPACE_TEST_PIPE";
/// What the keys begin with.
pub(crate) const ROUND: &str = "RAPACE_TEST_ROUND";
/// The test that is a process.
pub(crate) const TEST: &str = "process::in_a_process";

const WRITERS: u32 = 16;

/// The plugin, or the host, in the processes that the tests start; nothing in the test program.
#[test]
fn in_a_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let code = match role.as_str() {
        "keeper" => keeper().run_with([]),
        "hog" => keeper().background(async |ctx| hog(&ctx)).run_with([]),
        "writer" => PluginMain::new("writer", "1.0.0").background(async |ctx| write(&ctx)).run_with([]),
        "host" => be_killed(),
        _ => panic!("no such role: {role}"),
    };
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// Does with the storage what it is told, and says what came of it.
#[service(name = "test.Keeper", version = "1.0", provider = "plugin", crate = "rapace_service")]
pub(crate) trait Keeper {
    async fn get(&self, key: &str, space: Space) -> Result<Option<Vec<u8>>, String>;
    async fn set(&self, key: &str, value: &[u8], space: Space) -> Result<u64, String>;
    async fn keys(&self, space: Space) -> Result<Vec<String>, String>;
}

struct Keeping(PluginContext);

impl Keeping {
    fn storage(&self) -> StorageClient {
        StorageClient::new(&self.0)
    }
}

fn told<T>(outcome: Result<T, Error<StorageError>>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

impl Keeper for Keeping {
    async fn get(&self, key: &str, space: Space) -> Result<Option<Vec<u8>>, String> {
        told(self.storage().get(key, space).await).map(|entry| entry.map(|entry| entry.value))
    }

    async fn set(&self, key: &str, value: &[u8], space: Space) -> Result<u64, String> {
        told(self.storage().set(key, value, space).await)
    }

    async fn keys(&self, space: Space) -> Result<Vec<String>, String> {
        let page = told(self.storage().list("", None, 1000, space).await)?;
        Ok(page.keys.into_iter().map(|listed| listed.key).collect())
    }
}

fn keeper() -> PluginMain {
    PluginMain::new("keeper", "1.0.0").serve_with(|ctx| Ok(KeeperServer::new(Keeping(ctx.clone()))))
}

/// Stores as much as it can, many writes at once.
fn hog(ctx: &PluginContext) {
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let storage = StorageClient::new(ctx).blocking();
                let value = vec![0; 10_000];
                for n in 0_u64.. {
                    if ctx.is_stopping() {
                        return;
                    }
                    // Full as it is, it goes on.
                    drop(storage.set(&format!("{writer}/{n}"), &value, Space::Own));
                }
            });
        }
    });
}

/// The value under a key.
pub(crate) fn value_of(key: &str) -> Vec<u8> {
    key.bytes().cycle().take(key.bytes().map(usize::from).sum()).collect()
}

/// Writes one key after the other, many at once, and tells of each as soon as it is acknowledged.
fn write(ctx: &PluginContext) {
    let pipe = OpenOptions::new().append(true).open(std::env::var(PIPE).unwrap()).unwrap();
    let (round, next) = (std::env::var(ROUND).unwrap(), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let storage = StorageClient::new(ctx).blocking();
                loop {
                    let key = format!("{round}/{}", next.fetch_add(1, Ordering::Relaxed));
                    let told = match storage.set(&key, &value_of(&key), Space::Own) {
                        Ok(version) => format!("{key} {version}\n"),
                        Err(error) => format!("{key}: {error}\n"),
                    };
                    // A line goes into a pipe in one piece.
                    if (&pipe).write_all(told.as_bytes()).is_err() || told.contains(':') {
                        std::process::exit(1);
                    }
                }
            });
        }
    });
}

/// A host whose plugin writes, until it is killed.
fn be_killed() -> ! {
    let storage = crate::open(std::env::var(FILE).unwrap().as_ref());
    let builder = PluginHost::builder(Config::new("test-host", "1.0.0"));
    let ends = |change: &StateChange| {
        if change.to == PluginState::Crashed {
            std::process::exit(1);
        }
    };
    let host = builder.offer(move |plugin| storage.server(plugin)).on_state(ends).build().unwrap();
    let plugin = crate::spec("writer", "writer").env(ROUND, std::env::var(ROUND).unwrap());
    let plugin = plugin.env(PIPE, format!("/proc/{}/fd/2", std::process::id()));
    let _plugin = host.load(plugin).unwrap();
    loop {
        std::thread::park();
    }
}
