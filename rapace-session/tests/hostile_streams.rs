//! A host against a peer that breaks the rules of streams (SPEC C12 to C15), or does what looks like it and is none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Side};
use rapace_session::{
    CallError, CallOptions, Code, Config, FaultPolicy, Features, Handshake, Hello, IncomingCall, Limits, PeerA,
    PendingCall, Session, SessionEnd, StreamingCall, Streams, WaitStrategy,
};

const METHOD: u32 = 7;
const WINDOW: u32 = 256;
const BODY_BYTES_MAX: usize = 1000;
const CREDIT_MAX: u32 = i32::MAX.cast_unsigned();
const BOTH: Streams = Streams { sends: true, receives: true };

/// A frame to be sent: its header and its payload.
type Sent = (FrameHeader, Vec<u8>);

/// A plugin that publishes what it is told to.
struct Liar {
    fake: FakePeer,
    slot: u32,
}

impl Liar {
    /// Publishes a frame, with its payload in slots that were not used before.
    fn send(&mut self, header: FrameHeader, bytes: &[u8]) {
        let payload = if let Some(inline) = Inline::new(bytes) {
            Payload::Inline(inline)
        } else {
            let slot = self.slot;
            self.fake.write_slot(slot, bytes);
            self.slot += 1;
            Payload::Slots(Run {
                slot,
                generation: 1,
                offset: 0,
                payload_bytes: bytes.len().try_into().unwrap(),
                slots: 1,
            })
        };
        self.fake.publish(encode(&header, &payload));
    }

    /// The kind, the method and the credit of the host's next frame.
    fn take(&mut self) -> Option<(u32, u32, u32)> {
        let words = self.fake.take()?;
        let half = |word: u64, shift: u32| u32::try_from(word >> shift & u64::from(u32::MAX)).unwrap();
        Some((half(words[3], 0) & 7, half(words[0], 32), half(words[3], 32)))
    }
}

/// A host with a call of its own that streams both ways, on index 0, and one that does not, on index 1.
struct Stage {
    session: Session<PeerA>,
    liar: Liar,
    streaming: StreamingCall,
    _unary: PendingCall,
    /// The calls of the peer.
    held: Arc<Mutex<Vec<IncomingCall>>>,
}

fn open(features: Features, faults: FaultPolicy) -> (Session<PeerA>, Liar, Arc<Mutex<Vec<IncomingCall>>>) {
    let limits = Limits { message_bytes_max: BODY_BYTES_MAX, stream_window_bytes: WINDOW, ..Limits::default() };
    let config = Config { limits, faults, wait: WaitStrategy::Park, ..Config::new("host", "1") };
    let (here, there) = Socket::pair().unwrap();
    let handshake = Handshake::<PeerA>::offer(here, None, config).unwrap();
    let (offer, halves) = there.recv_offer(Instant::now()).unwrap();
    let mut liar = Liar { fake: FakePeer::new(Segment::accept(&offer, halves.unwrap()).unwrap(), there), slot: 0 };
    let hello = Hello {
        major: 1,
        minor: 0,
        role: 1,
        features,
        max_message_bytes: 1 << 20,
        max_metadata_bytes: 0,
        max_calls: 8,
        max_depth: 1,
        name: String::new(),
        version: String::new(),
        registry: Vec::new(),
    };
    liar.send(FrameHeader::control(Verb::Hello), &hello.encode().unwrap());
    liar.send(FrameHeader::control(Verb::Accept), &[]);
    let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let session = handshake.finish(move |call| desk.lock().unwrap().push(call)).unwrap();
    while liar.take().is_some() {}
    (session, liar, held)
}

impl Stage {
    fn new(faults: FaultPolicy) -> Self {
        let (session, mut liar, held) = open(Features::STREAMS, faults);
        let caller = session.caller();
        let streaming = session.block_on(caller.open(METHOD, &[], BOTH, &CallOptions::new())).unwrap();
        let unary = session.try_start(METHOD, &[], &CallOptions::new()).unwrap();
        while liar.take().is_some() {}
        Self { session, liar, streaming, _unary: unary, held }
    }

    fn play(&mut self, frames: &[Sent]) {
        for (header, bytes) in frames {
            self.liar.send(*header, bytes);
        }
        self.session.serve_for(Duration::ZERO);
    }
}

fn header(kind: Kind, opener: Side, index: u32, generation: ChannelGeneration) -> FrameHeader {
    let depth = u8::from(kind == Kind::Request);
    let channel = ChannelId::new(opener, index, generation);
    FrameHeader { channel, method: METHOD, kind, flags: Flags::NONE, depth, credit: 0 }
}

/// A frame of the callee, on a call of the host.
fn ours(kind: Kind, index: u32) -> FrameHeader {
    header(kind, Side::A, index, ChannelGeneration::FIRST.next())
}

/// A frame of the caller, on a call of the peer.
fn theirs(kind: Kind) -> FrameHeader {
    header(kind, Side::B, 0, ChannelGeneration::FIRST)
}

fn with(header: FrameHeader, flags: Flags) -> FrameHeader {
    FrameHeader { flags, ..header }
}

fn request(credit: u32) -> Sent {
    let flags = Flags::ITEMS.with(Flags::CREDIT);
    (FrameHeader { flags, credit, ..theirs(Kind::Request) }, Vec::new())
}

fn grant(channel: ChannelId, credit: u32) -> Sent {
    let header = FrameHeader { flags: Flags::CREDIT, credit, ..FrameHeader::control(Verb::Grant) };
    (header, channel.raw().to_le_bytes().to_vec())
}

fn empty(header: FrameHeader) -> Sent {
    (header, Vec::new())
}

fn next(call: &StreamingCall) -> Poll<Option<usize>> {
    call.poll_item(&mut Context::from_waker(Waker::noop())).map(|item| item.map(|body| body.len()))
}

/// What is there without waiting.
#[track_caller]
fn now<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(found) => found,
        Poll::Pending => panic!("it is not ready"),
    }
}

#[test]
fn each_broken_rule_of_streams_ends_the_session_by_its_name() {
    use Kind::{End, Item, Reply, Request};
    let (streaming, unary) = (ours(Item, 0).channel, ours(Item, 1).channel);
    let (item, large) = (vec![1; 24], vec![1; 200]);
    let ping = (with(FrameHeader::control(Verb::Ping), Flags::CREDIT), vec![0; 8]);
    let bare_grant = (FrameHeader::control(Verb::Grant), streaming.raw().to_le_bytes().to_vec());
    let goes_on = |header: FrameHeader, bytes: &[u8]| (with(header, header.flags.with(Flags::MORE)), bytes.to_vec());
    let cases: Vec<(&str, Vec<Sent>)> = vec![
        // Of the callee.
        ("C13", vec![(ours(Item, 1), item.clone())]),
        ("C13", vec![(ours(Item, 2), item.clone())]),
        ("C13", vec![empty(ours(End, 0))]),
        ("C2", vec![empty(FrameHeader { method: 8, ..ours(Item, 0) })]),
        ("C14", vec![(ours(Item, 0), large.clone()), empty(ours(Item, 0))]),
        ("C13", vec![empty(ours(Reply, 0)), empty(ours(Item, 0))]),
        ("M2", vec![goes_on(ours(Item, 0), &item), empty(ours(Reply, 0))]),
        ("M1", vec![goes_on(ours(Item, 0), &[])]),
        ("M1", vec![goes_on(ours(Item, 0), &item), empty(ours(Item, 0))]),
        // Of the caller.
        ("C13", vec![empty(theirs(Request)), empty(theirs(Item))]),
        ("C13", vec![empty(theirs(Request)), empty(theirs(End))]),
        ("C13", vec![goes_on(with(theirs(Request), Flags::ITEMS), &item), empty(theirs(Item))]),
        ("C13", vec![request(9), empty(theirs(End)), empty(theirs(Item))]),
        ("C13", vec![request(9), empty(theirs(End)), empty(theirs(End))]),
        ("C2", vec![request(9), empty(FrameHeader { method: 8, ..theirs(End) })]),
        ("C14", vec![request(9), (theirs(Item), large), empty(theirs(Item))]),
        ("M2", vec![request(9), goes_on(theirs(Item), &item), empty(theirs(End))]),
        // Credit.
        ("C15", vec![request(CREDIT_MAX + 1)]),
        ("C15", vec![grant(streaming, CREDIT_MAX + 1)]),
        ("C15", vec![grant(streaming, CREDIT_MAX), grant(streaming, 1)]),
        ("C15", vec![request(CREDIT_MAX), grant(theirs(Request).channel, 1)]),
        ("C13", vec![grant(unary, 1)]),
        ("C13", vec![grant(ChannelId::CONTROL, 1)]),
        ("C13", vec![empty(theirs(Request)), grant(theirs(Request).channel, 1)]),
        ("X1", vec![bare_grant]),
        ("X1", vec![ping]),
    ];
    for (case, (rule, frames)) in cases.into_iter().enumerate() {
        // The frames before the last are none.
        let mut stage = Stage::new(FaultPolicy::End);
        stage.play(&frames[..frames.len() - 1]);
        assert_eq!(stage.session.end(), None, "case {case}");
        stage.play(&frames[frames.len() - 1..]);
        let end = stage.session.end();
        assert!(
            matches!(end.as_deref(), Some(SessionEnd::Fault(fault)) if fault.rule() == rule),
            "case {case}: {end:?}"
        );
    }
}

#[test]
fn frames_of_streams_are_faults_without_the_feature() {
    let flagged = |flags| empty(with(theirs(Kind::Request), flags));
    let frames = [
        empty(theirs(Kind::Item)),
        empty(theirs(Kind::End)),
        flagged(Flags::ITEMS),
        flagged(Flags::CREDIT),
        grant(theirs(Kind::Item).channel, 1),
    ];
    for (header, bytes) in frames {
        let (session, mut liar, _) = open(Features::NONE, FaultPolicy::End);
        let refused = session.block_on(session.caller().open(METHOD, &[], BOTH, &CallOptions::new())).unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        liar.send(header, &bytes);
        let end = session.serve_for(Duration::ZERO);
        assert!(matches!(end.as_deref(), Some(SessionEnd::Fault(fault)) if fault.rule() == "C12"), "{end:?}");
    }
}

#[test]
fn what_has_crossed_an_end_is_ignored() {
    let mut stage = Stage::new(FaultPolicy::End);
    let (item, channel) = (vec![1; 200], theirs(Kind::Item).channel);
    let crossed = [
        (theirs(Kind::Item), item.clone()),
        (with(theirs(Kind::Item), Flags::MORE), item.clone()),
        empty(theirs(Kind::End)),
        grant(channel, CREDIT_MAX),
        grant(channel, CREDIT_MAX),
    ];
    // No call, and one that was answered.
    stage.play(&crossed);
    stage.play(&[request(9)]);
    stage.held.lock().unwrap().pop().unwrap().reply(&[]);
    stage.play(&crossed);
    // One that was cancelled, and is still with its handler.
    let again = |header| FrameHeader { channel: ChannelId::new(Side::B, 0, ChannelGeneration::FIRST.next()), ..header };
    let channel = again(theirs(Kind::Item)).channel.raw().to_le_bytes().to_vec();
    stage.play(&[(again(request(9).0), vec![]), (with(again(theirs(Kind::Item)), Flags::MORE), vec![1])]);
    stage.play(&[(FrameHeader::control(Verb::Cancel), channel)]);
    stage.play(&[(again(theirs(Kind::Item)), item.clone()), (again(theirs(Kind::Item)), item.clone())]);
    stage.play(&[empty(again(theirs(Kind::End))), empty(again(theirs(Kind::End)))]);
    // One of the host's that it gave up.
    stage.play(&[(ours(Kind::Item, 0), item.clone())]);
    drop(std::mem::replace(&mut stage.streaming, {
        let caller = stage.session.caller();
        stage.session.block_on(caller.open(METHOD, &[], BOTH, &CallOptions::new())).unwrap()
    }));
    stage.play(&[
        (ours(Kind::Item, 0), item.clone()),
        (ours(Kind::Item, 0), item),
        grant(ours(Kind::Item, 0).channel, 9),
    ]);
    assert_eq!(stage.session.end(), None);
    stage.held.lock().unwrap().clear();
    let stats = stage.session.stats();
    assert_eq!((stats.inbound_bytes, stats.runs_held, stats.faults), (0, 0, 0), "{stats:?}");
}

#[test]
fn grants_do_not_pile_up_for_a_peer_that_does_not_listen() {
    let mut stage = Stage::new(FaultPolicy::End);
    // The liar takes nothing from the ring, and knows what it would have been granted.
    for _ in 0..1000 {
        stage.play(&[empty(ours(Kind::Item, 0)), empty(ours(Kind::Item, 0))]);
        assert_eq!((next(&stage.streaming), next(&stage.streaming)), (Poll::Ready(Some(0)), Poll::Ready(Some(0))));
    }
    assert_eq!(stage.session.end(), None);
    // That of one `GRANT`.
    assert_eq!(stage.session.stats().outbound_bytes, 4);
    let mut granted = 0;
    while let Some((_, verb, credit)) = stage.liar.take() {
        assert_eq!(verb, Verb::Grant.raw());
        granted += credit;
        stage.session.serve_for(Duration::ZERO);
    }
    assert_eq!(granted, 2000 * 64);
}

#[test]
fn what_a_queue_of_items_takes_is_counted() {
    let mut stage = Stage::new(FaultPolicy::End);
    let before = stage.session.stats().inbound_bytes;
    stage.play(&vec![empty(ours(Kind::Item, 0)); 4]);
    assert!(stage.session.stats().inbound_bytes >= before + 4 * size_of::<rapace_session::Body>());
    while next(&stage.streaming) == Poll::Ready(Some(0)) {}
    drop(stage.streaming);
    assert_eq!(stage.session.stats().inbound_bytes, before);
}

#[test]
fn items_that_break_off_fail_their_call_alone() {
    // Without credit, and with an empty piece.
    for (flags, rule) in [(Flags::NONE, "C14"), (Flags::MORE, "M1")] {
        let mut stage = Stage::new(FaultPolicy::Tolerate(100));
        stage.play(&[request(9)]);
        let call = stage.held.lock().unwrap().pop().unwrap();
        // Both wait before it happens.
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut items = call.items();
        assert!(items.poll_next(&mut Context::from_waker(&waker)).is_pending());
        assert!(stage.streaming.poll_item(&mut Context::from_waker(&waker)).is_pending());
        for header in [ours(Kind::Item, 0), theirs(Kind::Item)] {
            stage.play(&[(with(header, flags), vec![1; 200]), empty(header)]);
        }
        assert_eq!(stage.session.stats().faults, 2);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "{rule}");
        let cx = &mut Context::from_waker(Waker::noop());
        if flags == Flags::NONE {
            // What was whole before is still there.
            assert_eq!(now(stage.streaming.poll_item(cx)).unwrap().len(), 200);
            assert_eq!(now(items.poll_next(cx)).unwrap().unwrap().len(), 200);
        }
        assert!(now(stage.streaming.poll_item(cx)).is_none());
        let of_callee = now(stage.streaming.poll_reply(cx)).unwrap_err();
        let of_caller = now(items.poll_next(cx)).unwrap().unwrap_err();
        for error in [of_callee, of_caller] {
            assert!(error.code() == Code::Internal && error.to_string().contains(rule), "{error}");
        }
        assert!(now(items.poll_next(cx)).is_none());
        let mut sent = std::iter::from_fn(|| stage.liar.take());
        assert!(sent.any(|(kind, verb, _)| (kind, verb) == (0, Verb::Cancel.raw())));
        drop(call);
        assert_eq!(stage.session.stats().inbound_bytes, 0);
    }
}

#[test]
fn so_many_faults_are_tolerated_as_the_policy_says_and_of_those_that_may_be() {
    let of_no_call = empty(ours(Kind::Reply, 5));
    let mut stage = Stage::new(FaultPolicy::Tolerate(2));
    stage.play(&[of_no_call.clone(), of_no_call.clone()]);
    assert_eq!((stage.session.stats().faults, stage.session.end()), (2, None));
    stage.play(&[of_no_call]);
    let ended_by = |stage: &Stage, rule: &str| {
        let end = stage.session.end();
        assert!(matches!(end.as_deref(), Some(SessionEnd::Fault(fault)) if fault.rule() == rule), "{end:?}");
    };
    ended_by(&stage, "C2");
    // Control out of order is never tolerated.
    let mut stage = Stage::new(FaultPolicy::Tolerate(100));
    stage.play(&[empty(FrameHeader::control(Verb::Accept))]);
    ended_by(&stage, "X2");
}

#[test]
fn a_call_that_is_over_takes_nothing_of_a_later_one() {
    let mut stage = Stage::new(FaultPolicy::End);
    stage.play(&[empty(ours(Kind::Reply, 0))]);
    let cx = &mut Context::from_waker(Waker::noop());
    now(stage.streaming.poll_reply(cx)).unwrap();
    let caller = stage.session.caller();
    let later = stage.session.block_on(caller.open(METHOD, &[], BOTH, &CallOptions::new())).unwrap();
    while stage.liar.take().is_some() {}
    let channel = ChannelId::new(Side::A, 0, ChannelGeneration::FIRST.next().next());
    let item = (FrameHeader { channel, ..ours(Kind::Item, 0) }, vec![1; 20]);
    stage.play(&[item, grant(channel, 1000)]);
    assert_eq!(next(&stage.streaming), Poll::Ready(None));
    assert!(now(stage.streaming.poll_send(cx, b"late")).is_err());
    stage.streaming.finish();
    assert_eq!(stage.liar.take(), None);
    assert_eq!(next(&later), Poll::Ready(Some(20)));
    now(later.poll_send(cx, b"item")).unwrap();
}

#[derive(Default)]
struct Woken(AtomicU32);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn an_item_that_is_too_large_ends_its_call_with_exhaustion() {
    let mut stage = Stage::new(FaultPolicy::End);
    stage.play(&[request(9), (theirs(Kind::Item), vec![1; BODY_BYTES_MAX + 1])]);
    stage.play(&[(ours(Kind::Item, 0), vec![1; 20]), (ours(Kind::Item, 0), vec![1; BODY_BYTES_MAX + 1])]);
    let call = stage.held.lock().unwrap().pop().unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut items = call.items();
    assert_eq!(now(items.poll_next(cx)).unwrap().unwrap_err().code(), Code::ResourceExhausted);
    // What was whole before is still there.
    assert_eq!(now(stage.streaming.poll_item(cx)).unwrap().len(), 20);
    assert!(now(stage.streaming.poll_item(cx)).is_none());
    let error = now(stage.streaming.poll_reply(cx)).unwrap_err();
    assert!(matches!(error, CallError::Status(status) if status.code == Code::ResourceExhausted));
    // The callee hears that nobody wants the rest; what it sends meanwhile is ignored.
    let sent: Vec<_> = std::iter::from_fn(|| stage.liar.take()).collect();
    assert!(sent.iter().any(|(kind, verb, _)| (*kind, *verb) == (0, Verb::Cancel.raw())), "{sent:?}");
    stage.play(&[(ours(Kind::Item, 0), vec![1; 20]), empty(ours(Kind::Reply, 0))]);
    assert_eq!((stage.session.end(), stage.session.stats().inbound_bytes), (None, 0));
}
