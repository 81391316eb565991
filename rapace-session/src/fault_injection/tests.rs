//! What is kept for faults goes with the calls that it is for.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;

use super::FaultInjector;
use crate::{
    CallError, CallOptions, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, Role, Session,
    Status, Streams,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(plan: &str) -> Config {
    let fault_injection = FaultInjector::new(plan.parse().unwrap()).into();
    Config { fault_injection, ..Config::new("test", "1") }
}

/// A host that calls by this plan, and a plugin that serves by that one.
fn pair(calling: &str, serving: &str, handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config_b = config(serving);
    let accepting = thread::spawn(move || Handshake::<PeerB>::accept(b, config_b).unwrap().finish(handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config(calling)).unwrap().finish(NoService).unwrap();
    (host, accepting.join().unwrap())
}

fn keeps_timers<R: Role>(session: &Session<R>) -> bool {
    !format!("{:?}", session.shared().state().waiters).contains("list: []")
}

fn kept_replies(session: &Session<PeerA>) -> usize {
    session.shared().state().replies.0.len()
}

#[test]
fn a_call_that_is_given_up_leaves_no_timer() {
    for plan in ["delay=1s", "drop", "exhaust"] {
        let (host, _plugin) = pair(plan, "", NoService);
        let (caller, options) = (host.caller(), CallOptions::new());
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut call = pin!(caller.call(1, b"", &options));
            assert!(call.as_mut().poll(&mut cx).is_pending());
            assert!(keeps_timers(&host), "{plan}");
        }
        {
            let mut call = pin!(caller.open(1, b"", Streams { sends: true, receives: false }, &options));
            assert!(call.as_mut().poll(&mut cx).is_pending());
            assert!(keeps_timers(&host), "{plan}");
        }
        assert!(!keeps_timers(&host), "{plan}");
    }
}

#[test]
fn nothing_is_kept_for_the_reply_of_a_call_that_is_given_up() {
    let (host, _plugin) = pair("corrupt", "", NoService);
    let call = host.start(1, b"", &CallOptions::new()).unwrap();
    assert_eq!(kept_replies(&host), 1);
    drop(call);
    assert_eq!(kept_replies(&host), 0);
    // A task that looks behind its deadline.
    let waited = Duration::from_millis(1);
    let call = host.start(1, b"", &CallOptions::new().deadline(waited)).unwrap();
    assert_eq!(host.block_on(call).unwrap_err(), CallError::DeadlineExceeded { waited });
    assert_eq!(kept_replies(&host), 0);
}

#[test]
fn an_item_that_nobody_waits_for_any_more_leaves_no_timer() {
    let sends = |call: IncomingCall| {
        call.run_async(|call| async move {
            let sent = poll_fn(|cx| call.poll_send(cx, b"item")).await;
            call.reply(if sent.is_ok() { b"sent" } else { b"" });
        });
    };
    let (host, plugin) = pair("", "delay=3600s item 1", sends);
    let serving = plugin.clone();
    let server = thread::spawn(move || drop(serving.serve()));
    let (caller, options) = (host.caller(), CallOptions::new());
    let call = host.block_on(caller.open(1, b"", Streams { sends: false, receives: true }, &options)).unwrap();
    eventually(|| keeps_timers(&plugin));
    drop(call);
    eventually(|| !keeps_timers(&plugin));
    host.close(&Status::new(Code::Unavailable, "the test is over"));
    server.join().unwrap();
}

#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        thread::yield_now();
    }
}
