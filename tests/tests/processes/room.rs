//! A full ring, no free slots, a full table of calls: what waits, for how long, and that nothing is lost.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
use rapace_session::{CallError, CallOptions, NoService, PeerState, PendingCall, WaitStrategy};
use rapace_tests::method;
use rapace_tests::pattern::pattern;
use rapace_tests::service::Service;

use crate::support::{FEW_DESCRIPTORS, Plugin, config, eventually, waiting, while_serving};

/// A peer that has stopped when it had nothing to do, and has said that it has taken all that was sent.
#[track_caller]
fn stopped() -> Plugin {
    let plugin = Plugin::start(&["serve"]);
    plugin.try_call(method::ECHO, b"").unwrap();
    eventually("the plugin is dormant", || plugin.peer_state() == PeerState::Dormant);
    plugin.signal(SIGSTOP);
    plugin
}

/// Sends requests until there is no room.
#[track_caller]
fn fill(plugin: &Plugin, bytes: usize) -> Vec<(Vec<u8>, PendingCall)> {
    let mut calls = Vec::new();
    loop {
        let body = pattern(bytes, calls.len() as u64);
        match plugin.try_start(method::ECHO, &body, &CallOptions::new()) {
            Ok(call) => calls.push((body, call)),
            Err(CallError::WouldBlock) => return calls,
            Err(other) => panic!("{other}"),
        }
    }
}

fn check_all(calls: Vec<(Vec<u8>, PendingCall)>) {
    for (body, call) in calls {
        assert!(call.wait().unwrap().body == body[..]);
    }
}

#[test]
fn a_full_ring_blocks_and_loses_nothing() {
    let plugin = stopped();
    let calls = fill(&plugin, 8);
    assert_eq!(calls.len(), 64 - 64 / 4 - 64 / 8, "what SPEC R5 leaves for requests");
    plugin.signal(SIGCONT);
    check_all(calls);
    plugin.check_clean();
}

#[test]
fn slots_run_out_and_nothing_is_lost() {
    let plugin = stopped();
    let calls = fill(&plugin, 25 * 4096);
    assert_eq!(calls.len(), (509 - 63) / 25);
    plugin.signal(SIGCONT);
    check_all(calls);
    plugin.check_clean();
}

#[test]
fn a_caller_without_room_waits_for_it() {
    let plugin = stopped();
    let calls = fill(&plugin, 8);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..4u8)
            .map(|index| {
                let plugin = &plugin;
                scope.spawn(move || assert_eq!(plugin.try_call(method::ECHO, &[index; 100]).unwrap(), [index; 100]))
            })
            .collect();
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        plugin.signal(SIGCONT);
    });
    check_all(calls);
    plugin.check_clean();
}

#[test]
fn a_caller_without_room_meets_its_deadline() {
    let plugin = stopped();
    let calls = fill(&plugin, 8);
    let deadline = Duration::from_millis(100);
    let start = Instant::now();
    let error = plugin.start(method::ECHO, b"", &CallOptions::new().deadline(deadline)).unwrap_err();
    assert_eq!(error, CallError::NoRoom { waited: deadline });
    assert!(start.elapsed() >= deadline);
    plugin.signal(SIGCONT);
    check_all(calls);
    plugin.check_clean();
}

#[test]
fn replies_and_control_pass_requests_that_fill_everything() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    let entered = plugin.start_call(method::ENTER, b"");
    eventually("the plugin has called back", || {
        plugin.serve_for(Duration::from_millis(1));
        service.held() == 1
    });
    plugin.signal(SIGSTOP);
    let mut calls = fill(&plugin, 25 * 4096);
    calls.extend(fill(&plugin, 8));
    let before = plugin.stats().link.frames_sent;
    // A reply, larger than a descriptor, and then a cancel.
    service.take_held().remove(0).reply(&[7; 5000]);
    assert_eq!((plugin.stats().link.frames_sent, plugin.stats().outbound_bytes), (before + 1, 0));
    drop(calls.pop());
    assert_eq!((plugin.stats().link.frames_sent, plugin.stats().outbound_bytes), (before + 2, 0));
    plugin.signal(SIGCONT);
    assert_eq!(entered.wait().unwrap().body.to_vec(), [7; 5000]);
    check_all(calls);
    plugin.check_clean();
}

#[test]
fn many_callers_share_what_little_room_there_is() {
    let mut config = config();
    config.geometry = FEW_DESCRIPTORS;
    let plugin = Plugin::start_with(config, &["serve", "calls=3"], Arc::new(Service::default()).router());
    thread::scope(|scope| {
        for thread in 0..8 {
            let plugin = &plugin;
            scope.spawn(move || {
                for round in 0..100 {
                    let body = pattern(if round % 3 == 0 { 700 } else { 10 }, thread << 32 | round);
                    assert_eq!(plugin.try_call(method::ECHO, &body).unwrap(), body);
                }
            });
        }
    });
    plugin.check_clean();
}

#[test]
fn a_full_table_of_calls_blocks_until_one_ends() {
    let plugin = Plugin::start(&["serve", "calls=2"]);
    let _held = plugin.start_call(method::HOLD, b"");
    assert_eq!(plugin.count(method::HELD), 1);
    let second = plugin.start_call(method::HOLD, b"second");
    let full = plugin.try_start(method::ECHO, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(full, CallError::WouldBlock);
    let options = CallOptions::new().deadline(Duration::from_millis(100));
    let error = plugin.call(method::ECHO, b"", &options).unwrap_err();
    assert_eq!(error, CallError::NoRoom { waited: Duration::from_millis(100) });
    drop(second);
    // Cancelled, but with its handler: its channel is not free before the handler has answered.
    let full = plugin.try_start(method::ECHO, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(full, CallError::WouldBlock);
}

#[test]
fn a_caller_waits_for_the_table_beside_a_thread_that_serves() {
    // The thread that serves drains the ring. Whoever waits for a place in the table must hear of one all the same,
    // though no room in the ring or the slots is news.
    for (host, plugin) in [(WaitStrategy::Park, "wait=park"), (WaitStrategy::Spin, "wait=spin")] {
        let plugin = Plugin::start_with(waiting(host), &["serve", "calls=1", plugin], NoService);
        while_serving(&plugin, |_| {
            thread::scope(|scope| {
                for thread in 0..3u64 {
                    let plugin = &plugin;
                    scope.spawn(move || {
                        for round in 0..100 {
                            let body = pattern(16, thread << 32 | round);
                            assert_eq!(plugin.try_call(method::ECHO, &body).unwrap(), body);
                        }
                    });
                }
            });
        });
    }
}
