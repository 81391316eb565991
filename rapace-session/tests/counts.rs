//! What a session counts of its calls, on both sides, beside what a test has made of them.

#![allow(clippy::unwrap_used)]

use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{
    CallCounts, CallError, CallOptions, Code, Config, Handler, Handshake, IncomingCall, MethodCounts, NoService,
    Observe, PeerA, PeerB, Session, Status, Streams,
};

const PATIENCE: Duration = Duration::from_secs(60);

const ECHO: u32 = 1;
/// Fails with the code in its body.
const FAIL: u32 = 2;
/// Is answered when its caller has given it up.
const WAIT: u32 = 3;
const COUNT: u32 = 4;
/// Ends the session.
const END: u32 = 5;

fn serve(mut call: IncomingCall) {
    match call.method() {
        ECHO => {
            let body = call.take_body();
            call.reply(&body);
        }
        FAIL => {
            let code = Code::from_raw(u32::from(call.body()[0]));
            call.fail(Status::new(code, "as it was asked to"));
        }
        WAIT => call.run_async(|call| async move {
            call.cancelled().await;
            call.fail(Status::new(Code::Cancelled, "nobody waits"));
        }),
        COUNT => call.run_async(|call| async move {
            for item in [&b"one"[..], b"three"] {
                std::future::poll_fn(|cx| call.poll_send(cx, item)).await.unwrap();
            }
            call.reply(b"done");
        }),
        _ => call.unimplemented(),
    }
}

fn pair(observe: Observe, handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config = Config { observe, ..Config::new("test", "1") };
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(NoService).unwrap();
    (host, plugin.join().unwrap())
}

fn of(counts: &[MethodCounts], method: u32) -> MethodCounts {
    counts.iter().find(|counts| counts.method == Some(method)).cloned().unwrap_or_default()
}

/// Numbers of a method: those that went well, that failed, that are in flight, bytes there and back.
fn numbers(counts: &MethodCounts) -> (u64, Vec<(Code, u64)>, u64, u64, u64) {
    (counts.ok, counts.errors.clone(), counts.in_flight, counts.request_bytes, counts.reply_bytes)
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "{what}: not yet");
        thread::yield_now();
    }
}

#[test]
fn each_call_is_counted_once_on_both_sides_by_how_it_ended() {
    let (host, plugin) = pair(Observe::Calls, serve);
    let (served, serving) = (plugin.clone(), thread::spawn(move || plugin.serve()));
    let options = CallOptions::new();
    for bytes in [0, 8, 1000, 100_000] {
        assert_eq!(host.call(ECHO, &vec![7; bytes], &options).unwrap().body.len(), bytes);
    }
    for code in [5, 5, 13, 16] {
        host.call(FAIL, &[code], &options).unwrap_err();
    }
    drop(host.start(WAIT, b"dropped", &options).unwrap());
    let late = CallOptions::new().deadline(Duration::from_millis(1));
    assert!(matches!(host.call(WAIT, b"late", &late), Err(CallError::DeadlineExceeded { .. })));
    assert!(matches!(host.start(WAIT, b"late", &late).unwrap().wait(), Err(CallError::DeadlineExceeded { .. })));
    host.call(END, b"there is no such method", &options).unwrap_err();
    let pending = host.start(WAIT, b"pending", &options).unwrap();

    let made = host.call_counts().made;
    assert_eq!(numbers(&of(&made, ECHO)), (4, vec![], 0, 101_008, 101_008));
    let errors = vec![(Code::NotFound, 2), (Code::Internal, 1), (Code::Unauthenticated, 1)];
    assert_eq!(numbers(&of(&made, FAIL)), (0, errors.clone(), 0, 4, 0));
    let errors_of_wait = vec![(Code::Cancelled, 1), (Code::DeadlineExceeded, 2)];
    assert_eq!(numbers(&of(&made, WAIT)), (0, errors_of_wait, 1, 22, 0));
    assert_eq!(numbers(&of(&made, END)), (0, vec![(Code::Unimplemented, 1)], 0, 23, 0));
    assert!(made.iter().map(|counts| counts.latency.count()).sum::<u64>() > 0);

    eventually("the callee hears of the cancels", || of(&served.call_counts().served, WAIT).calls() == 3);
    eventually("the last call arrives", || of(&served.call_counts().served, WAIT).in_flight == 1);
    let there = served.call_counts().served;
    assert_eq!(numbers(&of(&there, ECHO)), (4, vec![], 0, 101_008, 101_008));
    assert_eq!(numbers(&of(&there, FAIL)), (0, errors, 0, 4, 0));
    assert_eq!((host.call_counts().served, served.call_counts().made), (vec![], vec![]));

    host.close(&Status::new(Code::Unavailable, "enough"));
    assert!(matches!(pending.wait(), Err(CallError::SessionEnded { .. })));
    serving.join().unwrap();
    let wait = of(&host.call_counts().made, WAIT);
    let errors = [(Code::Cancelled, 1), (Code::DeadlineExceeded, 2), (Code::Unavailable, 1)];
    assert_eq!((wait.errors, wait.in_flight), (errors.to_vec(), 0));
    let wait = of(&served.call_counts().served, WAIT);
    assert_eq!((wait.calls(), wait.in_flight), (4, 0));
}

#[test]
fn items_count_with_the_bytes_of_their_call() {
    let (host, plugin) = pair(Observe::Calls, serve);
    let (served, _serving) = (plugin.clone(), thread::spawn(move || plugin.serve()));
    let receives = Streams { sends: false, receives: true };
    let call = host.block_on(host.caller().open(COUNT, b"begin", receives, &CallOptions::new())).unwrap();
    let mut items = Vec::new();
    let reply = host.block_on(std::future::poll_fn(|cx: &mut Context<'_>| {
        while let Poll::Ready(Some(item)) = call.poll_item(cx) {
            items.push(item);
        }
        call.poll_reply(cx)
    }));
    assert_eq!((&*reply.unwrap().body, items.len()), (&b"done"[..], 2));
    drop(call);
    for counts in [host.call_counts().made, served.call_counts().served] {
        assert_eq!(numbers(&of(&counts, COUNT)), (1, vec![], 0, 5, 12));
    }
}

#[test]
fn a_call_that_was_not_sent_is_not_counted() {
    let (host, plugin) = pair(Observe::Calls, serve);
    let too_large = vec![0; plugin.peer().message_bytes_max + 1];
    let refused = host.call(ECHO, &too_large, &CallOptions::new());
    assert!(matches!(refused, Err(CallError::TooLarge { .. })));
    // Nobody serves: the ring fills up.
    let mut pending = Vec::new();
    while let Ok(call) = host.try_start(ECHO, b"eight...", &CallOptions::new()) {
        pending.push(call);
    }
    let made = of(&host.call_counts().made, ECHO);
    assert_eq!((made.calls(), made.in_flight, made.request_bytes), (0, pending.len() as u64, 8 * pending.len() as u64));
}

#[test]
fn without_observation_nothing_is_counted() {
    let (host, plugin) = pair(Observe::default(), serve);
    let (served, _serving) = (plugin.clone(), thread::spawn(move || plugin.serve()));
    host.call(ECHO, b"hello", &CallOptions::new()).unwrap();
    assert_eq!((host.call_counts(), served.call_counts()), (CallCounts::default(), CallCounts::default()));
}

/// The callee is the one who is called with methods of the caller's choice.
#[test]
fn methods_that_a_peer_makes_up_are_counted_together() {
    let (host, plugin) = pair(Observe::Calls, serve);
    let (served, _serving) = (plugin.clone(), thread::spawn(move || plugin.serve()));
    for method in 1000..1500 {
        host.call(method, b"x", &CallOptions::new()).unwrap_err();
    }
    let counts = served.call_counts().served;
    assert_eq!(counts.len(), 65);
    assert_eq!(numbers(counts.last().unwrap()), (0, vec![(Code::Unimplemented, 436)], 0, 436, 0));
    assert_eq!(counts.last().unwrap().method, None);
}

#[test]
fn the_room_that_is_left_is_told() {
    let (host, plugin) = pair(Observe::Nothing, serve);
    let fresh = host.stats();
    // What the peer has taken, it says when it has taken half a ring.
    assert!(fresh.ring_used < fresh.ring_capacity / 2 && fresh.slots_free == fresh.slot_count);
    let calls: Vec<_> = (0..3).map(|_| host.start(ECHO, &[7; 5000], &CallOptions::new()).unwrap()).collect();
    let stats = host.stats();
    assert_eq!((stats.ring_used, stats.slots_free), (fresh.ring_used + 3, stats.slot_count - 6));
    let (done, ended) = mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
            plugin.serve_for(Duration::from_millis(1));
        }
    });
    calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
    drop(done);
    serving.join().unwrap();
}
