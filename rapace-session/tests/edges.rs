//! What is easily lost where waits, wakers, deadlines and slots meet.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::layout::header as words;
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Side};
use rapace_session::*;

/// How long what is sure to come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const METHOD: u32 = 7;
const BOTH: Streams = Streams { sends: true, receives: true };

struct Liar {
    fake: FakePeer,
    slot: u32,
}

impl Liar {
    fn send(&mut self, header: FrameHeader, bytes: &[u8]) {
        let payload = if let Some(inline) = Inline::new(bytes) {
            Payload::Inline(inline)
        } else {
            let slot = self.slot;
            self.fake.write_slot(slot, bytes);
            self.slot += 1;
            let payload_bytes = bytes.len().try_into().unwrap();
            Payload::Slots(Run { slot, generation: 1, offset: 0, payload_bytes, slots: 1 })
        };
        self.fake.publish(encode(&header, &payload));
    }
    fn peer_sleeps(&self) -> bool {
        self.fake.load(words::SLEEP) & 1 != 0
    }
}

fn open(handler: impl Handler) -> (Session<PeerA>, Liar) {
    let config = Config { wait: WaitStrategy::Park, ..Config::new("host", "1") };
    let (here, there) = Socket::pair().unwrap();
    let handshake = Handshake::<PeerA>::offer(here, None, config).unwrap();
    let (offer, halves) = there.recv_offer(Instant::now()).unwrap();
    let mut liar = Liar { fake: FakePeer::new(Segment::accept(&offer, halves.unwrap()).unwrap(), there), slot: 0 };
    let hello = Hello {
        major: 1,
        minor: 0,
        role: 1,
        features: Features::STREAMS,
        max_message_bytes: 1 << 20,
        max_metadata_bytes: 0,
        max_calls: 8,
        max_depth: 8,
        name: String::new(),
        version: String::new(),
        registry: Vec::new(),
    };
    liar.send(FrameHeader::control(Verb::Hello), &hello.encode().unwrap());
    liar.send(FrameHeader::control(Verb::Accept), &[]);
    let session = handshake.finish(handler).unwrap();
    while liar.fake.take().is_some() {}
    (session, liar)
}

fn header(kind: Kind, opener: Side, index: u32, generation: ChannelGeneration) -> FrameHeader {
    let depth = u8::from(kind == Kind::Request);
    let channel = ChannelId::new(opener, index, generation);
    FrameHeader { channel, method: METHOD, kind, flags: Flags::NONE, depth, credit: 0 }
}

fn pair(a: Config, b: Config, a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (x, y) = Socket::pair().unwrap();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(y, b).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(x, None, a).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        thread::yield_now();
    }
}

/// Runs what may hang.
fn returns<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(code()));
    told.recv_timeout(PATIENCE).ok()
}

#[derive(Default)]
struct Counter(AtomicU32);
impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_false_count_of_progress_while_a_stream_waits_for_room_ends_the_session() {
    let (session, mut liar) = open(NoService);
    let caller = session.caller();
    let call = session.block_on(caller.open(METHOD, &[], BOTH, &CallOptions::new())).unwrap();
    while liar.fake.take().is_some() {}
    let grant = FrameHeader { flags: Flags::CREDIT, credit: 1 << 20, ..FrameHeader::control(Verb::Grant) };
    let channel = ChannelId::new(Side::A, 0, ChannelGeneration::FIRST.next());
    liar.send(grant, &channel.raw().to_le_bytes());
    session.serve_for(Duration::ZERO);
    // The liar takes nothing.
    let mut sent = 0;
    while call.poll_send(&mut Context::from_waker(Waker::noop()), b"item").is_ready() {
        sent += 1;
    }
    assert!(sent > 8);
    let server = session.clone();
    thread::spawn(move || server.serve());
    until(|| liar.peer_sleeps());
    // The first look found news of room; now it waits for good.
    for _ in 0..100 {
        assert!(call.poll_send(&mut Context::from_waker(Waker::noop()), b"item").is_pending());
    }
    liar.fake.announce(u64::MAX);
    // Any use of the session by another thread than the one that sleeps.
    let other = session.clone();
    let outcome = returns(move || other.try_start(METHOD, &[], &CallOptions::new()).map(drop));
    if outcome.is_none() {
        std::mem::forget((session, call, liar, caller));
        panic!("hangs, with the session's lock");
    }
    assert!(session.end().is_some());
}

#[test]
fn a_deadline_reaches_the_half_that_was_not_polled_last() {
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let config = || Config::new("x", "1");
    let (host, plugin) = pair(config(), config(), NoService, move |call| desk.lock().unwrap().push(call));
    let server = plugin.clone();
    thread::spawn(move || server.serve());
    let options = CallOptions::new().deadline(Duration::from_secs(2));
    let call = Arc::new(host.block_on(host.caller().open(METHOD, &[], BOTH, &options)).unwrap());
    until(|| held.lock().unwrap().len() == 1);
    // One thread reads; it sleeps.
    let (tell, told) = mpsc::channel();
    let (reader, session) = (Arc::clone(&call), host.clone());
    let sleeps = host.stats().link.sleeps;
    thread::spawn(move || tell.send(session.block_on(poll_fn(|cx| reader.poll_item(cx))).is_none()));
    until(|| host.stats().link.sleeps > sleeps);
    // Another sends one item, and is done.
    host.block_on(poll_fn(|cx| call.poll_send(cx, b"item"))).unwrap();
    let end = told.recv_timeout(PATIENCE);
    if end.is_err() {
        std::mem::forget((host, plugin, call));
    }
    end.expect("the reader waits beyond the deadline");
}

#[test]
fn a_body_in_place_is_whole_when_the_deadline_is_endless() {
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let one = Config { limits: Limits { calls_max: 1, ..Limits::default() }, ..Config::new("plugin", "1") };
    let (host, plugin) = pair(Config::new("host", "1"), one, NoService, move |call: IncomingCall| {
        if call.method() == 1 {
            desk.lock().unwrap().push(call);
        } else {
            let body = call.body().to_vec();
            call.reply(&body);
        }
    });
    let server = plugin.clone();
    thread::spawn(move || server.serve());
    // The only call that the plugin takes at a time.
    let first = host.start(1, b"", &CallOptions::new()).unwrap();
    until(|| held.lock().unwrap().len() == 1);
    let body: Vec<u8> = (1..=100).collect();
    let (wanted, caller) = (body.clone(), host.caller());
    let sleeps = host.stats().link.sleeps;
    let second = thread::spawn(move || {
        let options = CallOptions::new().deadline(Duration::MAX);
        caller.call_in_place(2, 100, |place| place.copy_from_slice(&body), &options).unwrap().body.to_vec()
    });
    until(|| host.stats().link.sleeps > sleeps);
    held.lock().unwrap().pop().unwrap().reply(b"");
    let got = second.join().unwrap();
    drop(first);
    assert_eq!(got, wanted);
}

#[test]
fn a_nested_body_in_place_that_waits_for_room_runs_no_calls_beside_its_own() {
    let one = Config { limits: Limits { calls_max: 1, ..Limits::default() }, ..Config::new("plugin", "1") };
    let (moved_sender, moved) = mpsc::channel();
    let beside = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ran = Arc::clone(&beside);
    let at_host = move |call: IncomingCall| match call.method() {
        1 => moved_sender.send(call).unwrap(),
        _ => {
            ran.store(true, Ordering::Relaxed);
            call.reply(b"");
        }
    };
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let at_plugin = move |call: IncomingCall| desk.lock().unwrap().push(call);
    let (host, plugin) = pair(Config::new("host", "1"), one, at_host, at_plugin);
    let call_host = |method| {
        let plugin = plugin.clone();
        thread::spawn(move || plugin.call(method, b"", &CallOptions::new()).map(|_| ()))
    };
    let outer = call_host(1);
    let call = loop {
        match moved.try_recv() {
            Ok(call) => break call,
            Err(_) => drop(host.serve_for(Duration::from_millis(1))),
        }
    };
    // This thread is in no handler, but its calls are of one. The plugin takes one at a time.
    let caller = call.caller();
    let first = caller.start_in_place(2, 100, |_| {}, &CallOptions::new()).unwrap();
    until(|| held.lock().unwrap().len() == 1);
    let other = call_host(9);
    until(|| plugin.stats().calls_in_flight == 2);
    let options = CallOptions::new().deadline(Duration::from_millis(100));
    assert!(matches!(caller.start_in_place(3, 100, |_| {}, &options), Err(CallError::NoRoom { .. })));
    assert!(!beside.load(Ordering::Relaxed), "a call of depth 1 ran within one of depth 2");
    drop((first, call));
    host.close(&Status::new(Code::Unavailable, "done"));
    assert!(outer.join().unwrap().is_err() && other.join().unwrap().is_err());
}

#[test]
fn a_call_finds_a_thread_though_the_one_that_was_woken_for_it_had_its_reply() {
    // Other work delays whoever was woken: it has the lock behind the leader.
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for _ in 0..4 {
        let over = Arc::clone(&over);
        thread::spawn(move || while !over.load(Ordering::Relaxed) {});
    }
    let lost = (0..40).filter(|_| !is_served()).count();
    over.store(true, Ordering::Relaxed);
    assert_eq!(lost, 0, "of 40 calls that a thread sleeps beside");
}

/// Whether the threads of this name are there and asleep, as the kernel sees it.
fn sleeps(name: &str) -> bool {
    let mut asleep = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // One that has ended meanwhile has none of this.
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        if head.split_once('(').is_some_and(|(_, found)| found == name) {
            asleep.push(rest.trim_start().starts_with('S'));
        }
    }
    !asleep.is_empty() && asleep.into_iter().all(|asleep| asleep)
}

fn is_served() -> bool {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let (session, mut liar) = open(move |call: IncomingCall| {
        if call.body() == b"nested" {
            // Waits, at depth 1, for something else than a reply: this thread leads.
            call.caller().block_on(std::future::pending::<()>()).unwrap();
        } else {
            tell.lock().unwrap().send(()).unwrap();
            call.reply(b"");
        }
    });
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let serve = |name| {
        let server = session.clone();
        named(name).spawn(move || server.serve()).unwrap();
    };
    let theirs = |index| header(Kind::Request, Side::B, index, ChannelGeneration::FIRST);
    liar.send(theirs(0), b"nested");
    serve("leads");
    until(|| liar.peer_sleeps());
    // A thread outside of handlers that waits for a reply, and then one that serves: they follow.
    let user = session.clone();
    let calls = move || user.call(METHOD, b"", &CallOptions::new()).map(drop);
    let replied = named("follows").spawn(calls).unwrap();
    until(|| liar.fake.take().is_some());
    until(|| sleeps("follows"));
    serve("serves");
    until(|| sleeps("serves"));
    // The reply to the user's call, and a call, in one go.
    liar.send(theirs(1), b"plain");
    liar.send(header(Kind::Reply, Side::A, 0, ChannelGeneration::FIRST.next()), b"");
    let _ = liar.fake.socket.ring().unwrap();
    replied.join().unwrap().unwrap();
    let served = told.recv_timeout(Duration::from_secs(4)).is_ok();
    session.close(&Status::new(Code::Unavailable, "over"));
    served
}

#[test]
fn a_call_that_is_over_leaves_no_timer() {
    let config = || Config::new("x", "1");
    let (host, plugin) = pair(config(), config(), NoService, |call: IncomingCall| call.reply(b""));
    let server = plugin.clone();
    thread::spawn(move || server.serve());
    let options = CallOptions::new().deadline(Duration::from_secs(3600));
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    for _ in 0..100 {
        let mut call = Box::pin(host.start(1, b"", &options).unwrap());
        if call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            (*std::pin::Pin::into_inner(call)).wait().unwrap();
        }
    }
    // Streams: a half that is polled behind the reply.
    let call = host.block_on(host.caller().open(METHOD, &[], BOTH, &options)).unwrap();
    host.block_on(poll_fn(|cx| call.poll_reply(cx))).unwrap();
    let second = Arc::new(Counter::default());
    let late = Waker::from(Arc::clone(&second));
    assert!(matches!(call.poll_item(&mut Context::from_waker(&late)), Poll::Ready(None)));
    drop((call, waker, late));
    assert_eq!((Arc::strong_count(&counter) - 1, Arc::strong_count(&second) - 1), (0, 0), "wakers that are kept");
}

/// A task of an executor whose wakers own their tasks, as many do.
struct Task(#[allow(dead_code)] Mutex<Option<PendingCall>>);
impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_last_waker_of_a_task_may_own_a_call() {
    let config = || Config::new("x", "1");
    let (host, plugin) = pair(config(), config(), NoService, NoService);
    let inner = host.start(1, b"", &CallOptions::new()).unwrap();
    let mut call = Box::pin(host.start(1, b"", &CallOptions::new()).unwrap());
    let waker = Waker::from(Arc::new(Task(Mutex::new(Some(inner)))));
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    // The call goes to another task.
    let moved = returns(move || drop(call.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    std::mem::forget((host, plugin));
    moved.expect("hangs: the waker was dropped with the lock held");
}

#[test]
fn polling_for_a_cancel_keeps_one_waker() {
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let config = || Config::new("x", "1");
    let (host, plugin) = pair(config(), config(), NoService, move |call| desk.lock().unwrap().push(call));
    let _pending = host.start(1, b"", &CallOptions::new()).unwrap();
    plugin.serve_for(Duration::from_millis(100));
    let call = held.lock().unwrap().pop().unwrap();
    let counters: Vec<_> = (0..1000).map(|_| Arc::new(Counter::default())).collect();
    for counter in &counters {
        assert!(call.poll_cancelled(&mut Context::from_waker(&Waker::from(Arc::clone(counter)))).is_pending());
    }
    assert!(counters.iter().filter(|counter| Arc::strong_count(counter) > 1).count() <= 2);
}

#[test]
fn an_item_within_a_final_is_a_fault() {
    let (session, mut liar) = open(NoService);
    let call = session.block_on(session.caller().open(METHOD, &[], BOTH, &CallOptions::new())).unwrap();
    while liar.fake.take().is_some() {}
    let ours = |kind| header(kind, Side::A, 0, ChannelGeneration::FIRST.next());
    liar.send(FrameHeader { flags: Flags::MORE, ..ours(Kind::Reply) }, b"first");
    liar.send(ours(Kind::Item), b"item");
    liar.send(ours(Kind::Reply), b"last");
    session.serve_for(Duration::ZERO);
    let item = call.poll_item(&mut Context::from_waker(Waker::noop()));
    assert!(session.end().is_some(), "M2: {item:?} was taken in the middle of the reply");
}

/// A plugin that keeps calls of method 1, with their bodies, and answers others.
fn keeper() -> (Session<PeerA>, Arc<Mutex<Vec<IncomingCall>>>) {
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let config = || Config::new("x", "1");
    let (host, plugin) = pair(config(), config(), NoService, move |call: IncomingCall| match call.method() {
        1 => desk.lock().unwrap().push(call),
        _ => call.reply(b""),
    });
    thread::spawn(move || plugin.serve());
    (host, held)
}

#[test]
fn an_item_goes_in_pieces_beside_a_body_that_is_read_in_place() {
    let (host, held) = keeper();
    let options = CallOptions::new().deadline(PATIENCE);
    let call = host.block_on(host.caller().open(1, &[7; 500_000], BOTH, &options)).unwrap();
    until(|| held.lock().unwrap().len() == 1);
    let sent = host.block_on(poll_fn(|cx| call.poll_send(cx, &[7; 1_400_000])));
    held.lock().unwrap().clear();
    sent.expect("the handler has its request, and waits for an item");
}

#[test]
fn a_request_goes_in_pieces_beside_a_body_that_is_read_in_place() {
    let (host, held) = keeper();
    let _first = host.start(1, &[7; 500_000], &CallOptions::new()).unwrap();
    until(|| held.lock().unwrap().len() == 1);
    let reply = host.call(2, &[7; 1_600_000], &CallOptions::new().deadline(PATIENCE));
    let larger = host.call(2, &[7; 3_000_000], &CallOptions::new().deadline(PATIENCE));
    held.lock().unwrap().clear();
    larger.expect("it goes in pieces anyway");
    reply.expect("a handler keeps its body");
}

#[test]
fn a_request_in_pieces_finds_room_wherever_a_body_is_kept() {
    use rapace_core::GeometryConfig;
    use rapace_core::layout::Geometry;
    let geometry = (8..40)
        .map(|pages| GeometryConfig { segment_bytes: 2 * 4096 * pages, ring_capacity: 16, slot_bytes: 4096 })
        .find(|config| Geometry::new(*config).is_ok_and(|geometry| geometry.slot_count() == 16))
        .unwrap();
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let config = || Config { geometry, ..Config::new("x", "1") };
    let (host, plugin) = pair(config(), config(), NoService, move |call: IncomingCall| match call.method() {
        1 => desk.lock().unwrap().push(call),
        _ => call.reply(b""),
    });
    // Slots 2 to 7, which come back, and 8 and 9, which are kept.
    let first = host.start(2, &[7; 24_000], &CallOptions::new()).unwrap();
    let _kept = host.start(1, &[7; 8_000], &CallOptions::new()).unwrap();
    thread::spawn(move || plugin.serve());
    first.wait().unwrap();
    until(|| held.lock().unwrap().len() == 1);
    let reply = host.call(2, &[7; 60_000], &CallOptions::new().deadline(PATIENCE));
    let free = host.stats().slots_free;
    held.lock().unwrap().clear();
    reply.unwrap_or_else(|error| panic!("{free} slots are free: {error}"));
}

#[test]
fn what_waits_goes_on_when_a_loan_comes_back_unsent() {
    let (host, _held) = keeper();
    let caller = host.caller();
    let (tell, told) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    // All slots of requests.
    let filler = thread::spawn(move || {
        let fill = |_: &mut [u8]| {
            tell.send(()).unwrap();
            released.recv().unwrap();
            panic!("the body cannot be made");
        };
        caller.call_in_place(2, 446 * 4096, fill, &CallOptions::new()).map(drop)
    });
    told.recv().unwrap();
    let user = host.clone();
    let other = thread::spawn(move || user.call(2, &[7; 3_000_000], &CallOptions::new().deadline(PATIENCE)).map(drop));
    until(|| host.stats().outbound_bytes > 0);
    release.send(()).unwrap();
    assert!(filler.join().is_err());
    other.join().unwrap().expect("there is room again");
}
