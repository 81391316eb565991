//! What a call gets when its handler does not simply reply.

use std::sync::Arc;

use rapace_session::{CallError, CallOptions, Code, IncomingCall, NoService, Status};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, word};
use rapace_tests::service::Service;

use crate::support::{Plugin, config};

#[track_caller]
fn check_code(plugin: &Plugin, method: u32, code: Code, text: &str) {
    match plugin.try_call(method, b"") {
        Err(CallError::Status(status)) => {
            assert_eq!(status.code, code, "{status}");
            assert!(status.message.contains(text), "{status}");
        }
        other => panic!("{other:?}"),
    }
    // The session goes on.
    assert_eq!(plugin.try_call(method::ECHO, b"on").unwrap(), b"on");
}

#[test]
fn an_unknown_method_is_unimplemented() {
    check_code(&Plugin::start(&["serve"]), method::UNKNOWN, Code::Unimplemented, "999");
}

#[test]
fn a_method_of_a_host_that_serves_nothing_is_unimplemented() {
    let plugin = Plugin::start_with(config(), &["serve"], NoService);
    check_code(&plugin, method::ENTER, Code::Unimplemented, "method 5");
}

#[test]
fn a_handler_that_panics_is_an_internal_error() {
    check_code(&Plugin::start(&["serve"]), method::PANIC, Code::Internal, "panicked");
}

#[test]
fn a_handler_that_drops_its_call_is_an_internal_error() {
    check_code(&Plugin::start(&["serve"]), method::DROP, Code::Internal, "without an answer");
}

#[test]
fn a_handler_of_the_host_that_panics_is_an_internal_error() {
    let plugin = Plugin::start_with(config(), &["serve"], |_: IncomingCall| panic!("in the host"));
    check_code(&plugin, method::ENTER, Code::Internal, "panicked");
    plugin.check_clean();
}

#[test]
fn a_status_arrives_whole() {
    let plugin = Plugin::start(&["serve"]);
    for message in ["", "no such key", &"long ".repeat(3000)] {
        let expected = Status { details: message.as_bytes().to_vec(), ..Status::new(Code::NotFound, message) };
        assert_eq!(plugin.try_call(method::FAIL, message.as_bytes()), Err(CallError::Status(expected)));
    }
    plugin.check_clean();
}

#[test]
fn a_call_may_be_answered_later_and_from_another_thread() {
    let plugin = Plugin::start(&["serve"]);
    assert_eq!(plugin.ask(method::BYTES_LATER, &[10_000, 3]), pattern(10_000, 3));
    let held: Vec<_> = (0..10u8).map(|index| plugin.start_call(method::HOLD, &[index; 100])).collect();
    assert_eq!(plugin.count(method::HELD), 10);
    assert_eq!(plugin.count(method::RELEASE), 10);
    for (index, call) in (0..).zip(held) {
        assert_eq!(call.wait().unwrap().body.to_vec(), [index; 100]);
    }
    plugin.check_clean();
}

#[test]
fn a_host_may_answer_later_and_from_another_thread() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    let entered = plugin.start_call(method::ENTER, b"through the host");
    let answerer = {
        let service = Arc::clone(&service);
        std::thread::spawn(move || crate::support::eventually("a call is held", || service.release() == 1))
    };
    assert_eq!(entered.wait().unwrap().body.to_vec(), b"through the host");
    answerer.join().unwrap();
    plugin.check_clean();
}

#[test]
fn finals_come_in_any_order() {
    let plugin = Plugin::start(&["serve"]);
    let first = plugin.start_call(method::HOLD, b"first");
    let second = plugin.start(method::BYTES, &rapace_tests::pattern::words(&[8, 0]), &CallOptions::new()).unwrap();
    assert_eq!(second.wait().unwrap().body.to_vec(), pattern(8, 0));
    let Err(first) = first.try_wait() else { panic!("the first call is held") };
    assert_eq!(word(&plugin.ask(method::RELEASE, &[]), 0), 1);
    assert_eq!(first.wait().unwrap().body.to_vec(), b"first");
}
