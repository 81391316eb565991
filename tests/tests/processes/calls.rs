//! Unary calls, both ways at once.

use std::sync::{Arc, Barrier};
use std::thread;

use rapace_session::{CallOptions, WaitStrategy};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, word, words};
use rapace_tests::service::Service;

use crate::support::{Plugin, config, waiting};

/// So many threads on each side call the other side, and every body comes back.
#[track_caller]
fn check_both_ways(plugin: &Plugin, threads: u64, rounds: u64) {
    let theirs = plugin.start_call(method::CALL_HOST, &words(&[threads, rounds, method::ECHO.into(), 100]));
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for round in 0..rounds {
                    // Half of them fit a descriptor.
                    let body = pattern(if round % 2 == 0 { 16 } else { 5000 }, thread << 32 | round);
                    assert!(plugin.try_call(method::ECHO, &body).unwrap() == body);
                }
            });
        }
    });
    assert_eq!(word(&theirs.wait().unwrap().body, 0), threads * rounds);
    plugin.check_clean();
}

fn serving(arguments: &[&str]) -> Plugin {
    Plugin::start_with(config(), arguments, Arc::new(Service::default()).router())
}

#[test]
fn one_thread_on_each_side_calls_the_other() {
    check_both_ways(&serving(&["serve"]), 1, 2000);
}

#[test]
fn eight_threads_on_each_side_call_the_other() {
    check_both_ways(&serving(&["serve", "threads=2"]), 8, 250);
}

#[test]
fn sixteen_threads_on_each_side_call_the_other() {
    check_both_ways(&serving(&["serve", "threads=4"]), 16, 125);
}

#[test]
fn many_threads_share_a_session_that_parks() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(waiting(WaitStrategy::Park), &["serve", "wait=park"], service.router());
    check_both_ways(&plugin, 8, 100);
}

#[test]
fn lifecycle_calls_take_turns_on_channel_0_beside_the_others() {
    let plugin = serving(&["serve", "calls=1"]);
    // The only other channel is taken meanwhile.
    let held = plugin.start_call(method::HOLD, b"");
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let plugin = &plugin;
            scope.spawn(move || {
                for round in 0..50 {
                    let body = vec![thread; 10 * round];
                    let reply = plugin.call_lifecycle(method::INITIALIZE, &body, &CallOptions::new()).unwrap();
                    assert!(reply.body == body[..]);
                }
            });
        }
    });
    drop(held);
}

#[test]
fn the_last_of_many_waiters_gets_its_reply_too() {
    // Nobody serves here: whoever waits drains the ring, and must leave it to another one when its own reply has come.
    const THREADS: usize = 6;
    for (host, plugin) in [(WaitStrategy::Park, "wait=park"), (WaitStrategy::Adaptive, "wait=adaptive")] {
        let plugin = Plugin::start_with(waiting(host), &["serve", plugin], rapace_session::NoService);
        let barrier = Barrier::new(THREADS);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (plugin, barrier) = (&plugin, &barrier);
                scope.spawn(move || {
                    for round in 0..150u64 {
                        barrier.wait();
                        let body = words(&[thread as u64, round]);
                        assert_eq!(plugin.try_call(method::ECHO, &body).unwrap(), body, "round {round}");
                    }
                });
            }
        });
    }
}
