//! What becomes of handlers that are not ready when their call is cancelled; and where their first poll is made.

#![allow(clippy::unwrap_used)]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{
    CallOptions, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, Router, Session, Status,
    Streams,
};

/// Waits for ever, and does not ask whether anybody still does.
const DEAF: u32 = 1;
/// Waits for the cancel, then does something more.
const TIDY: u32 = 2;
/// Answers, then waits for ever.
const ANSWERED: u32 = 3;

fn pair(a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config = Config::new("test", "1");
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::yield_now();
    }
}

/// Counts when it is dropped.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Seen {
    dropped: Arc<AtomicU32>,
    tidied: AtomicU32,
}

fn router(seen: &Arc<Seen>) -> Router {
    let dropped = Arc::clone(&seen.dropped);
    let tidied = Arc::clone(seen);
    Router::new()
        .method(DEAF, move |call: IncomingCall| {
            let dropped = Dropped(Arc::clone(&dropped));
            call.run_async(|call| async move {
                let _held = (dropped, call.items(), call);
                pending::<()>().await;
            });
        })
        .method(TIDY, move |call: IncomingCall| {
            let seen = Arc::clone(&tidied);
            call.run_async(|call| async move {
                call.cancelled().await;
                // Not at once.
                let mut again = true;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::take(&mut again) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
                })
                .await;
                seen.tidied.fetch_add(1, Ordering::SeqCst);
                drop(call);
            });
        })
        .method(ANSWERED, |call: IncomingCall| {
            call.run_async(|call| async move {
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    std::task::Poll::<()>::Ready(())
                })
                .await;
                call.reply(b"");
                pending::<()>().await;
            });
        })
}

fn check_clean(host: &Session<PeerA>, plugin: &Session<PeerB>) {
    until(|| {
        host.serve_for(Duration::ZERO);
        [host.stats(), plugin.stats()]
            .iter()
            .all(|stats| stats.calls_in_flight + stats.served_in_flight + stats.inbound_bytes + stats.tasks == 0)
    });
}

#[test]
fn a_handler_that_does_not_ask_goes_with_its_call() {
    let seen = Arc::<Seen>::default();
    let (host, plugin) = pair(NoService, router(&seen));
    let server = plugin.clone();
    thread::spawn(move || server.serve());
    for round in 1..=3 {
        let call = host.start(DEAF, b"", &CallOptions::new()).unwrap();
        until(|| plugin.stats().tasks == 1);
        drop(call);
        check_clean(&host, &plugin);
        assert_eq!(seen.dropped.load(Ordering::SeqCst), round);
    }
    // One that holds unread items of the caller.
    let streams = Streams { sends: true, receives: false };
    let call = host.block_on(host.caller().open(DEAF, b"", streams, &CallOptions::new())).unwrap();
    host.block_on(std::future::poll_fn(|cx| call.poll_send(cx, &[7; 5000]))).unwrap();
    until(|| plugin.stats().inbound_bytes > 0);
    drop(call);
    check_clean(&host, &plugin);
    host.close(&Status::new(Code::Unavailable, "the test is over"));
}

#[test]
fn a_handler_that_asks_ends_as_it_likes() {
    let seen = Arc::<Seen>::default();
    let (host, plugin) = pair(NoService, router(&seen));
    let server = plugin.clone();
    thread::spawn(move || server.serve());
    let call = host.start(TIDY, b"", &CallOptions::new()).unwrap();
    until(|| plugin.stats().tasks == 1);
    drop(call);
    until(|| seen.tidied.load(Ordering::SeqCst) == 1);
    check_clean(&host, &plugin);
    // One that has answered goes on, too, until the session ends.
    host.call(ANSWERED, b"", &CallOptions::new()).unwrap();
    until(|| plugin.stats().tasks == 1 && plugin.stats().served_in_flight == 0);
    host.close(&Status::new(Code::Unavailable, "the test is over"));
    until(|| plugin.stats().tasks == 0);
}

#[cfg(feature = "tokio")]
#[test]
fn a_handler_is_within_the_runtime_whoever_polls_it_first() {
    use rapace_session::tokio::AsyncSession;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sleeps = |call: IncomingCall| {
        call.run_async(|call| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            call.reply(b"slept");
        });
    };
    let calls_back = |call: IncomingCall| {
        let reply = call.call_back(1, b"", &CallOptions::new()).unwrap();
        call.reply(&reply.body);
    };
    let (host, plugin) = pair(sleeps, calls_back);
    thread::spawn(move || plugin.serve());
    let attended = {
        let _inside = runtime.enter();
        AsyncSession::new(host.clone()).unwrap()
    };
    // This thread is none of the runtime's, and serves the call back while it waits.
    for _ in 0..50 {
        assert_eq!(*host.call(1, b"", &CallOptions::new()).unwrap().body, *b"slept");
    }
    drop(attended);
    host.close(&Status::new(Code::Unavailable, "the test is over"));
}
