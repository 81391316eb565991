//! Bodies of all sizes, both ways, and what happens to those that are too large (SPEC section 12).

use std::sync::Arc;
use std::thread;

use rapace_session::{CallError, Code, NoService, Status, WaitStrategy};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, word, words};
use rapace_tests::service::Service;

use crate::support::{FEW_DESCRIPTORS, FEW_SLOTS, Plugin, config, eventually, waiting, while_serving};

const MIB: usize = 1 << 20;
/// Slots of the default geometry, and those of them that requests may use.
const POOL: usize = 509 * 4096;
const REQUEST_POOL: usize = (509 - 63) * 4096;

#[track_caller]
fn check_echo(plugin: &Plugin, bytes: usize) {
    let body = pattern(bytes, bytes as u64);
    assert!(plugin.try_call(method::ECHO, &body).unwrap() == body, "{bytes} bytes");
}

#[track_caller]
fn code_of(result: Result<Vec<u8>, CallError>) -> (Code, String) {
    match result.map(|body| body.len()) {
        Err(CallError::Status(Status { code, message, .. })) => (code, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bodies_of_all_sizes_come_back() {
    let plugin = Plugin::start(&["serve"]);
    for bytes in [0, 1, 24, 25, 4096, 4097, REQUEST_POOL, REQUEST_POOL + 1, POOL, POOL + 1, 16 * MIB] {
        check_echo(&plugin, bytes);
    }
    plugin.check_clean();
}

#[test]
fn bodies_of_all_sizes_come_back_to_the_plugin() {
    let plugin = Plugin::start_with(config(), &["serve"], Arc::new(Service::default()).router());
    for bytes in [0, 1, 16, 17, 4096, 4097, POOL, 16 * MIB] {
        let good = plugin.ask(method::CALL_HOST, &[1, 1, method::ECHO.into(), bytes as u64]);
        assert_eq!(word(&good, 0), 1, "{bytes} bytes");
    }
    plugin.check_clean();
}

#[test]
fn large_bodies_pass_through_the_smallest_segments() {
    for geometry in [FEW_SLOTS, FEW_DESCRIPTORS] {
        let mut config = config();
        config.geometry = geometry;
        let plugin = Plugin::start_with(config, &["serve"], NoService);
        check_echo(&plugin, MIB);
        plugin.check_clean();
    }
}

#[test]
fn large_bodies_of_many_threads_do_not_mix() {
    let plugin = Plugin::start_with(config(), &["serve", "threads=2"], Arc::new(Service::default()).router());
    let theirs = plugin.start_call(method::CALL_HOST, &words(&[3, 3, method::ECHO.into(), 3 * MIB as u64]));
    thread::scope(|scope| {
        for thread in 0..3 {
            let plugin = &plugin;
            scope.spawn(move || (0..3).for_each(|round| check_echo(plugin, 3 * MIB + 3 * thread + round)));
        }
    });
    assert_eq!(word(&theirs.wait().unwrap().body, 0), 9);
    plugin.check_clean();
}

#[test]
fn a_large_request_goes_on_while_another_thread_sleeps_on_the_session() {
    // Threads that serve are asleep, with nothing to send, when another one queues more than there is room for.
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(waiting(WaitStrategy::Park), &["serve", "wait=park"], service.router());
    while_serving(&plugin, |_| {
        for round in 0..10 {
            check_echo(&plugin, 8 * MIB + round);
        }
        assert_eq!(plugin.ask(method::CALL_HOST, &[1, 10, method::ECHO.into(), 8 * MIB as u64]), words(&[10]));
    });
}

#[test]
fn a_large_reply_of_another_thread_goes_on_while_the_server_sleeps() {
    let plugin = Plugin::start_with(waiting(WaitStrategy::Park), &["serve", "wait=park"], NoService);
    for round in 0..10 {
        assert!(plugin.ask(method::BYTES_LATER, &[8 * MIB as u64, round]) == pattern(8 * MIB, round));
    }
    plugin.check_clean();
}

#[test]
fn a_request_over_the_peers_limit_fails_its_caller_alone() {
    let plugin = Plugin::start(&["serve", "message=5000"]);
    let held = plugin.start_call(method::HOLD, b"meanwhile");
    let error = plugin.try_call(method::ECHO, &[0; 5001]).unwrap_err();
    assert_eq!(error, CallError::TooLarge { what: "body", found: 5001, bound: 5000 });
    check_echo(&plugin, 5000);
    assert_eq!(plugin.count(method::RELEASE), 1);
    assert_eq!(held.wait().unwrap().body.to_vec(), b"meanwhile");
    plugin.check_clean();
}

#[test]
fn a_reply_over_the_callers_limit_fails_its_call_alone() {
    let mut config = config();
    config.limits.message_bytes_max = 5000;
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    let (code, message) = code_of(plugin.try_call(method::BYTES, &words(&[5001, 0])));
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(message, "reply has 5001 bytes, but the caller takes 5000");
    check_echo(&plugin, 5000);
    plugin.check_clean();
}

#[test]
fn requests_over_the_bound_on_what_is_kept_fail_alone() {
    let plugin = Plugin::start(&["serve", "message=100000", "metadata=0", "inbound=100000"]);
    // Small enough that a plugin copies them: what it reads in place it does not keep.
    let held: Vec<_> = (0..15).map(|_| plugin.start_call(method::HOLD, &[7; 4000])).collect();
    let (code, message) = code_of(plugin.try_call(method::ECHO, &[0; 40_001]));
    assert_eq!(code, Code::ResourceExhausted);
    assert!(message.contains("60000") && message.contains("40001") && message.contains("100000"), "{message}");
    check_echo(&plugin, 40_000);
    assert_eq!(plugin.count(method::RELEASE), 15);
    held.into_iter().for_each(|held| assert_eq!(held.wait().unwrap().body.len(), 4000));
    check_echo(&plugin, 100_000);
    plugin.check_clean();
}

#[test]
fn replies_over_the_bound_on_what_is_kept_fail_alone() {
    let mut config = config();
    config.limits.message_bytes_max = 100_000;
    config.limits.metadata_bytes_max = 0;
    config.limits.inbound_bytes_max = 100_000;
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    let kept = plugin.start_call(method::BYTES, &words(&[60_000, 1]));
    let refused = plugin.start_call(method::BYTES, &words(&[40_001, 2]));
    // A later answer, so that both replies have come and nobody has taken the first.
    plugin.count(method::HELD);
    assert_eq!(plugin.stats().inbound_bytes, 60_000);
    let (code, message) = code_of(refused.wait().map(|reply| reply.body.into_vec()));
    assert_eq!(code, Code::ResourceExhausted);
    assert!(message.contains("60000") && message.contains("40001"), "{message}");
    assert!(kept.wait().unwrap().body.to_vec() == pattern(60_000, 1));
    check_echo(&plugin, 100_000);
    plugin.check_clean();
}

#[test]
fn replies_over_the_bound_on_what_waits_fail_alone() {
    // The plugin may keep 100,000 bytes that wait for room, and the host makes none.
    let plugin = Plugin::start(&["serve", "outbound=100000"]);
    let calls: Vec<_> = (0..5).map(|seed| plugin.start_call(method::BYTES, &words(&[MIB as u64, seed]))).collect();
    // Nobody takes frames here until the plugin has answered all of them.
    eventually("all are answered", || plugin_is_idle(&plugin));
    let results: Vec<_> = calls.into_iter().map(|call| call.wait().map(|reply| reply.body.into_vec())).collect();
    // One finds room, and one may wait however large it is.
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 3);
    for (seed, result) in (0..).zip(results) {
        match result {
            Ok(body) => assert!(body == pattern(MIB, seed)),
            Err(_) => assert_eq!(code_of(result).0, Code::ResourceExhausted),
        }
    }
    plugin.check_clean();
}

/// Whether the plugin sleeps: it has taken all that was sent, and has answered or put off all of it.
fn plugin_is_idle(plugin: &Plugin) -> bool {
    let states = crate::support::task_states(plugin.pid());
    plugin.peer_state() == rapace_session::PeerState::Dormant && states.iter().all(|state| *state == 'S')
}
