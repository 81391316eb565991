//! A plugin that lies in an open session: each rule that it breaks is found (SPEC section 15).

use std::time::Duration;

use rapace_session::{CallOptions, Config, Fault, FaultPolicy, NoService, SessionEnd};
use rapace_tests::lie::Lie;
use rapace_tests::method;
use rapace_tests::pattern::words;

use crate::support::{PATIENCE, Plugin, config, eventually, sleeps, task_states};

fn liar(faults: FaultPolicy) -> Plugin {
    Plugin::start_with(Config { faults, ..config() }, &["lie"], NoService)
}

/// Lets the peer break a rule, and does all of what could bring that to light until the session has ended.
#[track_caller]
fn check_end(plugin: &Plugin, lie: Lie) {
    // It lies while nobody here takes note.
    eventually("the liar waits", || task_states(plugin.pid()) == ['S']);
    let before = sleeps(plugin.pid());
    let _call = plugin.start_call(method::LIE, &words(&[lie.number(), 1]));
    eventually("the liar has lied", || sleeps(plugin.pid()) > before && task_states(plugin.pid()) == ['S']);
    let much = vec![0; 1 << 20];
    let soon = CallOptions::new().deadline(Duration::from_millis(50));
    eventually(&format!("the session ends by {lie:?}"), || {
        plugin.peer_state();
        let _ = plugin.call(method::ECHO, &much, &soon);
        plugin.end().is_some()
    });
    match plugin.end().as_deref() {
        Some(SessionEnd::Fault(fault)) => assert_eq!(fault.rule(), lie.rule(), "{fault}"),
        other => panic!("{lie:?}: {other:?}"),
    }
}

#[test]
fn the_first_broken_rule_ends_the_session() {
    let bystander = Plugin::start(&["serve"]);
    for lie in Lie::ALL {
        let plugin = liar(FaultPolicy::End);
        check_end(&plugin, lie);
        assert_eq!(plugin.snapshot().left_over(), 0);
        // SPEC F1: the liar sees the end of the socket, and goes of its own accord.
        assert_eq!(plugin.reap(PATIENCE).unwrap().code(), Some(0));
        assert_eq!(bystander.try_call(method::ECHO, b"unhurt").unwrap(), b"unhurt");
    }
    bystander.check_clean();
}

#[test]
fn a_tolerant_session_goes_on_until_the_fourth_broken_rule() {
    for lie in Lie::ALL.into_iter().filter(|lie| lie.is_tolerable()) {
        let plugin = liar(FaultPolicy::Tolerate(3));
        plugin.ask(method::LIE, &[lie.number(), 3]);
        assert_eq!((plugin.stats().faults, plugin.end()), (3, None), "{lie:?}");
        plugin.ask(method::LIE, &[lie.number(), 0]);
        check_end(&plugin, lie);
    }
}

#[test]
fn no_session_tolerates_a_rule_that_its_cursors_need() {
    for lie in Lie::ALL.into_iter().filter(|lie| !lie.is_tolerable()) {
        check_end(&liar(FaultPolicy::Tolerate(3)), lie);
    }
}

#[test]
fn counters_do_not_hide_a_broken_rule() {
    let plugin = liar(FaultPolicy::End);
    // It never returns this run; then it says to return another one.
    plugin.try_call(method::ECHO, &[0; 5000]).unwrap();
    plugin.ask(method::LIE, &[Lie::S7.number(), 1]);
    plugin.stats();
    eventually("the session has ended", || {
        let soon = CallOptions::new().deadline(Duration::from_millis(10));
        let _ = plugin.call(method::ECHO, &vec![0; 1 << 20], &soon);
        plugin.end().is_some()
    });
    let end = plugin.end().unwrap();
    assert!(matches!(&*end, SessionEnd::Fault(Fault::Link(fault)) if fault.rule() == "S7"), "{end}");
}
