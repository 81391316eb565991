//! Calls that their caller gives up (SPEC C7, M4).

use std::sync::Arc;
use std::time::Duration;

use rapace_tests::method;
use rapace_tests::pattern::words;
use rapace_tests::service::Service;

use crate::support::{Plugin, config, eventually};

#[test]
fn a_dropped_call_reaches_its_handler() {
    let plugin = Plugin::start(&["serve"]);
    for round in 1..=20 {
        let call = plugin.start_call(method::WATCH, b"");
        let watched = || plugin.ask(method::WATCHED, &[]);
        eventually("the handler has begun", || watched() == words(&[round, round - 1]));
        drop(call);
        eventually("the handler has noticed", || watched() == words(&[round, round]));
    }
    plugin.check_clean();
}

#[test]
fn a_cancelled_call_keeps_its_channel_until_its_final_has_come() {
    let plugin = Plugin::start(&["serve"]);
    let held = plugin.start_call(method::HOLD, b"held");
    assert_eq!(plugin.count(method::HELD), 1);
    drop(held);
    assert_eq!(plugin.try_call(method::ECHO, b"").unwrap(), b"");
    assert_eq!(plugin.stats().calls_in_flight, 1);
    let there = plugin.peer_snapshot();
    assert_eq!(there.served_in_flight, 2, "the one that is held, and the one that asks");
    assert_eq!(plugin.count(method::RELEASE), 1);
    plugin.check_clean();
}

#[test]
fn a_cancelled_call_that_has_not_begun_is_never_run() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    // The only thread of the plugin waits in a handler for the host, so calls of the same depth have to wait.
    let entered = plugin.start_call(method::ENTER, b"");
    for _ in 0..10 {
        drop(plugin.start_call(method::MARK, b""));
    }
    eventually("only the first call is in flight", || {
        plugin.serve_for(Duration::from_millis(1));
        service.held() == 1 && plugin.stats().calls_in_flight == 1
    });
    assert_eq!(service.release(), 1);
    entered.wait().unwrap();
    assert_eq!(plugin.count(method::MARKS), 0);
    plugin.check_clean();
}

#[test]
fn a_cancelled_large_request_is_dropped_halfway() {
    let plugin = Plugin::start(&["serve"]);
    for _ in 0..10 {
        // More than the pool, so that most of it waits here.
        drop(plugin.start_call(method::MARK, &vec![7; 8 << 20]));
        assert_eq!(plugin.try_call(method::ECHO, &[1; 5000]).unwrap(), [1; 5000]);
    }
    assert_eq!(plugin.count(method::MARKS), 0);
    plugin.check_clean();
}

#[test]
fn replies_to_cancelled_calls_are_dropped_and_their_slots_return() {
    let plugin = Plugin::start(&["serve"]);
    for _ in 0..50 {
        let calls: Vec<_> = (0..10).map(|_| plugin.start_call(method::HOLD, &[7; 20_000])).collect();
        assert_eq!(plugin.count(method::HELD), 10);
        drop(calls);
        assert_eq!(plugin.count(method::RELEASE), 10);
    }
    plugin.check_clean();
}

#[test]
fn a_call_that_crosses_its_cancel_is_no_fault() {
    let plugin = Plugin::start(&["serve", "threads=2"]);
    for round in 0..2000u32 {
        let call = plugin.start_call(method::ECHO, &round.to_le_bytes());
        if round % 2 == 0 {
            drop(call);
        } else {
            drop(call.try_wait());
        }
    }
    plugin.check_clean();
}

#[test]
fn a_cancel_of_the_plugin_reaches_a_handler_of_the_host() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    let entered = plugin.start_call(method::ENTER, b"");
    eventually("a call is held", || {
        plugin.serve_for(Duration::from_millis(1));
        service.held() == 1
    });
    // The plugin's own call to the host is another one, and is not given up.
    drop(entered);
    let call = service.take_held().remove(0);
    assert!(!call.is_cancelled());
    plugin.signal(nix::sys::signal::Signal::SIGKILL);
    eventually("the end of the session is a cancel", || {
        plugin.serve_for(Duration::from_millis(1));
        call.is_cancelled()
    });
}
