//! A host's limits against a peer that goes up to them and beyond, and what it says of itself when it has had enough.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, GeometryConfig, Side};
use rapace_session::{
    CallError, CallOptions, Code, Config, Features, Handshake, Hello, IncomingCall, Limits, Metadata, PeerA, Session,
    Status, StreamingCall, Streams, WaitStrategy,
};

const METHOD: u32 = 7;
/// The least that inbound bytes may be with the default limits of a message.
const INBOUND_BYTES: usize = (64 << 20) + (16 << 10);
/// Calls that the peer takes.
const PEER_CALLS_MAX: u32 = 8;
/// The largest body that the peer takes. (Of metadata it takes 10 bytes.)
const PEER_BYTES_MAX: usize = 1 << 20;

/// A host that keeps its calls, and its peer.
struct Stage {
    session: Session<PeerA>,
    fake: FakePeer,
    held: Arc<Mutex<Vec<IncomingCall>>>,
    /// Frames that were taken of the host's, and runs of slots that were returned.
    taken: u64,
    returned: u32,
}

/// A host with calls that send items.
struct Granted {
    stage: Stage,
    calls: Vec<StreamingCall>,
}

/// What there is to see of a frame.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: u32,
    method: u32,
    credit: u32,
    bytes: Vec<u8>,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let geometry = GeometryConfig { segment_bytes: 64 << 10, ring_capacity: 64, slot_bytes: 64 };
        let config = Config { geometry, limits, wait: WaitStrategy::Park, ..Config::new("host", "1") };
        let (here, there) = Socket::pair().unwrap();
        let handshake = Handshake::<PeerA>::offer(here, None, config).unwrap();
        let (offer, halves) = there.recv_offer(Instant::now()).unwrap();
        let mut fake = FakePeer::new(Segment::accept(&offer, halves.unwrap()).unwrap(), there);
        let hello = Hello {
            major: 1,
            minor: 0,
            role: 1,
            features: Features::STREAMS,
            max_message_bytes: PEER_BYTES_MAX as u64,
            max_metadata_bytes: 10,
            max_calls: PEER_CALLS_MAX,
            max_depth: 1,
            name: String::new(),
            version: String::new(),
            registry: Vec::new(),
        };
        send(&mut fake, FrameHeader::control(Verb::Hello), &hello.encode().unwrap());
        send(&mut fake, FrameHeader::control(Verb::Accept), &[]);
        let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
        let desk = Arc::clone(&held);
        let session = handshake.finish(move |call| desk.lock().unwrap().push(call)).unwrap();
        let mut stage = Self { session, fake, held, taken: 0, returned: 0 };
        while stage.take().is_some() {}
        stage
    }

    fn play(&mut self, frames: &[(FrameHeader, &[u8])]) {
        for (header, bytes) in frames {
            send(&mut self.fake, *header, bytes);
        }
        self.session.serve_for(Duration::ZERO);
    }

    /// The host's next frame.
    fn take(&mut self) -> Option<Seen> {
        let words = self.fake.take()?;
        self.taken += 1;
        let half = |word: u64, shift: u32| u32::try_from(word >> shift & u64::from(u32::MAX)).unwrap();
        let (slot, length) = (half(words[1], 0), half(words[2], 32) as usize);
        let geometry = self.fake.geometry();
        let bytes: Vec<u8> = if slot == u32::MAX {
            words[4..].iter().flat_map(|word| word.to_le_bytes()).take(length).collect()
        } else {
            let at = geometry.slots_offset() + (slot * geometry.slot_bytes()) as usize;
            let lap = self.returned / geometry.return_capacity() + 1;
            self.fake.store_return(self.returned, words[1] & !0xffff_ffff | u64::from(lap << 24 | slot));
            self.returned += 1;
            (0..length.div_ceil(8)).flat_map(|word| self.fake.load(at + 8 * word).to_le_bytes()).take(length).collect()
        };
        Some(Seen { kind: half(words[3], 0) & 7, method: half(words[0], 32), credit: half(words[3], 32), bytes })
    }

    /// With so many calls whose items the peer takes.
    fn granted(mut self, count: u32) -> Granted {
        let calls = (0..count).map(|_| self.open(Streams { sends: true, receives: false })).collect();
        while self.take().is_some() {}
        for index in 0..count {
            let channel = ChannelId::new(Side::A, index, ChannelGeneration::FIRST.next()).raw().to_le_bytes();
            let header = FrameHeader { flags: Flags::CREDIT, credit: 1 << 20, ..FrameHeader::control(Verb::Grant) };
            self.play(&[(header, &channel)]);
        }
        Granted { stage: self, calls }
    }

    fn open(&self, streams: Streams) -> StreamingCall {
        self.session.block_on(self.session.caller().open(METHOD, &[], streams, &CallOptions::new())).unwrap()
    }
}

impl Granted {
    /// Takes all that was sent, and says so.
    fn make_room(&mut self) {
        while self.stage.take().is_some() {}
        self.stage.fake.announce(self.stage.taken);
        self.stage.session.serve_for(Duration::ZERO);
    }
}

/// Counts how often it is woken, and when that was last, by the count that all share.
#[derive(Default)]
struct Woken {
    times: AtomicU32,
    last: AtomicU32,
    all: Arc<AtomicU32>,
}

impl Woken {
    fn new(all: &Arc<AtomicU32>) -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self { all: Arc::clone(all), ..Self::default() });
        (Arc::clone(&woken), Waker::from(woken))
    }

    fn times(&self) -> u32 {
        self.times.load(Ordering::SeqCst)
    }

    fn last(&self) -> u32 {
        self.last.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.times.fetch_add(1, Ordering::SeqCst);
        self.last.store(self.all.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn send(fake: &mut FakePeer, header: FrameHeader, bytes: &[u8]) {
    fake.publish(encode(&header, &Payload::Inline(Inline::new(bytes).unwrap())));
}

/// A request of the peer on the channel of this index, opened for the first time.
fn request(index: u32, flags: Flags) -> FrameHeader {
    let channel = ChannelId::new(Side::B, index, ChannelGeneration::FIRST);
    FrameHeader { channel, method: METHOD, kind: Kind::Request, flags, depth: 1, credit: 0 }
}

#[test]
fn calls_beyond_those_that_are_served_at_once_are_answered_and_not_run() {
    let mut stage = Stage::new(Limits { served_max: Some(2), ..Limits::default() });
    for index in 0..3 {
        stage.play(&[(request(index, Flags::NONE), b"")]);
    }
    assert_eq!(stage.held.lock().unwrap().len(), 2);
    let answer = stage.take().unwrap();
    let status = Status::decode(&answer.bytes);
    assert_eq!((answer.kind, status.code), (Kind::Error.raw(), Code::ResourceExhausted));
    assert_eq!(status.message, "3 calls are in flight, but at most 2 are served");
    let stats = stage.session.stats();
    assert_eq!((stats.served_in_flight, stats.calls_refused), (2, 1));
    // One that ends makes room for another.
    stage.held.lock().unwrap().remove(0).reply(b"");
    stage.play(&[(request(3, Flags::NONE), b"")]);
    assert_eq!((stage.held.lock().unwrap().len(), stage.session.stats().calls_refused), (2, 1));
}

#[test]
fn a_reply_that_the_caller_does_not_take_becomes_an_error() {
    let body = |bytes: usize| (vec![0; bytes], Metadata::new());
    let metadata = |bytes: usize| {
        let mut metadata = Metadata::new();
        metadata.insert("k", vec![0; bytes - 5]).unwrap();
        (Vec::new(), metadata)
    };
    let cases = [
        (body(PEER_BYTES_MAX), None),
        (body(PEER_BYTES_MAX + 1), Some("reply has 1048577 bytes, but the caller takes 1048576")),
        (metadata(10), None),
        (metadata(11), Some("metadata of the reply have 11 bytes, but the caller takes 10")),
    ];
    for ((body, metadata), refused) in cases {
        let mut stage = Stage::new(Limits::default());
        stage.play(&[(request(0, Flags::NONE), b"")]);
        stage.held.lock().unwrap().remove(0).reply_with(&body, &metadata);
        let answer = stage.take().unwrap();
        assert_eq!(answer.kind, if refused.is_some() { Kind::Error } else { Kind::Reply }.raw());
        if let Some(message) = refused {
            assert_eq!(Status::decode(&answer.bytes), Status::new(Code::ResourceExhausted, message));
        }
    }
}

#[test]
fn a_call_whose_time_is_over_is_answered_and_not_run() {
    let mut stage = Stage::new(Limits::default());
    stage.play(&[(request(0, Flags::DEADLINE), &0u64.to_le_bytes())]);
    assert!(stage.held.lock().unwrap().is_empty());
    let answer = stage.take().unwrap();
    assert_eq!((answer.kind, Status::decode(&answer.bytes).code), (Kind::Error.raw(), Code::DeadlineExceeded));
}

#[test]
fn a_look_without_time_runs_all_calls_that_are_there() {
    let mut stage = Stage::new(Limits::default());
    let requests: [(FrameHeader, &[u8]); 4] = [0, 1, 2, 3].map(|index| (request(index, Flags::NONE), &b""[..]));
    stage.play(&requests);
    assert_eq!(stage.held.lock().unwrap().len(), 4);
}

#[test]
fn a_cancel_of_the_call_before_does_not_reach_the_one_that_has_its_channel_now() {
    let mut stage = Stage::new(Limits::default());
    let before = request(0, Flags::NONE);
    let now = ChannelId::new(Side::B, 0, ChannelGeneration::FIRST.next());
    let cancel = FrameHeader::control(Verb::Cancel);
    stage.play(&[(before, b"")]);
    stage.held.lock().unwrap().remove(0).reply(b"");
    stage.play(&[(FrameHeader { channel: now, ..before }, b"")]);
    stage.play(&[(cancel, &before.channel.raw().to_le_bytes())]);
    assert!(!stage.held.lock().unwrap()[0].is_cancelled());
    stage.play(&[(cancel, &now.raw().to_le_bytes())]);
    assert!(stage.held.lock().unwrap()[0].is_cancelled());
}

#[test]
fn all_who_wait_for_a_cancel_hear_of_it_where_they_waited_last() {
    let mut stage = Stage::new(Limits::default());
    stage.play(&[(request(0, Flags::NONE), b"")]);
    let call = stage.held.lock().unwrap().pop().unwrap();
    let all = Arc::default();
    let [before, first, second, gone] = [(); 4].map(|()| Woken::new(&all));
    let polled = |future: Pin<&mut dyn Future<Output = ()>>, waker: &Waker| {
        assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
    };
    let (mut a, mut b) = (pin!(call.cancelled()), pin!(call.cancelled()));
    polled(a.as_mut(), &before.1);
    polled(a.as_mut(), &first.1);
    {
        let mut given_up = pin!(call.cancelled());
        polled(given_up.as_mut(), &gone.1);
        polled(b.as_mut(), &second.1);
    }
    stage.play(&[(FrameHeader::control(Verb::Cancel), &request(0, Flags::NONE).channel.raw().to_le_bytes())]);
    assert_eq!([before, first, second, gone].map(|(woken, _)| woken.times()), [0, 1, 1, 0]);
}

/// SPEC section 14: the window, while that of all streams fits half of the bytes that are kept; then this half divided by
/// the calls that may be in flight both ways.
#[test]
fn the_credit_of_all_streams_fits_half_of_the_bytes_that_are_kept() {
    let window = 10 << 20;
    let limits =
        Limits { stream_window_bytes: window, inbound_bytes_max: INBOUND_BYTES, calls_max: 20, ..Limits::default() };
    let least = u32::try_from(INBOUND_BYTES / 2 / 28).unwrap();
    let mut stage = Stage::new(limits);
    // Those of both sides count.
    let mut ours = vec![stage.open(Streams { sends: false, receives: true })];
    assert_eq!(stage.take().unwrap().credit, window);
    stage.play(&[(request(0, Flags::ITEMS), b"")]);
    assert_eq!(stage.take().unwrap().credit, window);
    for expected in [window, least, least] {
        ours.push(stage.open(Streams { sends: false, receives: true }));
        assert_eq!(stage.take().unwrap().credit, expected);
    }
    stage.play(&[(request(1, Flags::ITEMS), b"")]);
    assert_eq!(stage.take().unwrap().credit, least);
    // A window that is less than that is not made more.
    let mut stage = Stage::new(Limits { stream_window_bytes: 1, ..limits });
    stage.play(&[(request(0, Flags::ITEMS), b"")]);
    assert_eq!(stage.take().unwrap().credit, 1);
}

#[test]
fn an_item_waits_beside_others_that_wait_for_room_if_all_are_more_than_may_wait() {
    let Granted { stage, calls } = Stage::new(Limits { outbound_bytes_max: 64 << 10, ..Limits::default() }).granted(3);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut sent = |call: &StreamingCall, bytes: usize| call.poll_send(cx, &vec![0; bytes]);
    // The first alone may be any size; the sum is what matters then.
    assert!(matches!(sent(&calls[0], 40 << 10), Poll::Ready(Ok(()))));
    assert!(matches!(sent(&calls[1], (24 << 10) + 1), Poll::Pending));
    assert!(matches!(sent(&calls[2], 24 << 10), Poll::Ready(Ok(()))));
    assert_eq!(stage.session.stats().outbound_bytes, 64 << 10);
}

#[test]
fn a_request_waits_beside_others_that_wait_for_room_if_all_are_more_than_may_wait() {
    let stage = Stage::new(Limits { outbound_bytes_max: 64 << 10, ..Limits::default() });
    let started = |bytes: usize| stage.session.try_start(METHOD, &vec![0; bytes], &CallOptions::new());
    let _first = started(40 << 10).unwrap();
    assert_eq!(started((24 << 10) + 1).unwrap_err(), CallError::WouldBlock);
    let _second = started(24 << 10).unwrap();
    assert_eq!(stage.session.stats().outbound_bytes, 64 << 10);
    // One alone may be any size.
    let stage = Stage::new(Limits { outbound_bytes_max: 64 << 10, ..Limits::default() });
    let _large = stage.session.try_start(METHOD, &vec![0; 100 << 10], &CallOptions::new()).unwrap();
}

#[test]
fn an_item_that_fits_a_frame_waits_with_its_sender() {
    let stage = Stage::new(Limits::default());
    let mut stage = stage.granted(1);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut sent = 0;
    while stage.calls[0].poll_send(cx, &[0; 100]).is_ready() {
        sent += 1;
        assert!(sent < 1000);
    }
    assert_eq!((sent > 0, stage.stage.session.stats().outbound_bytes), (true, 0));
    stage.make_room();
    assert!(stage.calls[0].poll_send(cx, &[0; 100]).is_ready());
}

#[test]
fn of_those_who_wait_for_room_whoever_sent_last_is_woken_last() {
    let mut stage = Stage::new(Limits::default()).granted(4);
    let all = Arc::default();
    let wakers = [(); 3].map(|()| Woken::new(&all));
    let sends = |stage: &Granted, call: usize, bytes: usize| {
        stage.calls[call].poll_send(&mut Context::from_waker(&wakers[call].1), &vec![0; bytes]).is_ready()
    };
    assert!(sends(&stage, 0, 1));
    // It takes more slots than there are.
    assert!(sends(&stage, 1, 100 << 10));
    while stage.calls[3].poll_send(&mut Context::from_waker(Waker::noop()), b"").is_ready() {}
    for call in [1, 0, 2] {
        assert!(!sends(&stage, call, 1));
    }
    stage.make_room();
    let woken = wakers.map(|(woken, _)| (woken.times(), woken.last()));
    assert!(woken.iter().all(|(times, _)| *times == 1), "{woken:?}");
    assert!(woken[2] < woken[0] && woken[0] < woken[1], "{woken:?}");
}

/// A ring of 64, of which the half is for items, has room for 10 of each of three.
#[test]
fn of_those_who_wait_for_room_each_leaves_as_much_to_the_others() {
    let mut stage = Stage::new(Limits::default()).granted(3);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut burst = |call: &StreamingCall| (0..1000).take_while(|_| call.poll_send(cx, b"small").is_ready()).count();
    while stage.calls.iter().map(&mut burst).sum::<usize>() > 0 {}
    stage.make_room();
    assert_eq!(stage.calls.iter().map(&mut burst).collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn an_item_behind_the_end_is_the_callers_mistake() {
    let mut stage = Stage::new(Limits::default());
    let call = stage.open(Streams { sends: true, receives: false });
    call.finish();
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = call.poll_send(cx, b"late") else { panic!("it is refused") };
    assert_eq!(error.code(), Code::FailedPrecondition);
    // The request and the end.
    assert_eq!(
        [stage.take(), stage.take(), stage.take()].map(|seen| seen.map(|seen| seen.kind)),
        [Some(Kind::Request.raw()), Some(Kind::End.raw()), None]
    );
}

#[test]
fn a_peer_is_told_once_to_go_away_and_why() {
    let mut stage = Stage::new(Limits::default());
    let reason = Status::new(Code::Aborted, "an update of the whole program");
    stage.session.go_away(&reason);
    stage.session.go_away(&Status::new(Code::Internal, "another reason"));
    let told = stage.take().unwrap();
    assert_eq!((told.method, Status::decode(&told.bytes)), (Verb::GoAway.raw(), reason.clone()));
    assert_eq!(stage.take(), None);
    stage.play(&[(request(0, Flags::NONE), b"late")]);
    let refused = Status { code: Code::Unavailable, ..reason };
    assert_eq!(Status::decode(&stage.take().unwrap().bytes), refused);
    let bye = Status::new(Code::Unavailable, "bye");
    stage.session.close(&bye);
    stage.session.go_away(&bye);
    let told = stage.take().unwrap();
    assert_eq!((told.method, Status::decode(&told.bytes)), (Verb::Close.raw(), bye));
    assert_eq!(stage.take(), None);
}

#[test]
fn nothing_is_sent_behind_a_close() {
    let mut stage = Stage::new(Limits::default());
    stage.session.close(&Status::new(Code::Unavailable, "bye"));
    assert_eq!(stage.take().unwrap().method, Verb::Close.raw());
    stage.session.go_away(&Status::new(Code::Unavailable, "bye"));
    assert_eq!(stage.take(), None);
}
