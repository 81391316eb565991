//! Who drains the ring next: what one that waits leaves to the others, be they threads or a runtime's task.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
#[cfg(feature = "tokio")]
use rapace_session::tokio::AsyncSession;
use rapace_session::{
    CallError, CallOptions, Config, Handler, Handshake, IncomingCall, Metadata, NoService, PeerA, PeerB, PeerState,
    Session, Status, WaitStrategy,
};

/// Beyond what a busy machine delays anything.
const GENEROUS: Duration = Duration::from_secs(20);

fn pair(config: Config, a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn config(wait: WaitStrategy) -> Config {
    Config { wait, ..Config::new("test", "1") }
}

fn within(deadline: Duration) -> CallOptions {
    CallOptions::new().deadline(deadline)
}

#[cfg(feature = "tokio")]
fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    call.reply(&body);
}

/// Whether it comes true in good time.
fn comes(mut what: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < GENEROUS {
        if what() {
            return true;
        }
        thread::yield_now();
    }
    what()
}

/// Calls that nobody has answered yet.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Vec<IncomingCall>>>);

impl Held {
    fn handler(&self) -> impl Handler + use<> {
        let held = self.clone();
        move |call: IncomingCall| held.0.lock().unwrap().push(call)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn answer(&self) {
        let calls = std::mem::take(&mut *self.0.lock().unwrap());
        calls.into_iter().for_each(|call| call.reply(b""));
    }
}

/// Two threads of the host call at once, and get their replies when the host has gone to sleep.
fn call_twice(host: &Session<PeerA>, plugin: &Session<PeerB>, held: &Held) {
    thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| host.call(1, b"", &within(GENEROUS * 2)).map(|_| ())));
        assert!(comes(|| held.count() == 2 && plugin.peer_state() == PeerState::Dormant));
        held.answer();
        calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
    });
}

/// Keeps the peer busy with calls while `what` runs; says whether that ended while the calls went on.
fn under_calls(host: &Session<PeerA>, plugin: &Session<PeerB>, what: impl FnOnce()) -> bool {
    const CALLS: usize = 32;
    let (done, gave_up) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (start, mut calls) = (Instant::now(), VecDeque::new());
            while !done.load(Ordering::SeqCst) && start.elapsed() < GENEROUS {
                while calls.len() < CALLS {
                    match plugin.try_start(1, b"", &CallOptions::new()) {
                        Ok(call) => calls.push_back(call),
                        Err(error) => {
                            assert_eq!(error, CallError::WouldBlock);
                            break;
                        }
                    }
                }
                if let Some(call) = calls.pop_front() {
                    // Nobody may be left to answer it.
                    let _ = call.wait();
                }
            }
            gave_up.store(!done.load(Ordering::SeqCst), Ordering::SeqCst);
        });
        assert!(comes(|| plugin.stats().calls_in_flight > CALLS / 2));
        what();
        let in_time = !gave_up.load(Ordering::SeqCst);
        done.store(true, Ordering::SeqCst);
        host.close(&Status::new(rapace_session::Code::Unavailable, "enough"));
        in_time
    })
}

/// Takes its time, as work does.
fn work(call: IncomingCall) {
    thread::sleep(Duration::from_millis(1));
    call.reply(b"");
}

#[test]
fn a_peer_that_keeps_calling_does_not_hold_a_caller() {
    let held = Held::default();
    let (host, plugin) = pair(Config::new("test", "1"), work, held.handler());
    let time = Duration::from_millis(200);
    let call = || {
        let error = host.call(1, b"", &within(time)).unwrap_err();
        assert_eq!(error, CallError::DeadlineExceeded { waited: time });
    };
    assert!(under_calls(&host, &plugin, call));
}

#[test]
fn a_peer_that_keeps_calling_does_not_hold_a_server_past_its_time() {
    let (host, plugin) = pair(Config::new("test", "1"), work, NoService);
    assert!(under_calls(&host, &plugin, || assert_eq!(host.serve_for(Duration::from_millis(200)), None)));
}

#[test]
fn a_session_is_dormant_after_calls_of_two_threads() {
    let held = Held::default();
    let (host, plugin) = pair(Config::new("test", "1"), NoService, held.handler());
    let server = plugin.clone();
    let server = thread::spawn(move || server.serve());
    for round in 0..10 {
        call_twice(&host, &plugin, &held);
        assert!(comes(|| plugin.peer_state() == PeerState::Dormant), "round {round}: {:?}", plugin.peer_state());
    }
    drop(host);
    server.join().unwrap();
}

#[test]
fn each_server_that_waits_gets_a_call() {
    const SERVERS: usize = 4;
    const ROUNDS: usize = 50;
    let running = Arc::new(AtomicUsize::new(0));
    let (held, seen) = (Held::default(), Arc::clone(&running));
    let handler = move |call: IncomingCall| {
        if call.method() == 1 {
            // Not answered before the session ends.
            let _ = call.call_back(7, b"", &within(GENEROUS * 10));
        } else {
            seen.fetch_add(1, Ordering::SeqCst);
            let all = comes(|| seen.load(Ordering::SeqCst) >= SERVERS);
            call.reply(if all { b"all" } else { b"few" });
        }
    };
    let (host, plugin) = pair(config(WaitStrategy::Park), handler, held.handler());
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        scope.spawn(|| host.serve());
        // The only server leads from within a handler, so it takes no call of this depth.
        let _first = plugin.start(1, b"", &CallOptions::new()).unwrap();
        assert!(comes(|| held.count() == 1 && plugin.peer_state() == PeerState::Dormant));
        for _ in 0..SERVERS {
            scope.spawn(|| host.serve());
        }
        let mut replies = Vec::new();
        for _ in 0..ROUNDS {
            running.store(0, Ordering::SeqCst);
            let calls = [(); SERVERS].map(|()| plugin.start(2, b"", &within(GENEROUS * 2)).unwrap());
            replies.extend(calls.into_iter().map(|call| call.wait().unwrap().body == b"all"[..]));
        }
        host.close(&Status::new(rapace_session::Code::Unavailable, "enough"));
        assert_eq!(replies, [true; ROUNDS * SERVERS]);
    });
}

#[test]
fn a_call_back_from_another_thread_serves_only_deeper_calls() {
    let ran_on: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let (held, ran) = (Held::default(), Arc::clone(&ran_on));
    let handler = move |call: IncomingCall| {
        if call.method() == 1 {
            thread::spawn(move || {
                call.call_back(7, b"", &within(GENEROUS * 2)).unwrap();
                call.reply(b"");
            });
        } else {
            ran.lock().unwrap().push(thread::current().id());
            call.reply(b"");
        }
    };
    let (host, plugin) = pair(Config::new("test", "1"), handler, held.handler());
    let first = plugin.start(1, b"", &CallOptions::new()).unwrap();
    assert_eq!(host.serve_for(Duration::ZERO), None);
    assert!(comes(|| plugin.serve_for(Duration::ZERO).is_none() && held.count() == 1));
    let second = plugin.start(2, b"", &CallOptions::new()).unwrap();
    // Only the thread that calls back is there to take it from the ring, which it does; it must not run it.
    assert!(comes(|| host.stats().served_in_flight == 2 || !ran_on.lock().unwrap().is_empty()));
    held.answer();
    first.wait().unwrap();
    assert!(comes(|| host.serve_for(Duration::ZERO).is_none() && !ran_on.lock().unwrap().is_empty()));
    assert_eq!(*ran_on.lock().unwrap(), [thread::current().id()]);
    second.wait().unwrap();
}

#[test]
fn metadata_that_a_handler_holds_counts_as_kept() {
    let held = Held::default();
    let (host, plugin) = pair(Config::new("test", "1"), held.handler(), NoService);
    let mut metadata = Metadata::new();
    for _ in 0..1000 {
        metadata.insert("k", b"").unwrap();
    }
    let metadata_bytes = metadata.iter().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>();
    let body = vec![7; 1000];
    let call = plugin.start(1, &body, &CallOptions::new().metadata(metadata)).unwrap();
    assert!(comes(|| host.serve_for(Duration::ZERO).is_none() && held.count() == 1));
    let kept = host.stats().inbound_bytes;
    // The body is kept with the bytes in front of it, and the metadata once more.
    assert!(kept >= body.len() + 2 * metadata_bytes, "{kept} bytes kept");
    held.answer();
    call.wait().unwrap();
    assert_eq!(host.stats().inbound_bytes, 0);
}

#[cfg(feature = "tokio")]
mod attendant {
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// The host in a runtime, once its task attends to the socket.
    fn attended(runtime: &Runtime, host: Session<PeerA>, plugin: &Session<PeerB>) -> AsyncSession<PeerA> {
        let host = runtime.block_on(async { AsyncSession::new(host).unwrap() });
        plugin.call(1, b"", &within(GENEROUS)).unwrap();
        assert!(comes(|| plugin.peer_state() == PeerState::Dormant));
        host
    }

    #[test]
    fn what_comes_after_two_callers_have_left_is_the_attendants() {
        let held = Held::default();
        let (host, plugin) = pair(Config::new("test", "1"), echo, held.handler());
        let runtime = runtime();
        let host = attended(&runtime, host, &plugin);
        let server = plugin.clone();
        let server = thread::spawn(move || server.serve());
        for round in 0..20 {
            call_twice(host.session(), &plugin, &held);
            let reply = plugin.call(1, b"x", &within(GENEROUS / 2));
            assert!(reply.is_ok(), "round {round}: {reply:?}");
        }
        drop(host);
        server.join().unwrap();
    }

    #[test]
    fn a_call_that_a_caller_took_from_the_ring_is_the_attendants() {
        let (host, plugin) = pair(Config::new("test", "1"), echo, echo);
        let runtime = runtime();
        let host = attended(&runtime, host, &plugin);
        for round in 0..50 {
            let pending = host.session().start(1, b"", &within(GENEROUS)).unwrap();
            let reply = thread::scope(|scope| {
                let there = scope.spawn(|| {
                    plugin.serve_for(Duration::from_millis(5));
                    plugin.call(1, b"", &within(GENEROUS / 2))
                });
                pending.wait().unwrap();
                there.join().unwrap()
            });
            assert!(reply.is_ok(), "round {round}: {reply:?}");
        }
    }

    #[test]
    fn a_look_at_the_peer_does_not_lose_the_attendants_bell() {
        let (host, plugin) = pair(Config::new("test", "1"), echo, NoService);
        // It runs only while this thread is in it.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let call = |deadline| plugin.start(1, b"x", &within(deadline)).unwrap();
        let host = runtime.block_on(async {
            let host = AsyncSession::new(host).unwrap();
            let warm = call(GENEROUS);
            tokio::task::spawn_blocking(|| warm.wait()).await.unwrap().unwrap();
            host
        });
        let pending = call(GENEROUS / 2);
        assert_ne!(host.session().peer_state(), PeerState::Gone { exit: None });
        let reply = runtime.block_on(async { tokio::task::spawn_blocking(|| pending.wait()).await.unwrap() });
        assert!(reply.is_ok(), "{reply:?}");
    }

    #[test]
    fn the_attendant_leaves_a_leaders_bell_alone() {
        let (host, plugin) = pair(config(WaitStrategy::Park), echo, work);
        let runtime = runtime();
        let host = attended(&runtime, host, &plugin);
        let server = thread::spawn(move || plugin.serve());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            host.session().call(1, b"", &within(GENEROUS / 2)).unwrap();
        }
        drop(host);
        server.join().unwrap();
    }
}
