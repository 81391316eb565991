//! Calls between two ends in one process: the protocol with real memory and sockets, without processes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{
    CallError, CallOptions, Code, Config, Handler, Handshake, IncomingCall, Limits, NoService, PeerA, PeerB, Session,
    SessionEnd, Status, WaitStrategy,
};

fn pair_with(config: Config, a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn pair(a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    pair_with(Config::new("test", "1"), a_handler, b_handler)
}

fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    call.reply(&body);
}

#[test]
fn a_call_gets_its_reply() {
    let (host, plugin) = pair(NoService, echo);
    let server = thread::spawn(move || plugin.serve());
    for bytes in [0usize, 1, 24, 25, 4096, 4097, 100_000, 509 * 4096, 3 << 20, 16 << 20] {
        let body: Vec<u8> = (0..=250u8).cycle().take(bytes).collect();
        let reply = host.call(1, &body, &CallOptions::new()).unwrap();
        assert!(reply.body == body[..], "{bytes} bytes");
    }
    let stats = host.stats();
    assert_eq!((stats.calls_in_flight, stats.inbound_bytes, stats.outbound_bytes), (0, 0, 0));
    assert_eq!(stats.runs_held, 0);
    drop(host);
    assert!(matches!(&*server.join().unwrap(), SessionEnd::PeerClosed(_)));
}

#[test]
fn an_error_is_a_status() {
    let (host, plugin) = pair(NoService, |call: IncomingCall| call.fail(Status::new(Code::NotFound, "no such key")));
    let server = thread::spawn(move || plugin.serve());
    let error = host.call(1, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error, CallError::Status(Status::new(Code::NotFound, "no such key")));
    drop(host);
    server.join().unwrap();
}

#[test]
fn many_threads_call_both_ways_at_once() {
    let (host, plugin) = pair(echo, echo);
    thread::scope(|scope| {
        let (host, plugin) = (&host, &plugin);
        let servers = [scope.spawn(|| host.serve()), scope.spawn(|| plugin.serve())];
        let callers: Vec<_> = (0..4u32)
            .flat_map(|thread| {
                let here = scope.spawn(move || {
                    for round in 0..500u32 {
                        let body = [thread.to_le_bytes(), round.to_le_bytes()].concat();
                        assert!(host.call(1, &body, &CallOptions::new()).unwrap().body == body[..]);
                    }
                });
                let there = scope.spawn(move || {
                    for round in 0..500u32 {
                        let body = vec![round.to_le_bytes()[0]; 5000];
                        assert!(plugin.call(1, &body, &CallOptions::new()).unwrap().body == body[..]);
                    }
                });
                [here, there]
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        host.close(&Status::new(Code::Unavailable, "done"));
        servers.into_iter().for_each(|server| drop(server.join().unwrap()));
    });
}

#[test]
fn an_idle_call_meets_its_deadline() {
    let (host, _plugin) = pair(NoService, echo);
    let options = CallOptions::new().deadline(Duration::from_millis(50));
    let error = host.call(1, b"", &options).unwrap_err();
    assert_eq!(error, CallError::DeadlineExceeded { waited: Duration::from_millis(50) });
}

#[test]
fn a_thread_that_serves_comes_back_in_time() {
    let config = Config { wait: WaitStrategy::Park, ..Config::new("peer", "1") };
    let (host, plugin) = pair_with(config, IncomingCall::unimplemented, echo);
    // Nobody calls, so nothing but its own clock wakes it.
    assert_eq!(plugin.serve_for(Duration::from_millis(20)), None);
    drop(host);
}

#[test]
fn nested_calls_come_back_through_all_depths() {
    let slot: Arc<parking_lot::Mutex<Option<Session<PeerB>>>> = Arc::default();
    let calls = Arc::new(AtomicU32::new(0));
    let in_plugin = Arc::clone(&slot);
    let host_slot: Arc<parking_lot::Mutex<Option<Session<PeerA>>>> = Arc::default();
    let in_host = Arc::clone(&host_slot);
    let counted = Arc::clone(&calls);
    let host_handler = move |call: IncomingCall| {
        counted.fetch_add(1, Ordering::Relaxed);
        let host = in_host.lock().clone().unwrap();
        let result = host.call(1, call.body(), &CallOptions::new());
        answer(call, result);
    };
    let plugin_handler = move |call: IncomingCall| {
        let plugin = in_plugin.lock().clone().unwrap();
        let result = plugin.call(1, call.body(), &CallOptions::new());
        answer(call, result);
    };
    let (host, plugin) = pair(host_handler, plugin_handler);
    *slot.lock() = Some(plugin.clone());
    *host_slot.lock() = Some(host.clone());
    let server = thread::spawn(move || plugin.serve());
    let error = host.call(1, b"down", &CallOptions::new()).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert_eq!(calls.load(Ordering::Relaxed), 8);
    host.close(&Status::new(Code::Unavailable, "done"));
    slot.lock().take();
    host_slot.lock().take();
    server.join().unwrap();
}

fn answer(call: IncomingCall, result: Result<rapace_session::Reply, CallError>) {
    match result {
        Ok(reply) => call.reply(&reply.body),
        Err(error) => call.fail(Status::new(error.code(), error.to_string())),
    }
}

#[cfg(feature = "named-segment")]
mod named {
    use rapace_session::{HandshakeError, SegmentBacking};

    use super::*;

    #[test]
    fn a_named_segment_serves_peers_that_both_chose_it() {
        let config = Config { backing: SegmentBacking::NamedForTrustedPeers, ..Config::new("test", "1") };
        let (host, plugin) = pair_with(config, NoService, echo);
        let server = thread::spawn(move || plugin.serve());
        let body = vec![7; 100_000];
        assert!(host.call(1, &body, &CallOptions::new()).unwrap().body == body[..]);
        drop(host);
        server.join().unwrap();
    }

    #[test]
    fn a_named_segment_is_refused_by_a_peer_that_did_not_choose_it() {
        let (a, b) = Socket::pair().unwrap();
        let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, Config::new("plugin", "1")).unwrap_err());
        let config = Config { backing: SegmentBacking::NamedForTrustedPeers, ..Config::new("host", "1") };
        let error = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(NoService).unwrap_err();
        let HandshakeError::RefusedByPeer(status) = error else { panic!("{error}") };
        assert_eq!(status.code, Code::PermissionDenied, "{status}");
        assert!(matches!(plugin.join().unwrap(), HandshakeError::Refused(_)));
    }
}

/// Every thread parks at once, so that the lead is handed over at almost every call.
#[test]
fn a_crowd_that_sleeps_hands_the_lead_over() {
    let config = Config { wait: WaitStrategy::Park, ..Config::new("test", "1") };
    let (host, plugin) = pair_with(config, NoService, echo);
    let server = thread::spawn(move || plugin.serve());
    let options = CallOptions::new().deadline(Duration::from_secs(20));
    thread::scope(|scope| {
        for thread in 0..8u32 {
            let (host, options) = (&host, &options);
            scope.spawn(move || {
                for round in 0..300u32 {
                    let body = [thread.to_le_bytes(), round.to_le_bytes()].concat();
                    assert!(host.call(1, &body, options).unwrap().body == body[..]);
                }
            });
        }
    });
    drop(host);
    server.join().unwrap();
}

/// A caller that waits because the peer takes no more calls goes on when one of them has ended.
#[test]
fn the_end_of_a_call_lets_the_next_one_begin() {
    let limits = Limits { calls_max: 2, ..Limits::default() };
    let config = Config { limits, ..Config::new("test", "1") };
    let (host, plugin) = pair_with(config, NoService, echo);
    let server = thread::spawn(move || plugin.serve());
    let options = CallOptions::new().deadline(Duration::from_secs(20));
    thread::scope(|scope| {
        for _ in 0..8 {
            let (host, options) = (&host, &options);
            scope.spawn(move || {
                for _ in 0..200 {
                    assert!(host.call(1, b"x", options).unwrap().body == b"x"[..]);
                }
            });
        }
    });
    drop(host);
    server.join().unwrap();
}

/// Threads that look without end hold the lock while they look: who wants it gets it all the same.
#[test]
fn a_crowd_that_looks_without_end_gets_on() {
    let config = Config { wait: WaitStrategy::Spin, ..Config::new("test", "1") };
    let (host, plugin) = pair_with(config, NoService, echo);
    thread::scope(|scope| {
        let (host, plugin) = (&host, &plugin);
        let server = scope.spawn(|| plugin.serve());
        let callers: Vec<_> = (0..64u32)
            .map(|thread| {
                scope.spawn(move || {
                    for round in 0..20u32 {
                        let body = [thread.to_le_bytes(), round.to_le_bytes()].concat();
                        assert!(host.call(1, &body, &CallOptions::new()).unwrap().body == body[..]);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        host.close(&Status::new(Code::Cancelled, "done"));
        server.join().unwrap();
    });
}

#[test]
fn a_thread_that_looks_without_end_leaves_the_lock_to_another() {
    let config = Config { wait: WaitStrategy::Spin, ..Config::new("test", "1") };
    let (held, holds) = std::sync::mpsc::channel();
    let (host, plugin) = pair_with(config, NoService, move |call: IncomingCall| match call.method() {
        1 => held.send(call).unwrap(),
        _ => echo(call),
    });
    let options = CallOptions::new().deadline(Duration::from_secs(10));
    thread::scope(|scope| {
        let server = scope.spawn(|| plugin.serve());
        let first = scope.spawn(|| host.call(1, b"", &options));
        let call = holds.recv().unwrap();
        // The first looks for a reply that does not come before the second has got its own.
        assert!(host.call(2, b"second", &options).unwrap().body == b"second"[..]);
        call.reply(b"first");
        assert!(first.join().unwrap().unwrap().body == b"first"[..]);
        host.close(&Status::new(Code::Cancelled, "done"));
        server.join().unwrap();
    });
}

#[test]
fn a_deadline_ends_a_look_without_end() {
    let config = Config { wait: WaitStrategy::Spin, ..Config::new("test", "1") };
    let (host, plugin) = pair_with(config, NoService, |call: IncomingCall| std::mem::forget(call));
    let server = thread::spawn(move || plugin.serve());
    let soon = Duration::from_millis(1);
    let shortest = (0..50).map(|_| {
        let start = Instant::now();
        let error = host.call(1, b"", &CallOptions::new().deadline(soon)).unwrap_err();
        // A peer that has no processor leaves the ring full.
        use CallError::{DeadlineExceeded, NoRoom, Status};
        assert!(matches!(error, DeadlineExceeded { .. } | NoRoom { .. } | Status(_)), "{error}");
        start.elapsed()
    });
    // A busy machine makes some of them late, not all.
    assert!(shortest.min().unwrap() < 5 * soon);
    drop(host);
    server.join().unwrap();
}

/// Its end wakes nobody else, and a peer that never sleeps announces no room.
#[test]
fn the_end_of_a_call_that_was_given_up_lets_the_next_one_begin() {
    let mut config = Config { wait: WaitStrategy::Spin, ..Config::new("test", "1") };
    config.limits.calls_max = 1;
    let (sender, held) = std::sync::mpsc::channel();
    let (host, plugin) = pair_with(config, NoService, move |call: IncomingCall| sender.send(call).unwrap());
    let (waits, waiting) = std::sync::mpsc::channel();
    let server = thread::spawn(move || plugin.serve());
    let answers = thread::spawn(move || {
        waiting.recv().unwrap();
        held.iter().for_each(|call| call.reply(b""));
    });
    let (caller, options) = (host.caller(), CallOptions::new().deadline(Duration::from_secs(5)));
    let answered = host.caller().block_on(async {
        drop(caller.start(1, b"", &options).await.unwrap());
        let mut next = caller.call(1, b"", &options);
        std::future::poll_fn(|cx| {
            let polled = std::pin::Pin::new(&mut next).poll(cx);
            let _ = waits.send(());
            polled
        })
        .await
    });
    answered.unwrap().unwrap();
    drop(host);
    server.join().unwrap();
    answers.join().unwrap();
}
