//! Hosts that stop at a point, and go on later: meanwhile their plugin, which is this process, keeps its deadlines, knows
//! that it is not answered, and may leave; nothing is lost.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rapace_core::socket::{Socket, SocketError};
use rapace_session::{
    CallError, CallOptions, Code, Config, Handshake, HandshakeError, PeerB, PeerState, PendingCall, Session, Status,
};
use rapace_tests::exercise::{Ledger, exercise};
use rapace_tests::method;
use rapace_tests::pattern::words;
use rapace_tests::service::Service;
use rapace_tests::snapshot::Snapshot;

use crate::case::{ARGUMENTS, Case, Phase, cases, phase};
use crate::census::{Alone, alone};
use crate::stops::{AT_ONCE, LIVENESS, goes_on, is_stopped, judging};
use crate::support::eventually;

/// How a host ends, by its exit code: its plugin has closed the session, there was none yet, the plugin is gone, it has
/// closed the session itself.
const PLUGIN_CLOSED: i32 = 0;
const NO_SESSION: i32 = 1;
const PLUGIN_GONE: i32 = 3;
const CLOSED: i32 = 5;

/// A host that stops itself. Dropped, it is killed.
struct Host {
    child: Child,
    case: Case,
}

impl Host {
    /// The host, with its complaints at this place, and its plugin's socket.
    fn start(case: Case, options: &[&str], complaints: Stdio) -> (Self, Socket) {
        let arguments = [&["plugins-host"], &ARGUMENTS[..], options].concat();
        // The first end is a host's, which takes no descriptors.
        let (theirs, ours) = Socket::pair().unwrap();
        let mut command = case.peer(&arguments, "stop");
        let child = command.stdin(Stdio::from(theirs.into_fd())).stderr(complaints).spawn().unwrap();
        (Self { child, case }, ours)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    #[track_caller]
    fn stops(&self) {
        eventually(&format!("{:?}: the host stops", self.case), || is_stopped(self.pid()));
    }

    fn goes_on(&self) {
        goes_on(self.pid());
    }

    /// Its session. It has gone on by then if it was to stop before.
    fn open(&self, socket: Socket) -> Session<PeerB> {
        thread::scope(|scope| {
            let opening = scope.spawn(|| accept(socket, judging()));
            if self.stops_before_its_session() {
                let _guard = KillIfPanicking(self.pid());
                self.stops();
                self.goes_on();
            }
            opening.join().unwrap().unwrap_or_else(|error| panic!("{:?}: {error}", self.case))
        })
    }

    fn stops_before_its_session(&self) -> bool {
        matches!(phase(self.case.point), Phase::HostsStart | Phase::Start)
    }

    #[track_caller]
    fn check_exit(mut self, due: &[i32]) {
        let exit = self.child.wait().unwrap();
        assert!(exit.code().is_some_and(|code| due.contains(&code)), "{:?}: {exit}", self.case);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It has been waited for, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whoever calls it goes on for ever if the thread that has this fails.
struct KillIfPanicking(Pid);

impl Drop for KillIfPanicking {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

fn accept(socket: Socket, config: Config) -> Result<Session<PeerB>, HandshakeError> {
    Handshake::<PeerB>::accept(socket, config)?.finish(Arc::new(Service::default()).router())
}

/// Has the host make calls too.
fn have_exercised(session: &Session<PeerB>) -> Result<PendingCall, CallError> {
    session.start(method::EXERCISE, &words(&[u64::MAX]), &CallOptions::new().deadline(Duration::MAX))
}

/// A host that stops amid calls both ways, and a plugin that bears with it.
fn check_stop(case: Case, options: &[&str]) {
    let (host, socket) = Host::start(case, options, Stdio::inherit());
    let session = host.open(socket);
    thread::scope(|scope| {
        let _guard = KillIfPanicking(host.pid());
        scope.spawn(|| session.serve());
        check_calls(&session, &host);
        close(&session, &host);
    });
    assert_eq!(Snapshot::from(session.stats()).left_over(), 0, "{case:?}");
    drop(session);
    host.check_exit(&[CLOSED]);
}

fn check_calls(session: &Session<PeerB>, host: &Host) {
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _guard = KillIfPanicking(host.pid());
        scope.spawn(|| {
            // Given up in the end.
            let _calls = have_exercised(session);
            while !over.load(Ordering::SeqCst) && session.end().is_none() {
                exercise(session, &ledger, 1);
            }
        });
        if phase(host.case.point) == Phase::Open {
            check_is_judged(session, host);
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!((ledger.wrong(), ledger.ends().len()), (Vec::new(), 0), "{:?}: {:?}", host.case, ledger.ends());
    assert_eq!(ledger.begun(), ledger.done(), "{:?}", host.case);
}

/// While it stands, a call ends at its deadline, and one that has time waits; when it goes on it answers that.
fn check_is_judged(session: &Session<PeerB>, host: &Host) {
    host.stops();
    let case = host.case;
    thread::scope(|scope| {
        let _guard = KillIfPanicking(host.pid());
        let call = scope.spawn(|| session.call(method::ECHO, b"meanwhile", &CallOptions::new()));
        let brief = CallOptions::new().deadline(LIVENESS);
        let error = session.call(method::ECHO, b"in vain", &brief).unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded, "{case:?}: {error}");
        eventually(&format!("{case:?}: the host is unresponsive"), || {
            matches!(session.peer_state(), PeerState::Unresponsive { .. })
        });
        host.goes_on();
        assert_eq!(call.join().unwrap().unwrap().body, b"meanwhile"[..], "{case:?}");
    });
    eventually(&format!("{case:?}: the host is responsive again"), || session.is_peer_alive());
}

/// The host closes the session.
fn close(session: &Session<PeerB>, host: &Host) {
    thread::scope(|scope| {
        let _guard = KillIfPanicking(host.pid());
        let call = scope.spawn(|| session.call(method::CLOSE, b"", &CallOptions::new()));
        if phase(host.case.point) == Phase::End {
            host.stops();
            host.goes_on();
        }
        let end = call.join().unwrap().unwrap_err().to_string();
        assert!(end.starts_with("the peer closed the session"), "{:?}: {end}", host.case);
    });
}

/// A host that stops amid calls both ways, and a plugin that has enough of it: it leaves while its host stands still.
fn check_leave(case: Case, options: &[&str]) {
    let (host, socket) = Host::start(case, options, Stdio::inherit());
    let session = host.open(socket);
    let ledger = Ledger::default();
    thread::scope(|scope| {
        let _guard = KillIfPanicking(host.pid());
        scope.spawn(|| session.serve());
        scope.spawn(|| {
            let _calls = have_exercised(&session);
            exercise(&session, &ledger, u64::MAX);
        });
        host.stops();
        session.close(&Status::new(Code::Unavailable, "the plugin leaves"));
    });
    assert_eq!((ledger.wrong(), ledger.begun()), (Vec::new(), ledger.done()), "{case:?}");
    assert_eq!(Snapshot::from(session.stats()).left_over(), 0, "{case:?}");
    drop(session);
    assert!(is_stopped(host.pid()), "{case:?}");
    host.goes_on();
    // One that finds no room for its last word does without (SPEC X4).
    host.check_exit(&[PLUGIN_CLOSED, PLUGIN_GONE]);
}

/// A host that stops before there is a session, and a plugin that waits for no longer than it was told to.
fn check_start(case: Case) {
    let mut config = judging();
    config.timeouts.start = 2 * LIVENESS;
    // It says that it has no plugin.
    let (host, socket) = Host::start(case, &[], Stdio::null());
    match accept(socket, config) {
        Err(HandshakeError::TimedOut { .. } | HandshakeError::Socket(SocketError::DeadlinePassed)) => {
            host.goes_on();
            // It may have all that it needs, while its plugin lacks a word.
            host.check_exit(&[NO_SESSION, PLUGIN_GONE]);
        }
        // It stops when it has all that its plugin needs.
        Ok(session) => {
            host.stops();
            drop(session);
            host.goes_on();
            host.check_exit(&[PLUGIN_CLOSED]);
        }
        Err(error) => panic!("{case:?}: {error}"),
    }
}

fn check_cases(alone: &Alone, cases: &[Case], check: impl Fn(Case) + Sync) {
    for some in cases.chunks(AT_ONCE) {
        thread::scope(|scope| some.iter().for_each(|case| drop(scope.spawn(|| check(*case)))));
        alone.before.check_nothing_is_left();
    }
}

/// All points of a host; those amid calls are passed for the first time before somebody judges.
fn points_of_a_host() -> Vec<Case> {
    let is_first = |case: &Case| phase(case.point) == Phase::Open && case.passage == 1;
    cases(Phase::PluginsStart).into_iter().filter(|case| !is_first(case)).collect()
}

#[test]
fn a_plugin_bears_with_a_host_that_stops_at_any_point() {
    let alone = alone();
    check_cases(&alone, &points_of_a_host(), |case| check_stop(case, &[]));
}

#[test]
fn a_plugin_bears_with_a_host_of_tasks_that_stops_at_any_point() {
    let alone = alone();
    check_cases(&alone, &points_of_a_host(), |case| check_stop(case, &["tokio=1"]));
}

#[test]
fn a_plugin_can_leave_a_host_that_stands_still_at_any_point() {
    let alone = alone();
    let is_open = |case: &Case| phase(case.point) == Phase::Open;
    let cases: Vec<_> = points_of_a_host().into_iter().filter(is_open).collect();
    check_cases(&alone, &cases, |case| check_leave(case, &[]));
}

#[test]
fn a_plugin_gives_up_a_host_that_stops_before_there_is_a_session() {
    let alone = alone();
    let is_before = |case: &Case| matches!(phase(case.point), Phase::HostsStart | Phase::Start);
    let cases: Vec<_> = points_of_a_host().into_iter().filter(is_before).collect();
    check_cases(&alone, &cases, check_start);
}
