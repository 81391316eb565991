//! Calls of plugins by an operator, with JSON both ways.

use std::thread;

use rapace_host_api::admin::{AdminError, CallReply, CallRequest};

use crate::{Stand, eventually};

fn call(stand: &Stand, request: CallRequest) -> Result<CallReply, AdminError> {
    stand.operator().admin().call(request).map_err(|error| error.into_service().unwrap())
}

fn unary(stand: &Stand, method: &str, arguments: &str) -> Result<String, AdminError> {
    call(stand, CallRequest::new("desk", method, arguments)).map(|reply| reply.result)
}

#[test]
fn a_method_is_called_by_name_with_json() {
    let stand = Stand::new();
    assert_eq!(unary(&stand, "echo", r#""hello""#).unwrap(), r#""hello""#);
    assert_eq!(unary(&stand, "test.Desk.echo", r#""\u00e4""#).unwrap(), "\"\u{e4}\"");
    assert_eq!(unary(&stand, "divide", r#"{"dividend": 7, "divisor": 2}"#).unwrap(), r#"{"Ok":3}"#);
    // The plugin's own error is a value.
    assert_eq!(unary(&stand, "divide", r#"{"dividend": 7, "divisor": 0}"#).unwrap(), r#"{"Err":"7 by 0"}"#);
}

#[test]
fn what_is_wrong_with_a_call_is_named() {
    let stand = Stand::new();
    let wrong = |problem: &str| AdminError::WrongArgument { problem: problem.to_owned() };
    let error = unary(&stand, "divide", r#"{"dividend": 7, "divisor": "two"}"#).unwrap_err();
    assert_eq!(error, wrong("test.Desk.divide: argument: $.divisor: expected i64, found string"));
    let error = unary(&stand, "echo", "hello").unwrap_err();
    assert_eq!(error, wrong("the arguments: not JSON: expected value at line 1 column 1"));
    // As deep as a reader would overflow its stack by.
    let error = unary(&stand, "echo", &"[".repeat(100_000)).unwrap_err();
    assert!(error.to_string().contains("recursion limit exceeded"), "{error}");
    let error = unary(&stand, "ecko", "null").unwrap_err();
    let problem = "there is no method \"ecko\" in the registry".to_owned();
    assert_eq!(error, AdminError::UnknownMethod { problem });
    let error = call(&stand, CallRequest::new("dask", "echo", "null")).unwrap_err();
    assert_eq!(error, AdminError::UnknownPlugin { name: "dask".to_owned() });
    let request = CallRequest { items: vec!["1".to_owned()], ..CallRequest::new("desk", "echo", "\"\"") };
    assert_eq!(call(&stand, request).unwrap_err(), wrong("echo takes no items"));
    stand.plugin.shutdown();
    let error = unary(&stand, "echo", "null").unwrap_err();
    assert_eq!(error.to_string(), "plugin desk is Stopped");
}

#[test]
fn a_call_ends_with_its_time_and_with_its_plugin() {
    let stand = Stand::new();
    let request = CallRequest { timeout_ms: Some(20), ..CallRequest::new("desk", "wait", "null") };
    let error = call(&stand, request).unwrap_err();
    assert!(matches!(&error, AdminError::CallFailed { code, .. } if code == "DeadlineExceeded"), "{error}");
    let error = unary(&stand, "exit", "3").unwrap_err();
    assert_eq!(error.to_string(), "Unavailable: the peer is gone: its process exited with code 3");
    stand.plugin.restart().unwrap();
    thread::scope(|scope| {
        let called = scope.spawn(|| unary(&stand, "wait", "null"));
        let in_flight = || stand.plugin.instances()[0].calls_in_flight;
        eventually("the call is in flight", || in_flight() == 1);
        stand.plugin.kill();
        let error = called.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("was killed by signal 9 (SIGKILL)"), "{error}");
    });
}

#[test]
fn a_call_that_is_given_up_is_cancelled() {
    let stand = Stand::new();
    let operator = stand.operator();
    let in_flight = || stand.plugin.instances()[0].calls_in_flight;
    let calling = operator.client.call(CallRequest::new("desk", "wait", "null"));
    operator.session.block_on(async {
        let mut calling = std::pin::pin!(calling);
        std::future::poll_fn(|cx| {
            assert!(calling.as_mut().poll(cx).is_pending());
            if in_flight() == 1 {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    });
    eventually("the call is given up", || in_flight() == 0);
}

#[test]
fn streams_are_lists_within_bounds() {
    let stand = Stand::new();
    let count = |to: u32, items_max: u32| {
        let request = CallRequest { items_max, ..CallRequest::new("desk", "count", to.to_string()) };
        call(&stand, request).unwrap()
    };
    let numbers = |to: u32| (0..to).map(|number| number.to_string()).collect::<Vec<_>>();
    let reply = count(3, 10);
    assert_eq!((reply.items, reply.is_cut, &*reply.result), (numbers(3), false, "null"));
    let reply = count(3, 3);
    assert_eq!((reply.items, reply.is_cut), (numbers(3), false));
    let reply = count(100_000, 2);
    assert_eq!((reply.items, reply.is_cut), (numbers(2), true));
    let reply = count(u32::MAX, u32::MAX);
    assert_eq!((reply.items.len(), reply.is_cut), (1000, true));
    eventually("streams that were cut are cancelled", || stand.plugin.instances()[0].calls_in_flight == 0);

    let items = ["1", "2", "39"].map(str::to_owned).to_vec();
    let request = CallRequest { items, ..CallRequest::new("desk", "sum", "null") };
    assert_eq!(call(&stand, request.clone()).unwrap().result, "42");
    let request = CallRequest { method: "double".to_owned(), items_max: 10, ..request };
    assert_eq!(call(&stand, request.clone()).unwrap().items, ["2", "4", "78"]);
    let request = CallRequest { items: vec!["true".to_owned()], ..request };
    let error = call(&stand, request).unwrap_err().to_string();
    assert_eq!(error, "test.Desk.double: item: $: expected u32, found boolean");
}
