//! Calls within calls: host, plugin, host, and so on down to the limit on depth (SPEC C6, R5, S3).

use std::sync::Arc;
use std::thread;

use rapace_core::GeometryConfig;
use rapace_session::{CallError, CallOptions, Code};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, word, words};
use rapace_tests::service::Service;

use crate::support::{FEW_DESCRIPTORS, FEW_SLOTS, Plugin, config};

const DEPTH: u64 = 16;

fn nesting(geometry: GeometryConfig) -> Plugin {
    let mut config = config();
    config.geometry = geometry;
    Plugin::start_with(config, &["serve"], Arc::new(Service::default()).router())
}

/// Threads on both sides nest calls to the limit, over and over.
#[track_caller]
fn check_nesting(geometry: GeometryConfig) {
    const THREADS: u64 = 6;
    const ROUNDS: u64 = 15;
    let plugin = nesting(geometry);
    assert_eq!(u64::from(plugin.peer().depth_max), DEPTH);
    let theirs = plugin.start_call(method::CALL_HOST, &words(&[THREADS, ROUNDS, method::NEST.into(), 100]));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let plugin = &plugin;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Some of them take slots at every depth.
                    let body = [words(&[DEPTH]), pattern(if round % 2 == 0 { 0 } else { 300 }, thread)].concat();
                    assert!(plugin.try_call(method::NEST, &body).unwrap() == body);
                }
            });
        }
    });
    assert_eq!(word(&theirs.wait().unwrap().body, 0), THREADS * ROUNDS);
    plugin.check_clean();
}

#[test]
fn nested_calls_reach_the_limit_at_the_default_geometry() {
    check_nesting(GeometryConfig::default());
}

#[test]
fn nested_calls_reach_the_limit_with_sixteen_slots() {
    check_nesting(FEW_SLOTS);
}

#[test]
fn nested_calls_reach_the_limit_with_sixteen_descriptors() {
    check_nesting(FEW_DESCRIPTORS);
}

#[test]
fn a_call_beyond_the_limit_is_refused_and_all_above_it_end() {
    let plugin = nesting(GeometryConfig::default());
    let error = plugin.try_call(method::NEST, &words(&[DEPTH + 1])).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.to_string().contains("nested 17 deep, but the peer takes 16"), "{error}");
    plugin.check_clean();
}

#[test]
fn each_sides_own_limit_counts() {
    let mut config = config();
    config.limits.depth_max = 4;
    let plugin = Plugin::start_with(config, &["serve", "depth=3"], Arc::new(Service::default()).router());
    // The plugin would be called at depth 5 by a host that takes 4.
    assert_eq!(plugin.try_call(method::NEST, &words(&[2])).unwrap(), words(&[2]));
    assert_eq!(plugin.try_call(method::NEST, &words(&[3])).unwrap(), words(&[3]));
    assert_eq!(plugin.try_call(method::NEST, &words(&[4])).unwrap(), words(&[4]));
    let error = plugin.try_call(method::NEST, &words(&[5])).unwrap_err();
    assert!(error.to_string().contains("nested 5 deep, but the peer takes 3"), "{error}");
}

#[test]
fn a_held_call_can_be_called_back_from_any_thread() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    let entered = plugin.start_call(method::ENTER, b"");
    let seen = thread::spawn(move || {
        let mut held = Vec::new();
        crate::support::eventually("the plugin has called back", || {
            held.extend(service.take_held());
            !held.is_empty()
        });
        let call = held.remove(0);
        // Depth 3: the one thread of the plugin waits at depth 1, and may run it.
        let answer = call.call_back(method::NEST, &words(&[3]), &CallOptions::new()).map(|reply| reply.body.to_vec());
        call.reply(b"");
        answer
    });
    entered.wait().unwrap();
    assert_eq!(seen.join().unwrap(), Ok::<_, CallError>(words(&[3])));
}
