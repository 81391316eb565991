//! What travels beside a body: the time left, and metadata (SPEC C8 to C10).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rapace_session::{CallError, CallOptions, Code, Metadata, NoService};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, word, words};
use rapace_tests::service::Service;

use crate::support::{PATIENCE, Plugin, config, eventually};

/// Metadata of one pair that take so many bytes.
fn metadata(bytes: usize) -> Metadata {
    let mut metadata = Metadata::new();
    // Two lengths and a key of one byte stand before the value.
    metadata.insert("k", pattern(bytes - 5, 0)).unwrap();
    metadata
}

#[test]
fn a_handler_sees_the_time_that_is_left() {
    let plugin = Plugin::start(&["serve"]);
    assert_eq!(plugin.count(method::TIME_LEFT), u64::MAX);
    let options = CallOptions::new().deadline(PATIENCE);
    let left = Duration::from_nanos(word(&plugin.call(method::TIME_LEFT, b"", &options).unwrap().body, 0));
    assert!(left <= PATIENCE && left > PATIENCE / 2, "{left:?} of {PATIENCE:?}");
}

#[test]
fn a_call_that_is_not_answered_meets_its_deadline() {
    let plugin = Plugin::start(&["serve"]);
    let deadline = Duration::from_millis(100);
    let start = Instant::now();
    let error = plugin.call(method::HOLD, b"", &CallOptions::new().deadline(deadline)).unwrap_err();
    assert_eq!(error, CallError::DeadlineExceeded { waited: deadline });
    assert!(start.elapsed() >= deadline);
    // On a busy machine the handler has not begun, and then never does.
    assert!(plugin.count(method::RELEASE) <= 1);
    plugin.check_clean();
}

#[test]
fn the_default_timeout_of_the_session_is_a_deadline_too() {
    let mut config = config();
    config.timeouts.call = Duration::from_millis(100);
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    let error = plugin.try_call(method::HOLD, b"").unwrap_err();
    assert_eq!(error, CallError::DeadlineExceeded { waited: Duration::from_millis(100) });
}

#[test]
fn a_handler_hears_of_a_deadline_that_has_passed() {
    let plugin = Plugin::start(&["serve"]);
    let options = CallOptions::new().deadline(Duration::from_millis(50));
    // On a busy machine the handler may not begin in time, and then never does.
    let begun = (0..100).any(|_| {
        // Whether the handler notices first, or the caller gives up, is all the same.
        let _ = plugin.call(method::WATCH, b"", &options);
        word(&plugin.ask(method::WATCHED, &[]), 0) > 0
    });
    assert!(begun);
    eventually("the handler has noticed", || plugin.ask(method::WATCHED, &[]) == words(&[1, 1]));
    plugin.check_clean();
}

#[test]
fn a_call_whose_time_is_over_before_it_begins_is_not_run() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    // The only thread of the plugin waits in a handler for the host, so calls of the same depth have to wait.
    let entered = plugin.start_call(method::ENTER, b"");
    let mut held = Vec::new();
    let deadline = Duration::from_millis(50);
    let late = plugin.start(method::MARK, b"", &CallOptions::new().deadline(deadline)).unwrap();
    let sent = Instant::now();
    eventually("the plugin has called back", || {
        plugin.serve_for(Duration::from_millis(1));
        held.extend(service.take_held());
        !held.is_empty()
    });
    // A deeper call is served meanwhile, and comes behind the one that waits.
    held[0].call_back(method::ECHO, b"", &CallOptions::new()).unwrap();
    let arrived = Instant::now();
    eventually("the time is over for both sides", || sent.elapsed().min(arrived.elapsed()) > deadline);
    held.remove(0).reply(b"");
    entered.wait().unwrap();
    // Its caller has not given it up: the plugin alone decides, before it counts.
    assert_eq!(plugin.count(method::MARKS), 0);
    assert_eq!(late.wait().unwrap_err().code(), Code::DeadlineExceeded);
    plugin.check_clean();
}

#[test]
fn metadata_travel_both_ways() {
    let plugin = Plugin::start(&["serve"]);
    for bytes in [0, 10, 100, 5000] {
        let mut sent = Metadata::new();
        sent.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        sent.insert("binary", pattern(bytes, 1)).unwrap();
        let options = CallOptions::new().metadata(sent.clone()).deadline(PATIENCE);
        let reply = plugin.call(method::ECHO, &pattern(bytes, 2), &options).unwrap();
        assert_eq!((reply.metadata, reply.body.into_vec()), (sent, pattern(bytes, 2)));
    }
}

#[test]
fn metadata_over_the_peers_limit_fail_their_caller_alone() {
    let plugin = Plugin::start(&["serve", "metadata=1000"]);
    let error = plugin.call(method::ECHO, b"", &CallOptions::new().metadata(metadata(1001))).unwrap_err();
    assert_eq!(error, CallError::TooLarge { what: "metadata", found: 1001, bound: 1000 });
    let reply = plugin.call(method::ECHO, b"", &CallOptions::new().metadata(metadata(1000))).unwrap();
    assert_eq!(reply.metadata, metadata(1000));
    plugin.check_clean();
}

#[test]
fn metadata_of_a_reply_over_the_callers_limit_fail_their_call_alone() {
    let mut config = config();
    config.limits.metadata_bytes_max = 1000;
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    let error = plugin.try_call(method::METADATA, &words(&[1001])).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.to_string().contains("1001 bytes, but the caller takes 1000"), "{error}");
    let reply = plugin.call(method::METADATA, &words(&[1000]), &CallOptions::new()).unwrap();
    assert_eq!(reply.metadata.iter().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>(), 1000);
    plugin.check_clean();
}
