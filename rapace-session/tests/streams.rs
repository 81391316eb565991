//! Streams: two ends in one process.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{
    Body, CallError, CallOptions, Caller, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB,
    Reply, Router, Session, Status, StreamingCall, Streams,
};

const COUNT: u32 = 1;
const SUM: u32 = 2;
const ECHO: u32 = 3;
const FAIL: u32 = 4;
const WAIT: u32 = 5;
const DEAF: u32 = 6;

const SENDS: Streams = Streams { sends: true, receives: false };
const RECEIVES: Streams = Streams { sends: false, receives: true };
const BOTH: Streams = Streams { sends: true, receives: true };

fn pair(config: Config, a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// An item that begins with its number.
fn item(number: u64, bytes: usize) -> Vec<u8> {
    let mut item = vec![number.to_le_bytes()[0]; bytes.max(8)];
    item[..8].copy_from_slice(&number.to_le_bytes());
    item
}

fn check_item(body: &[u8], number: u64, bytes: usize) {
    assert!(*body == item(number, bytes), "item {number}");
}

/// Sends as many items as the request says, of the size that it says.
async fn count(call: IncomingCall) {
    let (count, bytes) = (word(call.body()), word(&call.body()[8..]));
    for number in 0..count {
        let item = item(number, usize::try_from(bytes).unwrap());
        if let Err(error) = poll_fn(|cx| call.poll_send(cx, &item)).await {
            return call.fail(Status::new(error.code(), error.to_string()));
        }
    }
    call.reply(b"done");
}

/// Answers with the sum of the items, and how many there were.
async fn sum(call: IncomingCall) {
    let (mut items, mut sum, mut count) = (call.items(), 0u64, 0u64);
    while let Some(item) = poll_fn(|cx| items.poll_next(cx)).await {
        match item {
            Ok(item) => (sum, count) = (sum + word(&item), count + 1),
            Err(error) => return call.fail(Status::new(error.code(), error.to_string())),
        }
    }
    call.reply(&[sum.to_le_bytes(), count.to_le_bytes()].concat());
}

async fn echo(call: IncomingCall) {
    let mut items = call.items();
    while let Some(item) = poll_fn(|cx| items.poll_next(cx)).await {
        let Ok(item) = item else { return call.fail(Status::new(Code::Aborted, "the items broke off")) };
        if poll_fn(|cx| call.poll_send(cx, &item)).await.is_err() {
            return call.fail(Status::new(Code::Aborted, "the caller takes no more"));
        }
    }
    call.reply(b"");
}

async fn fail(call: IncomingCall) {
    for number in 0..3 {
        poll_fn(|cx| call.poll_send(cx, &item(number, 8))).await.unwrap();
    }
    call.fail(Status::new(Code::DataLoss, "in the middle"));
}

/// What handlers saw of cancels.
#[derive(Default)]
struct Seen {
    cancelled: AtomicU64,
}

fn router(seen: &Arc<Seen>) -> Router {
    let seen = Arc::clone(seen);
    Router::new()
        .method(COUNT, |call: IncomingCall| call.run_async(count))
        .method(SUM, |call: IncomingCall| call.run_async(sum))
        .method(ECHO, |call: IncomingCall| call.run_async(echo))
        .method(FAIL, |call: IncomingCall| call.run_async(fail))
        .method(WAIT, move |call: IncomingCall| {
            let seen = Arc::clone(&seen);
            call.run_async(|call| async move {
                poll_fn(|cx| call.poll_cancelled(cx)).await;
                assert!(call.is_cancelled());
                seen.cancelled.fetch_add(1, Ordering::SeqCst);
            });
        })
        .method(DEAF, |call: IncomingCall| call.reply(b"no"))
}

/// A host whose plugin serves on a thread of its own.
struct Served {
    host: Session<PeerA>,
    plugin: Session<PeerB>,
    seen: Arc<Seen>,
    server: Option<thread::JoinHandle<()>>,
}

impl Served {
    fn new(config: Config) -> Self {
        let seen = Arc::<Seen>::default();
        let (host, plugin) = pair(config, NoService, router(&seen));
        let serving = plugin.clone();
        let server = thread::spawn(move || {
            serving.serve();
        });
        Self { host, plugin, seen, server: Some(server) }
    }

    /// Waits until nothing is in flight, and checks that all is where it was.
    fn check_clean(&self) {
        let start = Instant::now();
        loop {
            // Serving takes in what the other side has given back.
            self.host.serve_for(Duration::from_millis(1));
            let (host, plugin) = (self.host.stats(), self.plugin.stats());
            let busy = [&host, &plugin].map(|stats| {
                stats.calls_in_flight
                    + stats.served_in_flight
                    + stats.inbound_bytes
                    + stats.outbound_bytes
                    + stats.tasks
                    + stats.runs_held as usize
                    + (509 - stats.slots_free as usize)
            });
            if busy == [0, 0] {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{host:?}\n{plugin:?}");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.host.close(&Status::new(Code::Unavailable, "the test is over"));
        let served = self.server.take().unwrap().join();
        assert!(served.is_ok() || thread::panicking());
    }
}

fn two(count: u64, bytes: u64) -> Vec<u8> {
    [count.to_le_bytes(), bytes.to_le_bytes()].concat()
}

async fn open(caller: &Caller, method: u32, body: &[u8], streams: Streams) -> StreamingCall {
    caller.open(method, body, streams, &CallOptions::new()).await.unwrap()
}

async fn next(call: &StreamingCall) -> Option<Body> {
    poll_fn(|cx| call.poll_item(cx)).await
}

async fn reply(call: &StreamingCall) -> Result<Reply, CallError> {
    poll_fn(|cx| call.poll_reply(cx)).await
}

async fn take_counted(caller: Caller, count: u64, bytes: u64) {
    let call = open(&caller, COUNT, &two(count, bytes), RECEIVES).await;
    for number in 0..count {
        check_item(&next(&call).await.unwrap(), number, usize::try_from(bytes).unwrap());
    }
    assert!(next(&call).await.is_none());
    assert_eq!(*reply(&call).await.unwrap().body, *b"done");
}

async fn send_counted(caller: Caller, count: u64, bytes: usize) {
    let call = open(&caller, SUM, b"", SENDS).await;
    for number in 0..count {
        poll_fn(|cx| call.poll_send(cx, &item(number, bytes))).await.unwrap();
    }
    call.finish();
    let body = reply(&call).await.unwrap().body;
    assert_eq!((word(&body), word(&body[8..])), (count * count.saturating_sub(1) / 2, count));
}

async fn echo_counted(caller: Caller, count: u64, bytes: usize) {
    let call = open(&caller, ECHO, b"", BOTH).await;
    for number in 0..count {
        poll_fn(|cx| call.poll_send(cx, &item(number, bytes))).await.unwrap();
        check_item(&next(&call).await.unwrap(), number, bytes);
    }
    call.finish();
    assert!(next(&call).await.is_none());
    reply(&call).await.unwrap();
}

/// From nothing over what fits a descriptor, a slot and the ring to what goes in pieces.
const SIZES: [(u64, usize); 6] = [(0, 8), (1, 8), (5000, 16), (300, 5000), (20, 300_000), (3, 5 << 20)];

#[test]
fn items_come_in_order_and_whole_each_way() {
    let served = Served::new(Config::new("test", "1"));
    for (count, bytes) in SIZES {
        let caller = || served.host.caller();
        served.host.block_on(take_counted(caller(), count, bytes as u64));
        served.host.block_on(send_counted(caller(), count, bytes));
        served.host.block_on(echo_counted(caller(), count, bytes));
        served.check_clean();
    }
}

#[test]
fn an_error_in_the_middle_comes_behind_the_items() {
    let served = Served::new(Config::new("test", "1"));
    served.host.block_on(async {
        let call = open(&served.host.caller(), FAIL, b"", RECEIVES).await;
        for number in 0..3 {
            check_item(&next(&call).await.unwrap(), number, 8);
        }
        assert!(next(&call).await.is_none());
        assert_eq!(reply(&call).await.unwrap_err().code(), Code::DataLoss);
    });
    served.check_clean();
}

#[test]
fn a_callee_that_takes_no_items_may_answer_at_once() {
    let served = Served::new(Config::new("test", "1"));
    served.host.block_on(async {
        let call = open(&served.host.caller(), DEAF, b"", SENDS).await;
        // Sooner or later the sender is told; what it has sent before is dropped.
        while poll_fn(|cx| call.poll_send(cx, b"anybody there?")).await.is_ok() {}
        call.finish();
        assert_eq!(*reply(&call).await.unwrap().body, *b"no");
    });
    served.check_clean();
}

#[test]
fn a_reader_that_takes_nothing_stops_the_sender() {
    let mut config = Config::new("test", "1");
    config.limits.stream_window_bytes = 10_000;
    let served = Served::new(config);
    served.host.block_on(async {
        let call = open(&served.host.caller(), COUNT, &two(1_000_000, 1000), RECEIVES).await;
        check_item(&next(&call).await.unwrap(), 0, 1000);
        // What the sender may send is there when its window is used up.
        let start = Instant::now();
        while served.host.stats().inbound_bytes < 9 * 1064 {
            served.host.serve_for(Duration::from_millis(1));
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        served.host.serve_for(Duration::from_millis(50));
        let kept = served.host.stats().inbound_bytes;
        assert!(kept <= 10_000 + 2 * 1064, "{kept}");
    });
    served.check_clean();
}

#[test]
fn a_dropped_call_frees_everything_at_any_point() {
    let served = Served::new(Config::new("test", "1"));
    let caller = served.host.caller();
    for taken in [0, 1, 7, 100] {
        served.host.block_on(async {
            let call = open(&caller, COUNT, &two(1_000_000, 5000), RECEIVES).await;
            for number in 0..taken {
                check_item(&next(&call).await.unwrap(), number, 5000);
            }
            drop(call);
            let call = open(&caller, SUM, b"", SENDS).await;
            for number in 0..taken {
                poll_fn(|cx| call.poll_send(cx, &item(number, 70_000))).await.unwrap();
            }
        });
        served.check_clean();
    }
}

#[test]
fn a_handler_hears_of_the_cancel() {
    let served = Served::new(Config::new("test", "1"));
    for round in 1..=3 {
        let call = served.host.block_on(open(&served.host.caller(), WAIT, b"", BOTH));
        let start = Instant::now();
        while served.plugin.stats().tasks == 0 {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        drop(call);
        served.check_clean();
        assert_eq!(served.seen.cancelled.load(Ordering::SeqCst), round);
    }
}

#[test]
fn a_deadline_ends_a_stream() {
    let served = Served::new(Config::new("test", "1"));
    served.host.block_on(async {
        let options = CallOptions::new().deadline(Duration::from_millis(30));
        let call = served.host.caller().open(WAIT, b"", RECEIVES, &options).await.unwrap();
        assert!(next(&call).await.is_none());
        let error = reply(&call).await.unwrap_err();
        assert!(matches!(error, CallError::DeadlineExceeded { waited } if waited == Duration::from_millis(30)));
    });
    served.check_clean();
    assert_eq!(served.seen.cancelled.load(Ordering::SeqCst), 1);
}

#[test]
fn many_streams_and_calls_share_a_session() {
    let served = Served::new(Config::new("test", "1"));
    let host = &served.host;
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..3 {
                    host.block_on(take_counted(host.caller(), 500, 100 + round));
                    host.block_on(send_counted(host.caller(), 500, 3000));
                    host.block_on(echo_counted(host.caller(), 50 * thread, 20_000));
                    host.call(DEAF, b"", &CallOptions::new()).unwrap();
                }
            });
        }
    });
    served.check_clean();
}

#[test]
fn a_busy_stream_does_not_hold_up_a_call() {
    let served = Served::new(Config::new("test", "1"));
    let host = &served.host;
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            host.block_on(async {
                let call = open(&host.caller(), SUM, b"", SENDS).await;
                let mut number = 0;
                while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    poll_fn(|cx| call.poll_send(cx, &item(number, 60_000))).await.unwrap();
                    number += 1;
                }
            });
        });
        let body = vec![1; 3000];
        for _ in 0..300 {
            host.call(DEAF, &body, &CallOptions::new().deadline(Duration::from_secs(10))).unwrap();
        }
        drop(stop);
    });
    served.check_clean();
}

#[test]
fn the_end_of_the_session_ends_streams_on_both_sides() {
    let served = Served::new(Config::new("test", "1"));
    let call = served.host.block_on(open(&served.host.caller(), WAIT, b"", BOTH));
    let start = Instant::now();
    while served.plugin.stats().tasks == 0 {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    served.host.close(&Status::new(Code::Unavailable, "enough"));
    served.host.block_on(async {
        assert!(next(&call).await.is_none());
        assert!(matches!(reply(&call).await.unwrap_err(), CallError::SessionEnded { .. }));
    });
    while served.plugin.end().is_none() || served.plugin.stats().tasks > 0 {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_stream_both_ways_at_once() {
    use rapace_session::tokio::AsyncSession;
    let seen = Arc::<Seen>::default();
    let (host, plugin) = pair(Config::new("test", "1"), router(&seen), router(&seen));
    let (host, plugin) = (AsyncSession::new(host).unwrap(), AsyncSession::new(plugin).unwrap());
    let mut tasks = Vec::new();
    for caller in [host.caller(), plugin.caller()] {
        for _ in 0..16 {
            tasks.push(tokio::spawn(take_counted(caller.clone(), 300, 100)));
            tasks.push(tokio::spawn(send_counted(caller.clone(), 300, 5000)));
            tasks.push(tokio::spawn(echo_counted(caller.clone(), 30, 9000)));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    for session in [host.session().stats(), plugin.session().stats()] {
        assert_eq!((session.calls_in_flight, session.inbound_bytes, session.outbound_bytes), (0, 0, 0));
    }
}
