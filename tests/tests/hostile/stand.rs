//! A host with a good plugin, and what it meets.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::{Mutex, MutexGuard};
use rapace_core::link::LinkStats;
use rapace_host::{PluginHandle, PluginHost, PluginSpec};
use rapace_session::{CallError, CallOptions, Config, Limits, Reply, SessionEnd, Timeouts};
use rapace_tests::hostile::{HostDoes, Hostile, Outcome};
use rapace_tests::method;
use rapace_tests::pattern::words;
use rapace_tests::service::{REST, Service};
use rapace_tests::stream::{BOTH, next};

use crate::census::Census;
use crate::good::GoodCalls;
use crate::support::{MARK, PATIENCE, eventually, is_there, marked, task_states};

/// What the host takes: less than by default, so that it is soon too much.
const LIMITS: Limits = Limits {
    message_bytes_max: 1 << 20,
    metadata_bytes_max: 16 << 10,
    calls_max: 64,
    served_max: None,
    depth_max: 16,
    inbound_bytes_max: 4 << 20,
    stream_window_bytes: 64 << 10,
    outbound_bytes_max: 4 << 20,
};
/// How long a host waits for the hello of a plugin that never says it, and what its handlers' calls may take.
const IMPATIENT: Timeouts =
    Timeouts { start: Duration::from_secs(1), liveness: Duration::from_secs(1), call: Duration::from_millis(20) };
/// How long the host waits for a hostile plugin's answer.
const DEADLINE: Duration = Duration::from_millis(20);
/// Bodies of the calls to a hostile plugin: in the descriptor, in slots, and in pieces.
const BODIES: [usize; 3] = [8, 10_000, 3 << 20];
/// A plugin is borne with for so many rounds of calls, and of good calls.
const ROUNDS: u32 = 4;
const GOOD_CALLS: u64 = 200;
/// What a plugin that changes its payloads answers.
const CHANGING_BYTES: usize = 512 << 10;

/// What hostile plugins have said of themselves.
type Said = Arc<Mutex<Vec<String>>>;

/// One test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock()
}

/// A hostile plugin comes to its end, or is borne with; the good calls go on; nothing is left behind.
pub(crate) fn check(behaviour: Hostile) {
    let _alone = alone();
    let before = Census::take();
    let stand = Stand::start();
    let beside = Census::take().without_threads();
    for seed in seeds(behaviour) {
        stand.meet(behaviour, seed);
        left(&beside, "only the good plugin", || Census::take().without_threads());
    }
    drop(stand);
    left(&before, "nothing", Census::take);
    eventually("no process is left", || marked(std::process::id()).is_empty());
}

/// Waits until there is no more than there was.
#[track_caller]
fn left(before: &Census, what: &str, take: impl Fn() -> Census) {
    let start = Instant::now();
    while take() != *before {
        assert!(start.elapsed() < PATIENCE, "{what} should be left: {before:#?}, but there is {:#?}", take());
        thread::park_timeout(REST);
    }
}

/// What is random is tried more than once, and each time in another way.
fn seeds(behaviour: Hostile) -> Vec<u64> {
    use Hostile::*;
    match behaviour {
        ScribblesEverywhere
        | ScribblesInItsHeader
        | ScribblesInItsRing
        | ScribblesInItsReturns
        | ScribblesInItsSlots
        | TearsItsDescriptors => {
            let fresh = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
            vec![1, 2, fresh.into()]
        }
        _ => vec![1],
    }
}

/// A host with a good plugin that is called without pause.
struct Stand {
    good: GoodCalls,
    said: Said,
    host: PluginHost,
    /// One that does not wait as long.
    impatient: PluginHost,
}

impl Stand {
    fn start() -> Self {
        let said = Said::default();
        let host = host_of(Timeouts::default(), &said);
        let impatient = host_of(IMPATIENT, &said);
        let good = host.load(spec("good").arg("serve")).unwrap();
        let good = GoodCalls::begin(&good);
        Self { good, said, host, impatient }
    }

    fn meet(&self, behaviour: Hostile, seed: u64) {
        self.said.lock().clear();
        let name = format!("{} {seed}", behaviour.name());
        let spec = spec(&name).arg("hostile").arg(behaviour.name()).arg(seed.to_string());
        let before = self.good.count();
        if let Outcome::NoSession(text) = behaviour.outcome() {
            let error = self.impatient.load(spec).expect_err("there is a session").to_string();
            assert!(error.contains(text), "{error}");
            return eventually("good calls go on", || self.good.count() > before);
        }
        // There its host's own handlers call it, and hold their callers up for as long as they wait.
        let waits = behaviour == Hostile::NestsWithoutEnd;
        let host = if waits { &self.impatient } else { &self.host };
        let plugin = host.load(spec).unwrap();
        let meeting = Meeting { behaviour, name, plugin, stand: self };
        meeting.go_on(before);
        meeting.end();
    }
}

/// A host whose services the hostile plugins can call.
fn host_of(timeouts: Timeouts, said: &Said) -> PluginHost {
    let config = Config { limits: LIMITS, timeouts, ..Config::new("host", "1") };
    let said = Arc::clone(said);
    let builder = PluginHost::builder(config).services(|_| Arc::new(Service::default()).router());
    let listen = move |line: &rapace_host::OutputLine<'_>| {
        if let Some(text) = line.text.strip_prefix("hostile: ") {
            said.lock().push(text.to_owned());
        }
    };
    builder.on_output(listen).build().unwrap()
}

fn spec(name: &str) -> PluginSpec {
    PluginSpec::new(name, env!("CARGO_BIN_EXE_peer")).env(MARK, std::process::id().to_string())
}

/// A session with a hostile plugin.
struct Meeting<'a> {
    behaviour: Hostile,
    name: String,
    plugin: PluginHandle,
    stand: &'a Stand,
}

impl Meeting<'_> {
    /// Does what a host does, until the plugin has come to its end, or has been borne with for long enough.
    fn go_on(&self, good_before: u64) {
        let may_stay = matches!(self.behaviour.outcome(), Outcome::Stays | Outcome::Survived);
        let (start, mut round) = (Instant::now(), 0);
        while self.plugin.crash().is_none() {
            self.provoke(round);
            round += 1;
            let good_calls = self.stand.good.count() - good_before;
            if may_stay && self.has_begun() && round >= ROUNDS && good_calls >= GOOD_CALLS {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{}: nothing has come of it", self.name);
        }
    }

    /// Whether it has said that it is at it, and all of what it was to say.
    fn has_begun(&self) -> bool {
        let last = if self.behaviour == Hostile::TriesTheKernel { "has tried all" } else { "begins" };
        self.stand.said.lock().iter().any(|line| line == last)
    }

    fn provoke(&self, round: u32) {
        match self.behaviour.host_does() {
            HostDoes::Attend => thread::park_timeout(REST),
            HostDoes::Call => {
                for bytes in BODIES {
                    self.check_reply(self.plugin.call(method::ECHO, &vec![7; bytes], &soon()));
                }
                self.plugin.peer_state();
            }
            HostDoes::Stream => self.stream(u64::from(round)),
        }
    }

    /// Whatever comes, it is within its bounds.
    fn check_reply(&self, reply: Result<Reply, CallError>) {
        if self.behaviour == Hostile::ChangesPayloads
            && let Ok(reply) = reply
        {
            assert_eq!(reply.body.len(), CHANGING_BYTES);
            assert!(reply.body.iter().all(|byte| matches!(byte, 0x55 | 0xaa)), "bytes that nobody wrote");
        }
    }

    fn stream(&self, seed: u64) {
        let Some(session) = self.plugin.session() else { return };
        let body = words(&[10, 100, seed]);
        session.block_on(async {
            let caller = session.caller();
            if let Ok(call) = caller.open(method::SEND_ITEMS, &body, BOTH, &soon()).await {
                while next(&call).await.is_some() {}
            }
        });
    }

    /// It has come to the end that it deserves, and is gone; or it is still there, and goes now.
    fn end(&self) {
        let (name, outcome) = (&self.name, self.behaviour.outcome());
        match (outcome, self.plugin.crash().map(|crash| crash.end)) {
            (Outcome::Fault(rule), Some(end)) => match &*end {
                SessionEnd::Fault(fault) => assert_eq!(fault.rule(), rule, "{name}: {fault}"),
                other => panic!("{name}: {other}"),
            },
            (Outcome::AnyFault, Some(end)) => assert!(matches!(*end, SessionEnd::Fault(_)), "{name}: {end}"),
            (Outcome::Gone, Some(end)) => assert!(matches!(*end, SessionEnd::PeerGone(_)), "{name}: {end}"),
            (Outcome::Survived, Some(_)) => {}
            (Outcome::Stays | Outcome::Survived, None) => self.stay(),
            (expected, end) => panic!("{name}: {expected:?} was due, but it ended so: {end:?}"),
        }
    }

    fn stay(&self) {
        let (pid, session) = (self.plugin.process_id().unwrap(), self.plugin.session().unwrap());
        assert_eq!(session.end(), None, "{}", self.name);
        assert_eq!(session.stats().faults, 0, "{}", self.name);
        if self.behaviour == Hostile::TriesTheKernel {
            let said = self.stand.said.lock().clone();
            let refused = said.iter().filter(|line| line.starts_with("could not ")).count();
            assert!(
                refused >= 20 && !said.iter().any(|line| line.starts_with("could ") && !line.starts_with("could not ")),
                "{said:#?}"
            );
        }
        assert!(self.plugin.kill().is_some(), "{}", self.name);
        let stats = session.stats();
        let left = [stats.calls_in_flight, stats.served_in_flight, stats.inbound_bytes, stats.outbound_bytes];
        assert_eq!((left, stats.tasks), ([0; 4], 0), "{}", self.name);
        assert!(!is_there(Pid::from_raw(pid.cast_signed())), "{}", self.name);
    }
}

fn soon() -> CallOptions {
    CallOptions::new().deadline(DEADLINE)
}

/// A host with a good plugin and a hostile one, which nobody calls.
pub(crate) struct Bare {
    pub(crate) good: PluginHandle,
    hostile: PluginHandle,
    _host: PluginHost,
}

impl Bare {
    pub(crate) fn start(behaviour: Hostile) -> Self {
        let said = Said::default();
        let host = host_of(Timeouts::default(), &said);
        let good = host.load(spec("good").arg("serve")).unwrap();
        let hostile = host.load(spec(behaviour.name()).arg("hostile").arg(behaviour.name())).unwrap();
        Self { good, hostile, _host: host }
    }

    /// What has gone through the session with the hostile plugin.
    pub(crate) fn hostile_stats(&self) -> LinkStats {
        self.hostile.session().unwrap().stats().link
    }

    /// Sends the hostile plugin a signal, and sees it stopped if that is what the signal does.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.hostile.process_id().unwrap().cast_signed());
        kill(pid, signal).unwrap();
        let stops = signal == Signal::SIGSTOP;
        eventually("the signal is taken", || task_states(pid).iter().all(|state| (*state == 'T') == stops));
    }
}
