//! Faults on purpose, as users meet them: a host, a plugin in a process of its own, typed clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod deaths;
mod plans;
mod time;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use rapace::fault_injection::{FaultAction, FaultInjector, FaultPlan, FaultRule, FaultSide};
use rapace::host::StartCause;
use rapace::plugin::run;
use rapace::prelude::*;

/// Tells the process that it is the plugin.
const ROLE: &str = "RAPACE_TEST_ROLE";
/// A deadline that nothing here meets that can be met.
const LONG: Duration = Duration::from_secs(60);
/// A deadline that is to pass, and not before a busy machine has begun the call.
const SHORT: Duration = Duration::from_millis(500);

#[rapace::service(name = "test.Store", version = "1.0", provider = "plugin")]
trait Store {
    async fn put(&self, key: String, value: Vec<u32>) -> u32;
    async fn get(&self, key: String) -> Vec<u32>;
    fn numbers(&self, count: u32) -> impl Stream<Item = u32>;
    /// Calls the host.
    async fn ask(&self, ctx: &Context, number: u32) -> Result<u32, String>;
    /// How many calls of the others have begun.
    async fn begun(&self) -> u32;
    /// Bytes, which are built and read in place when they are many.
    async fn echo(&self, bytes: &[u8]) -> Vec<u8>;
    /// How many milliseconds the caller still waits.
    async fn left(&self, ctx: &Context) -> u64;
}

#[rapace::service(name = "test.Back", version = "1.0", provider = "host")]
trait Back {
    async fn increment(&self, number: u32) -> u32;
}

#[derive(Default)]
struct Memory {
    values: std::sync::Mutex<BTreeMap<String, Vec<u32>>>,
    begun: std::sync::atomic::AtomicU32,
}

impl Memory {
    fn begin(&self) {
        self.begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Store for Memory {
    async fn put(&self, key: String, value: Vec<u32>) -> u32 {
        self.begin();
        let length = value.len().try_into().unwrap();
        self.values.lock().unwrap().insert(key, value);
        length
    }

    async fn get(&self, key: String) -> Vec<u32> {
        self.begin();
        self.values.lock().unwrap().get(&key).cloned().unwrap_or_default()
    }

    fn numbers(&self, count: u32) -> impl Stream<Item = u32> {
        self.begin();
        futures_util::stream::iter(0..count)
    }

    async fn ask(&self, ctx: &Context, number: u32) -> Result<u32, String> {
        BackClient::new(ctx).increment(number).await.map_err(|error| error.to_string())
    }

    async fn begun(&self) -> u32 {
        self.begun.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn echo(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    async fn left(&self, ctx: &Context) -> u64 {
        ctx.time_left().unwrap().as_millis().try_into().unwrap()
    }
}

struct Adds;

impl Back for Adds {
    async fn increment(&self, number: u32) -> u32 {
        number + 1
    }
}

/// The plugin itself, in the process that a test starts; nothing in the test program.
#[test]
fn plugin_process() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let code = run(|| {
        let services = Services::new().add(StoreServer::new(Memory::default())).calls::<BackClient>();
        Ok(Plugin::attach(Config::new("store", "1.0.0"), "a test", services)?.serve()?)
    });
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

fn host() -> PluginHost {
    let services = |_: &PluginScope| Services::new().add(BackServer::new(Adds)).calls::<StoreClient>();
    PluginHost::builder(Config::new("test-host", "1.0.0")).services(services).build().unwrap()
}

fn spec(name: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new(name, program).arg("--exact").arg("plugin_process").arg("--nocapture");
    spec.env(ROLE, "plugin")
}

/// A host and its plugin; dropped, they are gone.
struct Pair {
    host: PluginHost,
    plugin: PluginHandle,
    /// What is at work on the host's side.
    faults: FaultInjector,
}

impl Pair {
    /// The plan is the host's; the program of the plugin does not know of it.
    fn calling(plan: &str) -> Self {
        Self::new(plan, |spec| spec)
    }

    /// The plan is the plugin's; it is told by its environment.
    fn serving(plan: &str) -> Self {
        Self::new("", |spec| spec.env(FaultPlan::VARIABLE, plan))
    }

    fn new(plan: &str, with: impl FnOnce(PluginSpec) -> PluginSpec) -> Self {
        let (host, faults) = (host(), FaultInjector::new(plan.parse().unwrap()));
        let plugin = host.load(with(spec("store").faults(&faults))).unwrap();
        Self { host, plugin, faults }
    }

    fn client(&self, deadline: Duration) -> StoreBlockingClient {
        StoreClient::new(&self.plugin).with_deadline(deadline).blocking()
    }

    /// Runs what is the same for both sides.
    fn both(plan: &str, check: impl Fn(&Self)) {
        check(&Self::serving(plan));
        check(&Self::calling(plan));
    }

    fn begun(&self) -> u32 {
        self.client(LONG).begun().unwrap()
    }

    /// The plugin's process ends, and the host says how.
    fn crash_report(&self) -> rapace::host::CrashReport {
        let start = Instant::now();
        while self.plugin.crash().is_none() {
            assert!(start.elapsed() < LONG, "{:?}", self.plugin);
            self.host.poll();
            std::thread::yield_now();
        }
        self.plugin.crash().unwrap()
    }

    #[track_caller]
    fn is_killed(&self, error: &CallError) {
        let Some(SessionEnd::PeerGone(Some(exit))) = error.session_end() else { panic!("{error}") };
        assert_eq!(exit.signal(), Some(9));
        assert_eq!(self.crash_report().exit.unwrap().signal(), Some(9));
    }
}

#[track_caller]
fn status(error: CallError) -> Status {
    let CallError::Status(status) = error else { panic!("{error:?}") };
    status
}

/// The id of `begun`, which gives 0 in one byte when nothing has.
fn begun() -> u32 {
    rapace::registry::MethodId::derived("test.Store", "begun").get()
}

fn text(text: &str) -> String {
    text.to_owned()
}
