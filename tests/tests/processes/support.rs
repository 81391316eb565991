//! Starting a peer, asking it, and being sure that it goes.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use parking_lot::{Mutex, MutexGuard};
use rapace_core::socket::Socket;
use rapace_core::{Geometry, GeometryConfig};
use rapace_session::{
    CallError, CallOptions, Code, Config, Handler, Handshake, HandshakeError, NoService, PeerA, PendingCall, Process,
    Session, Status, WaitStrategy,
};
use rapace_tests::method;
use rapace_tests::pattern::{word, words};
use rapace_tests::service::REST;
use rapace_tests::snapshot::Snapshot;

/// How long a test waits for a condition before it fails. It never waits so long for its own sake.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The smallest geometries: 16 slots beside 64 descriptors, and 16 descriptors beside 32 slots.
pub(crate) const FEW_SLOTS: GeometryConfig =
    GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 64, slot_bytes: 256 };
pub(crate) const FEW_DESCRIPTORS: GeometryConfig =
    GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 256 };

/// A session with a peer that was spawned for it. Dropped, the peer is killed.
pub(crate) struct Plugin {
    session: Session<PeerA>,
    pid: Pid,
    /// Slots of each side, if the test has not made the session itself.
    slots: Option<u32>,
}

impl Plugin {
    /// A peer with these arguments, and a host that serves nothing.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(config(), arguments, NoService)
    }

    /// A peer with these arguments, and this host.
    #[track_caller]
    pub(crate) fn start_with(config: Config, arguments: &[&str], handler: impl Handler) -> Self {
        let (socket, child) = spawn(&mut peer(arguments));
        let slots = Geometry::new(config.geometry).unwrap().slot_count();
        let mut plugin = Self::of(offer(socket, child, config, handler).unwrap());
        plugin.slots = Some(slots);
        plugin
    }

    /// An open session.
    pub(crate) fn of(session: Session<PeerA>) -> Self {
        let pid = Pid::from_raw(session.process_id().unwrap().cast_signed());
        Self { session, pid, slots: None }
    }

    /// Calls a method that takes words, and answers with bytes.
    #[track_caller]
    pub(crate) fn ask(&self, method: u32, arguments: &[u64]) -> Vec<u8> {
        self.session.call(method, &words(arguments), &CallOptions::new()).unwrap().body.into_vec()
    }

    /// The same of a method that answers with a word.
    #[track_caller]
    pub(crate) fn count(&self, method: u32) -> u64 {
        word(&self.ask(method, &[]), 0)
    }

    /// Calls with any body, without options.
    pub(crate) fn try_call(&self, method: u32, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.session.call(method, body, &CallOptions::new()).map(|reply| reply.body.into_vec())
    }

    /// Sends a request with any body, without options.
    #[track_caller]
    pub(crate) fn start_call(&self, method: u32, body: &[u8]) -> PendingCall {
        self.session.start(method, body, &CallOptions::new()).unwrap()
    }

    /// What the peer says of its session.
    pub(crate) fn peer_snapshot(&self) -> Snapshot {
        Snapshot::decode(&self.ask(method::SNAPSHOT, &[]))
    }

    /// What this side says of it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.session.stats().into()
    }

    /// Nothing is in flight, waits or is kept on either side.
    #[track_caller]
    pub(crate) fn check_clean(&self) {
        eventually("nothing is left over", || {
            let mut there = self.peer_snapshot();
            // The call that asks.
            there.served_in_flight -= 1;
            let here = self.snapshot();
            let slots =
                self.slots.is_none_or(|slots| [here, there].iter().all(|side| side.slots_free == u64::from(slots)));
            slots && (here.left_over(), there.left_over(), here.faults) == (0, 0, 0)
        });
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the peer, and sees it stopped where that is what the signal does.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
        if signal == Signal::SIGSTOP {
            eventually("the peer is stopped", || task_states(self.pid).iter().all(|state| *state == 'T'));
        }
    }

    /// Closes the session in good order and says how the peer ended.
    #[track_caller]
    pub(crate) fn close_and_reap(&self) -> ExitStatus {
        self.session.close(&Status::new(Code::Unavailable, "the test is over"));
        self.session.reap(PATIENCE).unwrap()
    }
}

/// Held by a test whose peers spin: one such test at a time. What the thread starts at first is on one core, what it
/// does from [`BothCores::part`] on is on another, if there is one. Two spinners on one core need a time slice for
/// each message.
pub(crate) struct BothCores {
    all: CpuSet,
    _alone: MutexGuard<'static, ()>,
}

pub(crate) fn both_cores() -> BothCores {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock();
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let cores = BothCores { all, _alone: alone };
    cores.keep_to(1);
    cores
}

impl BothCores {
    /// Leaves the core to what was started on it.
    pub(crate) fn part(&self) {
        self.keep_to(0);
    }

    fn keep_to(&self, index: usize) {
        let mut cores = (0..CpuSet::count()).filter(|core| self.all.is_set(*core).unwrap());
        if let Some(core) = cores.nth(index) {
            let mut one = CpuSet::new();
            one.set(core).unwrap();
            sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        }
    }
}

impl Drop for BothCores {
    fn drop(&mut self) {
        // The thread may go on to run other tests.
        sched_setaffinity(Pid::from_raw(0), &self.all).unwrap();
    }
}

/// Runs `work` while another thread serves the session, which is closed behind it, whatever becomes of the work. The work
/// hears which thread that is.
pub(crate) fn while_serving<T>(plugin: &Plugin, work: impl FnOnce(Pid) -> T) -> T {
    struct Close<'a>(&'a Plugin);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.session.close(&Status::new(Code::Unavailable, "the test is over"));
        }
    }
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let _close = Close(plugin);
        scope.spawn(move || {
            tell.send(gettid()).unwrap();
            plugin.serve()
        });
        work(told.recv().unwrap())
    })
}

impl Deref for Plugin {
    type Target = Session<PeerA>;

    fn deref(&self) -> &Session<PeerA> {
        &self.session
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // A handler that still has a call would keep the process otherwise.
        self.session.close(&Status::new(Code::Unavailable, "the test is over"));
        self.session.reap(Duration::ZERO);
        if !thread::panicking() {
            assert!(!is_there(self.pid), "process {} is left behind", self.pid);
        }
    }
}

/// The host's configuration of most tests.
pub(crate) fn config() -> Config {
    Config::new("host", "1")
}

/// The same with a wait strategy.
pub(crate) fn waiting(wait: WaitStrategy) -> Config {
    Config { wait, ..config() }
}

/// The command that starts a peer.
pub(crate) fn peer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.args(arguments).stdout(Stdio::null()).env(MARK, std::process::id().to_string());
    command
}

/// Every peer of this process has its id in this variable.
pub(crate) const MARK: &str = "RAPACE_TESTS_PROCESS";

/// Starts a peer with its end of a socket pair as standard input (SPEC E1).
pub(crate) fn spawn(command: &mut Command) -> (Socket, Child) {
    let (ours, theirs) = Socket::pair().unwrap();
    let child = command.env("RAPACE_PROTOCOL", "1").stdin(Stdio::from(theirs.into_fd())).spawn().unwrap();
    // The command keeps the other end until it gets another standard input.
    command.stdin(Stdio::null());
    (ours, child)
}

/// The handshake of a host.
pub(crate) fn offer(
    socket: Socket,
    child: Child,
    config: Config,
    handler: impl Handler,
) -> Result<Session<PeerA>, HandshakeError> {
    let process = Process::new(child).unwrap();
    Handshake::<PeerA>::offer(socket, Some(process), config)?.finish(handler)
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(REST);
    }
}

/// Whether there is such a process, dead and not yet reaped ones included.
pub(crate) fn is_there(pid: Pid) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// The states of all threads of a process, as letters of proc_pid_stat(5).
pub(crate) fn task_states(pid: Pid) -> Vec<char> {
    let tasks = tasks(pid);
    tasks.iter().filter_map(|task| task_state(task)).collect()
}

/// The state of a thread.
pub(crate) fn task_state(task: &Path) -> Option<char> {
    let stat = std::fs::read_to_string(task.join("stat")).ok()?;
    // The name of the program, in brackets, may hold anything.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// How often the threads of a process have gone to sleep.
pub(crate) fn sleeps(pid: Pid) -> u64 {
    tasks(pid).iter().map(|task| switches(task, "voluntary_ctxt_switches:")).sum()
}

/// A count of context switches of a thread, by its name in proc_pid_status(5).
pub(crate) fn switches(task: &Path, name: &str) -> u64 {
    // The thread may have ended.
    let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix(name));
    count.map_or(0, |count| count.trim().parse().unwrap())
}

/// The directories of all threads of a process.
pub(crate) fn tasks(pid: Pid) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// The processes that carry the mark of a run, and are not yet reaped.
pub(crate) fn marked(run: u32) -> Vec<String> {
    let mark = format!("{MARK}={run}");
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let marked = entries.filter(|entry| {
        // Processes of others cannot be read, and any may end meanwhile.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    });
    marked.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
