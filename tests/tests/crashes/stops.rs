//! Plugins that stop at a point, and go on later: meanwhile they are unresponsive to whoever calls them, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rapace_core::crash::Point;
use rapace_session::{CallOptions, Code, Config, PeerA, PeerState, Session, Status};
use rapace_tests::exercise::{Ledger, exercise};
use rapace_tests::method;
use rapace_tests::pattern::words;
use rapace_tests::service::Service;
use rapace_tests::snapshot::Snapshot;

use crate::case::{ARGUMENTS, Case, Phase, cases, config, phase};
use crate::census::{Alone, alone};
use crate::support::{PATIENCE, eventually, offer, peer, spawn, task_states};

pub(crate) const LIVENESS: Duration = Duration::from_millis(100);
/// Processes that are stopped at a time.
pub(crate) const AT_ONCE: usize = 4;

pub(crate) fn judging() -> Config {
    let mut config = config();
    config.timeouts.liveness = LIVENESS;
    // A plugin that stops while it starts goes on when somebody has noticed.
    config.timeouts.start = PATIENCE;
    config
}

pub(crate) fn is_stopped(pid: Pid) -> bool {
    let states = task_states(pid);
    !states.is_empty() && states.iter().all(|state| *state == 'T')
}

fn is_unresponsive(session: &Session<PeerA>) -> bool {
    matches!(session.peer_state(), PeerState::Unresponsive { .. })
}

pub(crate) fn goes_on(pid: Pid) {
    kill(pid, Signal::SIGCONT).unwrap();
}

/// A plugin that stops itself amid calls both ways.
fn check_stop(case: Case, options: &[&str]) {
    let (session, pid) = open(case, options);
    // Whoever calls it goes on for ever if this thread fails.
    let _guard = EndIfPanicking(&session);
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _guard = EndIfPanicking(&session);
        scope.spawn(|| {
            // Given up in the end.
            let _calls = session.start(method::EXERCISE, &words(&[u64::MAX]), &CallOptions::new());
            while !over.load(Ordering::SeqCst) && session.end().is_none() {
                exercise(&session, &ledger, 1);
            }
        });
        if phase(case.point) == Phase::Open {
            check_is_judged(&session, case, pid);
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!((ledger.wrong(), ledger.ends().len()), (Vec::new(), 0), "{case:?}: {:?}", ledger.ends());
    assert_eq!(ledger.begun(), ledger.done(), "{case:?}");
    close(&session, case, pid);
}

struct EndIfPanicking<'a>(&'a Session<PeerA>);

impl Drop for EndIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.reap(Duration::ZERO);
        }
    }
}

/// The session, and the plugin's process. It has gone on by then if it was to stop before.
fn open(case: Case, options: &[&str]) -> (Session<PeerA>, Pid) {
    let arguments = [&["serve"], &ARGUMENTS[..], options].concat();
    let (socket, child) = spawn(&mut case.peer(&arguments, "stop"));
    let pid = Pid::from_raw(child.id().cast_signed());
    let opening = thread::spawn(|| offer(socket, child, judging(), Arc::new(Service::default()).router()));
    if matches!(phase(case.point), Phase::PluginsStart | Phase::Start) {
        eventually(&format!("{case:?}: the plugin stops"), || is_stopped(pid));
        goes_on(pid);
    }
    (opening.join().unwrap().unwrap(), pid)
}

/// Stopped, it is unresponsive to whoever calls it; when it goes on it answers, and is responsive again.
fn check_is_judged(session: &Session<PeerA>, case: Case, pid: Pid) {
    eventually(&format!("{case:?}: the plugin stops amid calls"), || is_stopped(pid));
    thread::scope(|scope| {
        let _guard = EndIfPanicking(session);
        let call = scope.spawn(|| session.call(method::ECHO, b"meanwhile", &CallOptions::new()));
        eventually(&format!("{case:?}: the plugin is unresponsive"), || is_unresponsive(session));
        goes_on(pid);
        assert_eq!(call.join().unwrap().unwrap().body, b"meanwhile"[..], "{case:?}");
    });
    eventually(&format!("{case:?}: the plugin is responsive again"), || session.is_peer_alive());
}

/// The plugin closes the session, and ends by itself.
fn close(session: &Session<PeerA>, case: Case, pid: Pid) {
    let end = session.call(method::CLOSE, b"", &CallOptions::new()).unwrap_err().to_string();
    assert!(end.starts_with("the peer closed the session"), "{case:?}: {end}");
    if phase(case.point) == Phase::End {
        eventually(&format!("{case:?}: the plugin stops at its end"), || is_stopped(pid));
        goes_on(pid);
    }
    let exit = session.reap(PATIENCE).unwrap();
    assert_eq!(exit.code(), Some(5), "{case:?}: {exit}, but it has closed the session itself");
    assert_eq!(Snapshot::from(session.stats()).left_over(), 0, "{case:?}");
}

fn check_all(options: &[&str]) {
    let alone = alone();
    // Amid calls, which is where somebody judges.
    let is_first = |case: &Case| phase(case.point) == Phase::Open && case.passage == 1;
    let cases: Vec<_> = cases(Phase::HostsStart).into_iter().filter(|case| !is_first(case)).collect();
    check_cases(&alone, &cases, options);
}

fn check_cases(alone: &Alone, cases: &[Case], options: &[&str]) {
    for some in cases.chunks(AT_ONCE) {
        thread::scope(|scope| some.iter().for_each(|case| drop(scope.spawn(|| check_stop(*case, options)))));
        alone.before.check_nothing_is_left();
    }
}

#[test]
fn a_plugin_that_stops_at_any_point_is_unresponsive_until_it_goes_on() {
    check_all(&[]);
}

#[test]
fn a_plugin_of_tasks_that_stops_at_any_point_is_unresponsive_until_it_goes_on() {
    check_all(&["tokio=1"]);
}

/// A peer that has been rung owes progress until it makes some; it says so only when it is awake.
#[test]
fn a_plugin_that_stops_when_it_has_read_the_bell_is_unresponsive() {
    let alone = alone();
    let cases: Vec<_> = [Point::Beat, Point::PulseActive, Point::Disarmed]
        .into_iter()
        .flat_map(|point| (20..22).map(move |passage| Case { point, passage, behind: Some(Point::BellsRead) }))
        .collect();
    check_cases(&alone, &cases, &[]);
    check_cases(&alone, &cases, &["tokio=1"]);
}

/// Whether it was rung, or has woken for something of its own.
#[test]
fn a_plugin_that_stops_when_it_says_that_it_is_awake_is_unresponsive() {
    let alone = alone();
    let passages = |point| (10..34).map(move |passage| Case { point, passage, behind: None });
    let cases: Vec<_> = [Point::Disarmed, Point::PulseActive].into_iter().flat_map(passages).collect();
    check_cases(&alone, &cases, &[]);
    check_cases(&alone, &cases, &["tokio=1"]);
}

/// What has come before the sleep was announced was not rung for.
#[test]
fn a_plugin_that_was_called_while_it_fell_asleep_says_nothing_before_it_has_looked() {
    let alone = alone();
    let mut command = peer(&["serve", "wait=park"]);
    command.env("RAPACE_CRASH_AT", "after-reply:3:pass,before-arm:1:stop,pulse-dormant:1:stop");
    let (socket, child) = spawn(&mut command);
    let pid = Pid::from_raw(child.id().cast_signed());
    {
        let session = offer(socket, child, judging(), rapace_session::NoService).unwrap();
        let _guard = EndIfPanicking(&session);
        for _ in 0..3 {
            session.call(method::ECHO, b"", &CallOptions::new()).unwrap();
        }
        eventually("the plugin stops before it falls asleep", || is_stopped(pid));
        let bells = session.stats().link.bells_sent;
        thread::scope(|scope| {
            let _guard = EndIfPanicking(&session);
            let pending = session.start(method::ECHO, b"just now", &CallOptions::new()).unwrap();
            assert_eq!(session.stats().link.bells_sent, bells, "it is awake");
            goes_on(pid);
            let call = scope.spawn(|| pending.wait());
            eventually("the plugin stops when it is dormant", || is_stopped(pid));
            eventually("the call is answered, or its callee judged", || {
                call.is_finished() || is_unresponsive(&session)
            });
            goes_on(pid);
            assert_eq!(call.join().unwrap().unwrap().body, b"just now"[..]);
        });
        session.close(&Status::new(Code::Unavailable, "the test is over"));
        assert_eq!(session.reap(PATIENCE).unwrap().code(), Some(0));
    }
    alone.before.check_nothing_is_left();
}
