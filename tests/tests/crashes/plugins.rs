//! Plugins that crash.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;

use rapace_session::{CallOptions, HandshakeError, PeerA, Session};
use rapace_tests::exercise::{Ledger, exercise, have_exercised};
use rapace_tests::method;
use rapace_tests::service::Service;
use rapace_tests::snapshot::Snapshot;

use crate::case::{ARGUMENTS, Case, Phase, ROUNDS, cases, config, phase};
use crate::census::{Census, alone, count};
use crate::support::{PATIENCE, Plugin, offer, spawn};

fn was_killed(exit: ExitStatus) -> bool {
    exit.signal() == Some(9)
}

/// A plugin that kills itself amid calls both ways.
#[track_caller]
fn check_kill(before: &Census, case: Case, options: &[&str]) {
    let arguments = [&["serve"], &ARGUMENTS[..], options].concat();
    let (socket, child) = spawn(&mut case.peer(&arguments, "kill"));
    match offer(socket, child, config(), Arc::new(Service::default()).router()) {
        Ok(session) => check_calls(&session, case),
        // The exit code of a process may come late.
        Err(HandshakeError::PeerGone(exit)) => assert!(exit.is_none_or(was_killed), "{case:?}: {exit:?}"),
        Err(error) => panic!("{case:?}: {error}"),
    }
    before.check_nothing_is_left();
}

/// Calls until the plugin has crashed, at the latest when it is to close.
fn check_calls(session: &Session<PeerA>, case: Case) {
    let ledger = Ledger::default();
    thread::scope(|scope| {
        scope.spawn(|| have_exercised(session, &ledger, ROUNDS));
        for _ in 0..2 {
            scope.spawn(|| exercise(session, &ledger, ROUNDS));
        }
    });
    if session.end().is_none() {
        assert_eq!(phase(case.point), Phase::End, "{case:?} was not passed in {} calls", ledger.begun());
        ledger.note(|| session.call(method::CLOSE, b"", &CallOptions::new()));
    }
    let exit = session.reap(PATIENCE).unwrap();
    assert!(was_killed(exit), "{case:?}: {exit}");
    assert_eq!(ledger.wrong(), Vec::<String>::new(), "{case:?}");
    assert_eq!(ledger.begun(), ledger.done(), "{case:?}");
    let end = session.end().unwrap().to_string();
    let due = if phase(case.point) == Phase::End { "the peer closed the session" } else { "the peer is gone" };
    assert!(end.starts_with(due), "{case:?}: {end}");
    assert!(ledger.ends().iter().all(|other| *other == end), "{case:?}: {:?}", ledger.ends());
    assert_eq!(Snapshot::from(session.stats()).left_over(), 0, "{case:?}");
}

fn check_all(options: &[&str]) {
    let alone = alone();
    let bystander = Plugin::start_with(config(), &[&["serve"], &ARGUMENTS[..]].concat(), rapace_session::NoService);
    let before = count();
    for case in cases(Phase::HostsStart) {
        check_kill(&before, case, options);
        assert_eq!(bystander.try_call(method::ECHO, b"unhurt").unwrap(), b"unhurt");
    }
    bystander.check_clean();
    drop(bystander);
    alone.before.check_nothing_is_left();
}

#[test]
fn a_plugin_that_is_killed_at_any_point_harms_nobody() {
    check_all(&[]);
}

#[test]
fn a_plugin_of_tasks_that_is_killed_at_any_point_harms_nobody() {
    check_all(&["tokio=1"]);
}
