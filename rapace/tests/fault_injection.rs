//! Faults on purpose, as users meet them: a host, a plugin in a process of its own, typed clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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
    let services = |_: &str| Services::new().add(BackServer::new(Adds)).calls::<StoreClient>();
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

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_delayed_call_takes_so_long() {
    Pair::both("delay=300ms of test.Store.get nth 1", |pair| {
        let start = Instant::now();
        assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
        assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    });
}

#[test]
fn others_do_not_wait_for_a_delayed_or_a_dropped_call() {
    for plan in ["delay=3600s of test.Store.get", "drop of test.Store.get"] {
        Pair::both(plan, |pair| {
            let store = StoreClient::new(&pair.plugin).with_deadline(LONG);
            let outcome = pair.plugin.as_caller().block_on(async {
                // The one that is delayed is sent first.
                match select(pin!(store.get(text("a"))), pin!(store.put(text("b"), vec![1]))).await {
                    Either::Left(_) => None,
                    Either::Right((put, _)) => Some(put),
                }
            });
            assert_eq!(outcome.unwrap(), Some(Ok(1)));
        });
    }
}

#[test]
fn a_deadline_passes_within_a_delay() {
    Pair::both("delay=3600s of test.Store.get nth 1", |pair| {
        assert_eq!(pair.client(SHORT).get(text("a")), Err(CallError::DeadlineExceeded { waited: SHORT }));
        assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
    });
}

#[test]
fn a_dropped_call_ends_by_its_deadline_and_leaves_nothing() {
    Pair::both("drop of test.Store.get times 2", |pair| {
        for _ in 0..2 {
            assert_eq!(pair.client(SHORT).get(text("a")), Err(CallError::DeadlineExceeded { waited: SHORT }));
        }
        assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
        assert_eq!(pair.begun(), 1, "the dropped ones never began");
        let start = Instant::now();
        // Those that the plugin has dropped are over when it has said so.
        while pair.plugin.session().unwrap().stats().calls_in_flight > 0 {
            assert!(start.elapsed() < LONG);
            assert!(pair.client(LONG).begun().is_ok());
        }
    });
}

#[test]
fn a_dropped_call_ends_with_the_session() {
    Pair::both("drop of test.Store.get", |pair| {
        let client = StoreClient::new(&pair.plugin).with_deadline(LONG);
        let error = std::thread::scope(|scope| {
            let call = scope.spawn(|| client.blocking().get(text("a")));
            // The call is under way or not: both end with the process.
            assert_eq!(pair.client(LONG).put(text("b"), vec![1]), Ok(1));
            pair.plugin.session().unwrap().reap(Duration::ZERO);
            call.join().unwrap().unwrap_err()
        });
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
}

#[test]
fn a_corrupt_reply_is_an_error_of_that_call_only() {
    Pair::both("seed=3; corrupt of test.Store.get times 40", |pair| {
        let client = pair.client(LONG);
        let value: Vec<u32> = (0..40).map(|number| number * 1_000).collect();
        assert_eq!(client.put(text("a"), value.clone()), Ok(40));
        let replies: Vec<_> = (0..40).map(|_| client.get(text("a"))).collect();
        let errors: Vec<_> = replies.iter().filter_map(|reply| reply.as_ref().err()).cloned().collect();
        assert!(errors.len() > 10, "most corrupt replies are none: {replies:?}");
        for error in errors {
            let status = status(error);
            assert_eq!(status.code, Code::DataLoss);
            assert!(status.message.contains("the reply of test.Store.get"), "{status}");
        }
        assert!(replies.iter().all(|reply| reply.as_ref() != Ok(&value)));
        assert_eq!(client.get(text("a")), Ok(value));
        assert!(pair.plugin.session().unwrap().is_peer_alive());
    });
}

#[test]
fn a_corrupt_request_is_what_the_handler_gets() {
    Pair::both("seed=3; corrupt-request of test.Store.put times 40", |pair| {
        let client = pair.client(LONG);
        let replies: Vec<_> = (0..40).map(|_| client.put(text("a"), vec![1, 2, 3])).collect();
        let errors: Vec<_> = replies.iter().filter_map(|reply| reply.clone().err()).collect();
        assert!(errors.len() > 10, "{replies:?}");
        for error in errors {
            let status = status(error);
            assert_eq!(status.code, Code::InvalidArgument);
            assert!(status.message.contains("the request of test.Store.put"), "{status}");
        }
        assert_eq!(client.put(text("b"), vec![1, 2, 3]), Ok(3));
    });
}

#[test]
fn large_messages_are_corrupted_too() {
    let value: Vec<u32> = vec![u32::MAX; 100_000];
    for plan in ["corrupt of test.Store.get times 1", "seed=1; corrupt-request of test.Store.put times 1"] {
        Pair::both(plan, |pair| {
            let client = pair.client(LONG);
            let put = client.put(text("a"), value.clone());
            let got = client.get(text("a"));
            assert!(put != Ok(100_000) || got.as_ref() != Ok(&value), "{plan}");
            assert_eq!(client.put(text("b"), value.clone()), Ok(100_000));
            assert_eq!(client.get(text("b")).as_ref(), Ok(&value));
        });
    }
}

#[test]
fn an_exhausted_plugin_says_so_and_one_without_room_is_noticed_by_the_caller() {
    let plan = "exhaust of test.Store.get times 1";
    let pair = Pair::serving(plan);
    let status = status(pair.client(LONG).get(text("a")).unwrap_err());
    assert_eq!(status.code, Code::ResourceExhausted);
    assert_eq!(status.message, "injected fault: exhaust by rule 1: call 1 of test.Store.get from test-host");
    assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));

    let pair = Pair::calling(plan);
    let error = pair.client(SHORT).get(text("a")).unwrap_err();
    assert_eq!(error, CallError::NoRoom { waited: SHORT });
    assert!(!error.may_have_run());
    assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
    assert_eq!(pair.begun(), 1);
}

#[test]
fn an_error_is_answered_in_the_place_of_the_handler() {
    Pair::both("error=PermissionDenied of test.Store.get nth 2", |pair| {
        let client = pair.client(LONG);
        assert_eq!(client.get(text("a")), Ok(vec![]));
        assert_eq!(status(client.get(text("a")).unwrap_err()).code, Code::PermissionDenied);
        assert_eq!(client.get(text("a")), Ok(vec![]));
        assert_eq!(pair.begun(), 2);
    });
}

#[test]
fn a_plugin_is_killed_at_a_call_and_serves_again_when_it_is_restarted() {
    for action in ["kill", "kill-after"] {
        Pair::both(&format!("{action} of test.Store.get nth 2"), |pair| {
            let client = pair.client(LONG);
            assert_eq!(client.get(text("a")), Ok(vec![]));
            pair.is_killed(&client.get(text("a")).unwrap_err());
            pair.plugin.restart().unwrap();
            assert_eq!(client.get(text("a")), Ok(vec![]));
        });
    }
}

#[test]
fn a_plugin_that_is_killed_by_a_plan_of_its_own_says_so_at_last() {
    let pair = Pair::serving("kill of test.Store.get");
    pair.is_killed(&pair.client(LONG).get(text("a")).unwrap_err());
    let stderr = pair.crash_report().stderr;
    assert!(stderr.contains("injected fault: kill by rule 1: call 1 of test.Store.get from test-host"), "{stderr}");
}

#[test]
fn tasks_and_started_calls_meet_the_same_faults() {
    let plan = "seed=5; delay=1ms@0.3; error=Aborted@0.3; corrupt@0.3";
    let outcomes = |pair: &Pair| {
        let store = StoreClient::new(&pair.plugin).with_deadline(LONG);
        pair.plugin.as_caller().block_on(async move {
            let mut outcomes = Vec::new();
            for _ in 0..30 {
                outcomes.push(store.put(text("a"), vec![1, 2, 3]).await.map_err(|error| error.code()));
            }
            outcomes
        })
    };
    let (task, thread) = (Pair::calling(plan), Pair::calling(plan));
    let by_thread: Vec<_> =
        (0..30).map(|_| thread.client(LONG).put(text("a"), vec![1, 2, 3]).map_err(|error| error.code())).collect();
    assert_eq!(outcomes(&task).unwrap(), by_thread, "{}", task.faults);
    assert_eq!(task.faults.fates(), thread.faults.fates());
    for code in [Code::Aborted, Code::DataLoss] {
        assert!(by_thread.contains(&Err(code)), "{by_thread:?}");
    }
    // Of one that was started, the reply is what is corrupt.
    let started = Pair::calling("corrupt times 2");
    let get = rapace::registry::MethodId::derived("test.Store", "begun").get();
    let caller = started.plugin.as_caller();
    for expected in [false, false, true] {
        let reply = started.plugin.session().unwrap().start(get, b"", &CallOptions::new()).unwrap().wait().unwrap();
        assert_eq!(*reply.body == *b"\0", expected, "{:?}", &*reply.body);
    }
    drop(caller);
}

#[test]
fn who_never_waits_is_told_that_there_is_no_room() {
    let pair = Pair::calling("delay=1ms times 1; drop times 1; exhaust times 1; error=Aborted times 1");
    let begun = rapace::registry::MethodId::derived("test.Store", "begun").get();
    let session = pair.plugin.session().unwrap();
    let started = || session.try_start(begun, b"", &CallOptions::new());
    for _ in 0..3 {
        assert_eq!(started().unwrap_err(), CallError::WouldBlock);
    }
    assert_eq!(started().unwrap_err().code(), Code::Aborted);
    assert!(started().unwrap().wait().is_ok());
}

#[test]
fn a_task_that_waits_for_a_dropped_call_ends_by_its_deadline() {
    Pair::both("drop of test.Store.get; exhaust of test.Store.put", |pair| {
        let store = StoreClient::new(&pair.plugin).with_deadline(SHORT);
        let outcome = pair.plugin.as_caller().block_on(async { store.get(text("a")).await }).unwrap();
        assert_eq!(outcome, Err(CallError::DeadlineExceeded { waited: SHORT }));
        let outcome = pair.plugin.as_caller().block_on(async { store.put(text("a"), vec![]).await }).unwrap();
        assert!(matches!(outcome.unwrap_err().code(), Code::ResourceExhausted | Code::DeadlineExceeded));
    });
}

#[test]
fn a_stream_is_torn_by_death_or_goes_on_later() {
    let pair = Pair::serving("kill of test.Store.numbers item 4");
    let numbers: Vec<_> = pair.client(LONG).numbers(10).unwrap().collect();
    let (last, before) = numbers.split_last().unwrap();
    assert!(before.iter().map(|item| item.clone().unwrap()).eq(0..3), "{numbers:?}");
    pair.is_killed(last.as_ref().unwrap_err());

    let pair = Pair::serving("delay=200ms of test.Store.numbers item 4");
    let start = Instant::now();
    let mut numbers = pair.client(LONG).numbers(6).unwrap();
    assert!(numbers.by_ref().take(3).map(Result::unwrap).eq(0..3));
    assert!(numbers.map(Result::unwrap).eq(3..6));
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());

    // A call with a stream is delayed, dropped and failed as a whole.
    let pair = Pair::calling("drop of test.Store.numbers nth 1; delay=1ms of test.Store.numbers nth 2");
    let dropped = pair.client(SHORT).numbers(3).map(|_| ());
    assert_eq!(dropped, Err(CallError::DeadlineExceeded { waited: SHORT }));
    assert!(pair.client(LONG).numbers(3).unwrap().map(Result::unwrap).eq(0..3));
}

#[test]
fn a_plan_holds_for_the_calls_of_the_plugin_too() {
    // In the plugin, where it calls; in the host, where it serves.
    Pair::both("error=Unavailable of test.Back.increment nth 2", |pair| {
        let client = pair.client(LONG);
        assert_eq!(client.ask(1), Ok(2));
        let Err(Error::Service(error)) = client.ask(1) else { panic!("it has got an answer") };
        assert!(error.contains("Unavailable: injected fault"), "{error}");
        assert_eq!(client.ask(1), Ok(2));
    });
    let pair = Pair::calling("kill of test.Back.increment nth 2");
    assert_eq!(pair.client(LONG).ask(1), Ok(2));
    let Err(Error::Call(error)) = pair.client(LONG).ask(1) else { panic!("it has lived on") };
    pair.is_killed(&error);
    let fates = pair.faults.fates();
    assert_eq!((fates[0].side, fates[0].call, fates.len()), (FaultSide::Serving, 2, 1));
}

#[test]
fn a_host_that_serves_late_or_never_serves_others_meanwhile() {
    // The host's handlers run on its runtime, the plugin's on the thread that serves.
    Pair::both("delay=100ms of test.Back.increment nth 1; drop of test.Back.increment nth 2", |pair| {
        let start = Instant::now();
        assert_eq!(pair.client(LONG).ask(1), Ok(2));
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        assert_eq!(pair.client(SHORT).ask(1), Err(Error::Call(CallError::DeadlineExceeded { waited: SHORT })));
        assert_eq!(pair.client(LONG).ask(1), Ok(2));
        assert_eq!(pair.client(LONG).put(text("a"), vec![1]), Ok(1));
    });
}

#[test]
fn a_seed_replays_what_real_processes_met() {
    let plan = "seed=11; error=Internal@0.3 of test.Store.get; drop@0.1 of test.Store.get; delay=1ms@0.2";
    let run = || {
        let pair = Pair::calling(plan);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _ = pair.client(SHORT).get(text("a"));
                    }
                });
            }
        });
        let mut fates = pair.faults.fates();
        fates.sort_by_key(|fate| (fate.method, fate.call));
        fates
    };
    let first = run();
    assert!(first.len() > 20, "{first:?}");
    assert_eq!(first, run());
}

#[test]
fn one_plugin_is_hit_and_the_other_is_not() {
    let host = host();
    let faults = FaultInjector::new(FaultPlan::new().rule(FaultRule::new(FaultAction::Error(Code::Aborted))));
    let bad = host.load(spec("bad").faults(&faults)).unwrap();
    let good = host.load(spec("good")).unwrap();
    let get = |plugin| StoreClient::new(plugin).blocking().get(text("a"));
    assert_eq!(get(&bad).unwrap_err().code(), Code::Aborted);
    assert_eq!(get(&good), Ok(vec![]));
    assert_eq!(faults.count(), 1);
}

#[test]
fn lifecycle_calls_are_hit_by_rules_that_name_them() {
    let faults = FaultInjector::new("error=Unavailable of 2000".parse().unwrap());
    let error = host().load(spec("store").faults(&faults)).unwrap_err();
    let StartCause::Initialize(CallError::Status(status)) = &*error.cause else { panic!("{error}") };
    assert_eq!(status.code, Code::Unavailable);
}

#[test]
fn a_plugin_whose_variable_holds_no_plan_says_what_is_wrong_with_it() {
    let error = host().load(spec("store").env(FaultPlan::VARIABLE, "drop; explode@0.1")).unwrap_err();
    let expected = "RAPACE_FAULTS: part 2 of the plan, `explode@0.1`: found `explode`, expected seed=N or one of";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let host = host();
    let plugin =
        host.load(spec("store").env(FaultPlan::VARIABLE, "kill of test.Store.gte; kill of test.Store.get")).unwrap();
    assert_eq!(StoreClient::new(&plugin).blocking().put(text("a"), vec![]), Ok(0));
    assert!(StoreClient::new(&plugin).blocking().get(text("a")).is_err());
    let pair = Pair { host, plugin, faults: FaultInjector::new(FaultPlan::new()) };
    let stderr = pair.crash_report().stderr;
    assert!(stderr.contains("no service that is shared with test-host has a method test.Store.gte\n"), "{stderr}");
}
