//! A host against a peer that lies: what it keeps, and what it says of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::layout::header as word;
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, GeometryConfig, Side};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{
    CallError, CallOptions, Code, Config, Fault, Features, Handshake, HandshakeError, Hello, IncomingCall, Limits,
    PeerA, PeerState, Session, SessionEnd, Status, Timeouts, WaitStrategy,
};

const METHOD: u32 = 7;
/// Slots of a half: few, so that requests of some thousand bytes use them up.
const GEOMETRY: GeometryConfig = GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 64, slot_bytes: 64 };
const BODY_BYTES_MAX: usize = 1000;

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
            let (slot, payload_bytes) = (self.slot, u32::try_from(bytes.len()).unwrap());
            let slots = payload_bytes.div_ceil(GEOMETRY.slot_bytes);
            self.fake.write_slot(slot, bytes);
            self.slot += slots;
            Payload::Slots(Run { slot, generation: 1, offset: 0, payload_bytes, slots })
        };
        self.fake.publish(encode(&header, &payload));
    }

    /// The payload in slots of the host's next frame.
    fn take_payload(&mut self) -> Option<Vec<u8>> {
        let [_, place, size, ..] = self.fake.take()?;
        let half = |word: u64, shift: u32| usize::try_from(word >> shift & u64::from(u32::MAX)).unwrap();
        let geometry = self.fake.geometry();
        let at = geometry.slots_offset() + half(place, 0) * geometry.slot_bytes() as usize + half(size, 0);
        let words = (0..half(size, 32).div_ceil(8)).flat_map(|index| self.fake.load(at + 8 * index).to_le_bytes());
        Some(words.take(half(size, 32)).collect())
    }

    /// The flags and the method of the host's next frame.
    fn take(&mut self) -> Option<(u32, u32)> {
        let words = self.fake.take()?;
        let half = |word: u64, shift: u32| u32::try_from(word >> shift & u64::from(u32::MAX)).unwrap();
        Some((half(words[3], 0), half(words[0], 32)))
    }
}

fn open(handler: impl Fn(IncomingCall) + Send + Sync + 'static) -> (Session<PeerA>, Liar) {
    open_with([Registry::default(), Registry::default()], handler)
}

/// A session between sides of these registries, the host's first.
fn open_with(
    [ours, theirs]: [Registry; 2],
    handler: impl Fn(IncomingCall) + Send + Sync + 'static,
) -> (Session<PeerA>, Liar) {
    let (handshake, mut liar) = offer(Duration::from_secs(10), ours);
    liar.send(FrameHeader::control(Verb::Hello), &hello(&theirs));
    liar.send(FrameHeader::control(Verb::Accept), &[]);
    let session = handshake.finish(handler).unwrap();
    while liar.take().is_some() {}
    (session, liar)
}

/// A handshake that the liar has still to answer, for which there is so much time.
fn offer(start: Duration, registry: Registry) -> (Handshake<PeerA>, Liar) {
    let limits = Limits { message_bytes_max: BODY_BYTES_MAX, metadata_bytes_max: 64, ..Limits::default() };
    let timeouts = Timeouts { call: Duration::ZERO, start, ..Timeouts::default() };
    let wait = WaitStrategy::Park;
    let config = Config { geometry: GEOMETRY, limits, timeouts, wait, registry, ..Config::new("host", "1") };
    let (here, there) = Socket::pair().unwrap();
    let handshake = Handshake::<PeerA>::offer(here, None, config).unwrap();
    let (offer, halves) = there.recv_offer(Instant::now()).unwrap();
    let fake = FakePeer::new(Segment::accept(&offer, halves.unwrap()).unwrap(), there);
    (handshake, Liar { fake, slot: 0 })
}

fn hello(registry: &Registry) -> Vec<u8> {
    let hello = Hello {
        major: 1,
        minor: 0,
        role: 1,
        features: Features::NONE,
        max_message_bytes: 1 << 20,
        max_metadata_bytes: 0,
        max_calls: 8,
        max_depth: 1,
        name: String::new(),
        version: String::new(),
        registry: registry.to_bytes(),
    };
    hello.encode().unwrap()
}

fn header(kind: Kind, opener: Side, index: u32, generation: ChannelGeneration) -> FrameHeader {
    let depth = u8::from(kind == Kind::Request);
    let channel = ChannelId::new(opener, index, generation);
    FrameHeader { channel, method: METHOD, kind, flags: Flags::NONE, depth, credit: 0 }
}

/// A final for the first call that the host makes with this index.
fn answer(kind: Kind, index: u32) -> FrameHeader {
    header(kind, Side::A, index, ChannelGeneration::FIRST.next())
}

#[test]
fn a_body_behind_a_prefix_is_held_to_its_limit() {
    for (body_bytes, expected) in [(BODY_BYTES_MAX, Kind::Reply), (BODY_BYTES_MAX + 1, Kind::Error)] {
        let (session, mut liar) = open(|call| call.reply(&[]));
        let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
        let mut body = [&6u32.to_le_bytes()[..], b"\x01\0k\x01\0v"].concat();
        body.resize(10 + body_bytes, 1);
        liar.send(FrameHeader { flags: Flags::METADATA, ..request }, &body);
        session.serve_for(Duration::ZERO);
        let (flags, _) = liar.take().unwrap();
        assert_eq!(flags & 7, expected.raw(), "{body_bytes} bytes");
    }
}

/// Two sides that differ in [`METHOD`] and not in the method behind it.
fn registries() -> [Registry; 2] {
    let service = || Service::builder("s", Version::new(1, 0), Provider::Host).unary::<u8, ()>("same", METHOD + 1);
    let services = [service().unary::<u8, ()>("m", METHOD), service().unary::<u16, ()>("m", METHOD)];
    services.map(|service| Registry::builder().service(service).build().unwrap())
}

#[test]
fn a_request_for_a_method_that_differs_is_answered_with_the_difference() {
    let (session, mut liar) = open_with(registries(), |call| {
        assert_eq!(call.method(), METHOD + 1, "the handler runs");
        call.reply(&[]);
    });
    let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
    liar.send(request, &[1]);
    session.serve_for(Duration::ZERO);
    let status = Status::decode(&liar.take_payload().unwrap());
    let text = "s.m (7): argument: u8 here, u16 there";
    assert!(status.code == Code::FailedPrecondition && status.message.contains(text), "{status}");
    let request = header(Kind::Request, Side::B, 1, ChannelGeneration::FIRST);
    liar.send(FrameHeader { method: METHOD + 1, ..request }, &[1]);
    session.serve_for(Duration::ZERO);
    let (flags, method) = liar.take().unwrap();
    assert_eq!((flags & 7, method), (Kind::Reply.raw(), METHOD + 1));
    assert_eq!((session.end(), session.stats().served_in_flight), (None, 0));
}

#[test]
fn a_method_that_differs_is_not_called() {
    let (session, mut liar) = open_with(registries(), IncomingCall::unimplemented);
    let error = session.call(METHOD, &[], &CallOptions::new()).unwrap_err();
    let difference = "s.m (7): argument: u8 here, u16 there".into();
    assert_eq!(error, CallError::Incompatible { difference });
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(liar.take(), None);
    let _call = session.try_start(METHOD + 1, &[], &CallOptions::new()).unwrap();
    assert!(liar.take().is_some());
}

#[test]
fn an_error_is_counted_until_it_is_taken() {
    let (session, mut liar) = open(IncomingCall::unimplemented);
    let call = session.try_start(METHOD, &[], &CallOptions::new()).unwrap();
    let status = Status { details: vec![1; 900], ..Status::new(Code::Internal, "") };
    liar.send(answer(Kind::Error, 0), &status.encode());
    session.serve_for(Duration::ZERO);
    assert_eq!(session.stats().inbound_bytes, status.encode().len());
    assert_eq!(call.wait().unwrap_err(), CallError::Status(status));
    assert_eq!(session.stats().inbound_bytes, 0);
}

#[test]
fn an_answer_to_a_request_that_goes_on_is_a_fault() {
    for (flags, bytes) in [(Flags::MORE, 100), (Flags::NONE, 100)] {
        let (session, mut liar) = open(IncomingCall::unimplemented);
        // The first takes all the slots that there are for requests, so nothing of the second can be sent.
        let body = vec![0; 64 * 64];
        let first = session.try_start(METHOD, &body, &CallOptions::new()).unwrap();
        let second = session.try_start(METHOD, &body, &CallOptions::new()).unwrap();
        liar.send(FrameHeader { flags, ..answer(Kind::Reply, 1) }, &vec![0; bytes]);
        session.serve_for(Duration::ZERO);
        assert!(matches!(&*session.end().unwrap(), SessionEnd::Fault(Fault::EarlyFinal { .. })));
        for call in [first, second] {
            assert!(call.wait().unwrap_err().session_end().is_some());
        }
        let stats = session.stats();
        assert_eq!((stats.inbound_bytes, stats.outbound_bytes, stats.calls_in_flight, stats.runs_held), (0, 0, 0, 0));
    }
}

#[test]
fn a_long_reason_travels_in_one_frame() {
    let (session, mut liar) = open(IncomingCall::unimplemented);
    let _call = session.try_start(METHOD, &vec![0; 56 * 64], &CallOptions::new()).unwrap();
    session.go_away(&Status::new(Code::Unavailable, "x".repeat(2000)));
    let (flags, _) = liar.take().unwrap();
    assert_eq!(flags & 7, Kind::Request.raw());
    let (flags, verb) = liar.take().unwrap();
    assert_eq!((flags, verb), (0, Verb::GoAway.raw()));
}

#[test]
fn a_call_behind_a_go_away_is_answered_and_not_run() {
    let count = Arc::new(());
    let ran = Arc::clone(&count);
    let (session, mut liar) = open(move |call| std::mem::forget((call, Arc::clone(&ran))));
    session.go_away(&Status::new(Code::Aborted, "soon"));
    while liar.take().is_some() {}
    liar.send(header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST), b"late");
    session.serve_for(Duration::ZERO);
    let (flags, _) = liar.take().unwrap();
    assert_eq!((flags & 7, session.stats().served_in_flight), (Kind::Error.raw(), 0));
    // The handler's own, and this one.
    assert_eq!((Arc::strong_count(&count), session.end()), (2, None));
}

#[test]
fn a_call_that_crosses_a_go_away_is_refused_and_was_not_run() {
    let (session, mut liar) = open(IncomingCall::unimplemented);
    let [crossing, run] = [(); 2].map(|()| session.try_start(METHOD, b"", &CallOptions::new()).unwrap());
    let told = Status::new(Code::Aborted, "soon");
    liar.send(FrameHeader::control(Verb::GoAway), &told.encode());
    let answered = Status { code: Code::Unavailable, ..told.clone() };
    let other = Status::new(Code::Unavailable, "a part");
    liar.send(answer(Kind::Error, 0), &answered.encode());
    liar.send(answer(Kind::Error, 1), &other.encode());
    session.serve_for(Duration::ZERO);
    let error = crossing.wait().unwrap_err();
    assert!(!error.may_have_run());
    assert_eq!(error, CallError::Refused { reason: told });
    let error = run.wait().unwrap_err();
    assert!(error.may_have_run());
    assert_eq!(error, CallError::Status(other));
}

#[test]
fn a_request_that_was_sent_in_part_when_the_session_ended_was_not_run() {
    let (session, mut liar) = open(IncomingCall::unimplemented);
    let sent = session.try_start(METHOD, b"", &CallOptions::new()).unwrap();
    let in_part = session.try_start(METHOD, &[7; 100_000], &CallOptions::new()).unwrap();
    assert!(session.stats().outbound_bytes > 0);
    liar.send(FrameHeader::control(Verb::Close), &Status::new(Code::Aborted, "bye").encode());
    session.serve_for(Duration::ZERO);
    for (call, was_sent) in [(sent, true), (in_part, false)] {
        let error = call.wait().unwrap_err();
        assert!(matches!(error, CallError::SessionEnded { sent, .. } if sent == was_sent), "{error}");
        assert_eq!(error.may_have_run(), was_sent);
    }
}

#[test]
fn a_false_return_that_the_counters_meet_ends_the_session() {
    let (session, liar) = open(IncomingCall::unimplemented);
    liar.fake.store_return(0, 1 << 24 | 3);
    session.stats();
    let end = session.end().unwrap();
    assert!(matches!(&*end, SessionEnd::Fault(fault) if fault.rule() == "S7"), "{end}");
}

#[test]
fn what_a_handler_throws_is_let_go() {
    struct Thrown {
        _counted: Arc<()>,
        throws_again: bool,
    }
    impl Drop for Thrown {
        fn drop(&mut self) {
            if self.throws_again {
                std::panic::resume_unwind(Box::new(()));
            }
        }
    }
    let count = Arc::new(());
    let thrown = Arc::clone(&count);
    let (session, mut liar) = open(move |call| {
        let throws_again = call.body() == [1];
        std::panic::resume_unwind(Box::new(Thrown { _counted: Arc::clone(&thrown), throws_again }));
    });
    for (index, throws_again) in [(0, 0u8), (1, 1), (2, 0)] {
        liar.send(header(Kind::Request, Side::B, index, ChannelGeneration::FIRST), &[throws_again]);
        assert_eq!(session.serve_for(Duration::ZERO), None);
        let (flags, _) = liar.take().unwrap();
        assert_eq!(flags & 7, Kind::Error.raw());
    }
    // The handler's own, and this one.
    assert_eq!(Arc::strong_count(&count), 2);
}

#[test]
fn pings_do_not_pile_up_for_a_peer_that_does_not_listen() {
    let (session, mut liar) = open(IncomingCall::unimplemented);
    // The liar takes nothing, so the ring is full of answers before long.
    for nonce in 0..1000u64 {
        liar.send(FrameHeader::control(Verb::Ping), &nonce.to_le_bytes());
        session.serve_for(Duration::ZERO);
    }
    assert_eq!((session.end(), session.stats().outbound_bytes), (None, 16 * 8));
    let mut answers = 0;
    while liar.take().is_some() {
        answers += 1;
        session.serve_for(Duration::ZERO);
    }
    assert_eq!((answers, session.stats().outbound_bytes), (64 + 16, 0));
    liar.send(FrameHeader::control(Verb::Ping), &[0; 8]);
    session.serve_for(Duration::ZERO);
    assert!(liar.take().is_some(), "whoever listens again is answered again");
}

#[test]
fn a_final_for_another_call_is_a_fault() {
    let method = FrameHeader { method: METHOD + 1, ..answer(Kind::Reply, 0) };
    let generation = ChannelGeneration::FIRST.next().next();
    let channel = header(Kind::Reply, Side::A, 0, generation);
    for false_final in [method, channel] {
        let (session, mut liar) = open(IncomingCall::unimplemented);
        let call = session.try_start(METHOD, &[], &CallOptions::new()).unwrap();
        liar.send(false_final, b"taken for another's");
        session.serve_for(Duration::ZERO);
        assert!(matches!(&*session.end().unwrap(), SessionEnd::Fault(fault) if fault.rule() == "C2"));
        assert!(call.wait().unwrap_err().session_end().is_some());
    }
}

#[test]
fn a_deadline_beyond_all_bounds_is_as_good_as_none() {
    let left = Arc::<std::sync::Mutex<Option<Duration>>>::default();
    let seen = Arc::clone(&left);
    let (session, mut liar) = open(move |call| *seen.lock().unwrap() = call.time_left());
    let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
    liar.send(FrameHeader { flags: Flags::DEADLINE, ..request }, &u64::MAX.to_le_bytes());
    session.serve_for(Duration::ZERO);
    let (year, day) = (Duration::from_secs(365 * 24 * 3600), Duration::from_secs(24 * 3600));
    let left = left.lock().unwrap().unwrap();
    assert!(year - day < left && left <= year, "{left:?}");
}

#[test]
fn the_first_end_of_a_session_stays() {
    let (session, liar) = open(IncomingCall::unimplemented);
    session.close(&Status::new(Code::Unavailable, "done"));
    // The counters look at what it returns.
    liar.fake.store_return(0, 1 << 24 | 3);
    assert_eq!(session.stats().faults, 1);
    assert!(matches!(&*session.end().unwrap(), SessionEnd::Closed));
}

#[test]
fn metadata_are_counted_until_their_call_is_over() {
    let held = Arc::<std::sync::Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let (session, mut liar) = open(move |call| desk.lock().unwrap().push(call));
    let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
    let metadata = [&[1, 0, b'k', 40, 0][..], &[7; 40]].concat();
    let body = [&u32::try_from(metadata.len()).unwrap().to_le_bytes()[..], &metadata].concat();
    liar.send(FrameHeader { flags: Flags::METADATA, ..request }, &body);
    session.serve_for(Duration::ZERO);
    assert!(session.stats().inbound_bytes >= body.len() + metadata.len(), "{:?}", session.stats());
    held.lock().unwrap().clear();
    assert_eq!(session.stats().inbound_bytes, 0);
}

#[test]
fn what_stands_behind_a_close_is_not_read() {
    let (session, mut liar) = open(|_| panic!("the handler runs"));
    liar.send(FrameHeader::control(Verb::Close), &Status::new(Code::Aborted, "bye").encode());
    liar.send(header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST), b"one more");
    let end = session.serve_for(Duration::ZERO).unwrap();
    assert!(matches!(&*end, SessionEnd::PeerClosed(status) if status.code == Code::Aborted), "{end}");
    assert_eq!((session.stats().served_in_flight, session.stats().link.frames_received), (0, 3));
}

#[test]
fn a_request_that_is_given_up_halfway_is_dropped() {
    let (session, mut liar) = open(|_| panic!("the handler runs"));
    let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
    liar.send(FrameHeader { flags: Flags::MORE, ..request }, &[1; 500]);
    session.serve_for(Duration::ZERO);
    assert!(session.stats().inbound_bytes >= 500);
    liar.send(FrameHeader::control(Verb::Cancel), &request.channel.raw().to_le_bytes());
    session.serve_for(Duration::ZERO);
    let (flags, _) = liar.take().unwrap();
    assert_eq!(flags & 7, Kind::Error.raw());
    assert_eq!((session.stats().inbound_bytes, session.stats().served_in_flight), (0, 0));
    assert_eq!((session.stats().runs_held, session.end()), (0, None));
}

type Sent = (FrameHeader, Vec<u8>);

/// The frames of the peer that break a rule, of which the last one does.
fn broken_rules() -> Vec<(&'static str, Vec<Sent>)> {
    let first = ChannelGeneration::FIRST;
    let request = header(Kind::Request, Side::B, 0, first);
    let on = |channel| (FrameHeader { channel, ..request }, vec![]);
    let piece = |header: FrameHeader| FrameHeader { flags: header.flags.with(Flags::MORE), ..header };
    let begun = (piece(request), vec![1; 3]);
    let control = |verb, bytes: &[u8]| (FrameHeader::control(verb), bytes.to_vec());
    let flagged = |verb, flags, bytes: &[u8]| (FrameHeader { flags, ..FrameHeader::control(verb) }, bytes.to_vec());
    vec![
        ("C1", vec![on(ChannelId::new(Side::B, 1024, first))]),
        ("C1", vec![on(ChannelId::from_raw(ChannelId::new(Side::B, 3, first).raw() & 0x1fff))]),
        ("C1", vec![begun.clone(), on(ChannelId::new(Side::B, 0, first.next()))]),
        ("C2", vec![(answer(Kind::Reply, 0), vec![])]),
        ("C2", vec![(answer(Kind::Error, 0), vec![])]),
        ("C2", vec![(answer(Kind::Reply, 1024), vec![])]),
        ("M1", vec![(piece(request), vec![])]),
        ("M1", vec![begun.clone(), (request, vec![])]),
        ("M2", vec![begun.clone(), (FrameHeader { method: METHOD + 1, ..request }, vec![1])]),
        ("M2", vec![begun.clone(), (FrameHeader { depth: 2, ..request }, vec![1])]),
        ("M2", vec![begun, (FrameHeader { flags: Flags::DEADLINE, ..request }, vec![1])]),
        ("X1", vec![control(Verb::Ping, &[0; 7])]),
        ("X1", vec![control(Verb::Ping, &[0; 25])]),
        ("X1", vec![control(Verb::Pong, &[0; 9])]),
        ("X1", vec![control(Verb::Cancel, &[0; 8])]),
        ("X1", vec![control(Verb::Close, &[0; 1025])]),
        ("X1", vec![flagged(Verb::Ping, Flags::MORE, &[0; 8])]),
        ("X1", vec![flagged(Verb::Ping, Flags::CREDIT, &[0; 8])]),
        ("X1", vec![flagged(Verb::Grant, Flags::CREDIT, &[0; 3])]),
        ("X2", vec![control(Verb::Hello, &hello(&Registry::default()))]),
        ("X2", vec![control(Verb::Accept, &[])]),
        ("X2", vec![control(Verb::Refuse, &[])]),
    ]
}

#[test]
fn each_broken_rule_of_calls_ends_the_session_by_its_name() {
    for (case, (rule, frames)) in broken_rules().into_iter().enumerate() {
        let (session, mut liar) = open(|_| panic!("the handler runs"));
        for (index, (header, bytes)) in frames.iter().enumerate() {
            assert_eq!(session.end(), None, "case {case}, frame {index}");
            liar.send(*header, bytes);
            session.serve_for(Duration::ZERO);
        }
        let end = session.end();
        let found = matches!(end.as_deref(), Some(SessionEnd::Fault(fault)) if fault.rule() == rule);
        assert!(found, "case {case}, {rule}: {end:?}");
        let stats = session.stats();
        assert_eq!((stats.inbound_bytes, stats.served_in_flight, stats.runs_held), (0, 0, 0), "case {case}");
    }
}

#[test]
fn a_handshake_out_of_order_is_broken_off() {
    let hello = || (FrameHeader::control(Verb::Hello), hello(&Registry::default()));
    let accept = |bytes: &[u8]| (FrameHeader::control(Verb::Accept), bytes.to_vec());
    let piece = (FrameHeader { flags: Flags::MORE, ..FrameHeader::control(Verb::Hello) }, vec![]);
    let request = (header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST), vec![]);
    let cases: Vec<(&str, Vec<Sent>)> = vec![
        ("X2", vec![accept(b"")]),
        ("X2", vec![(FrameHeader::control(Verb::Ping), vec![0; 8])]),
        ("X2", vec![request.clone()]),
        ("X2", vec![hello(), hello()]),
        ("X2", vec![hello(), request]),
        ("X1", vec![hello(), accept(b"gladly")]),
        ("M1", vec![piece]),
    ];
    for (case, (rule, frames)) in cases.into_iter().enumerate() {
        let (handshake, mut liar) = offer(Duration::from_millis(200), Registry::default());
        frames.iter().for_each(|(header, bytes)| liar.send(*header, bytes));
        match handshake.finish(IncomingCall::unimplemented) {
            Err(HandshakeError::Fault(fault)) => assert_eq!(fault.rule(), rule, "case {case}: {fault}"),
            other => panic!("case {case}: {other:?}"),
        }
    }
}

#[test]
fn a_call_that_is_nested_too_deep_is_answered_and_not_run() {
    let seen = Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let ran = Arc::clone(&seen);
    let (session, mut liar) = open(move |call| {
        ran.lock().unwrap().push(call.depth());
        call.reply(b"");
    });
    for (index, depth, expected) in [(0, 16, Kind::Reply), (1, 17, Kind::Error), (2, u8::MAX, Kind::Error)] {
        let request = header(Kind::Request, Side::B, index, ChannelGeneration::FIRST);
        liar.send(FrameHeader { depth, ..request }, b"");
        session.serve_for(Duration::ZERO);
        let (flags, _) = liar.take().unwrap();
        assert_eq!(flags & 7, expected.raw(), "depth {depth}");
    }
    assert_eq!((&seen.lock().unwrap()[..], session.end()), (&[16][..], None));
}

#[test]
fn a_message_that_grows_too_large_is_let_go() {
    let (session, mut liar) = open(|_| panic!("the handler runs"));
    let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
    for (flags, kept) in [(Flags::MORE, 600..700), (Flags::MORE, 0..1), (Flags::MORE, 0..1), (Flags::NONE, 0..1)] {
        liar.send(FrameHeader { flags, ..request }, &[1; 600]);
        session.serve_for(Duration::ZERO);
        assert!(kept.contains(&session.stats().inbound_bytes), "{}", session.stats().inbound_bytes);
    }
    let status = Status::decode(&liar.take_payload().unwrap());
    assert_eq!((status.code, session.end()), (Code::ResourceExhausted, None));
    assert_eq!((session.stats().requests_refused, session.stats().calls_refused), (1, 0));
}

#[test]
fn what_a_message_in_pieces_leaves_over_is_given_back() {
    let held = Arc::<std::sync::Mutex<Vec<IncomingCall>>>::default();
    let desk = Arc::clone(&held);
    let (session, mut liar) = open(move |call| desk.lock().unwrap().push(call));
    let request = header(Kind::Request, Side::B, 0, ChannelGeneration::FIRST);
    for (flags, bytes) in [(Flags::MORE, 300), (Flags::MORE, 300), (Flags::NONE, 10)] {
        liar.send(FrameHeader { flags, ..request }, &vec![1; bytes]);
    }
    session.serve_for(Duration::ZERO);
    assert_eq!(held.lock().unwrap()[0].body().len(), 610);
    // An eighth, as of any other body.
    assert!((610..=686).contains(&session.stats().inbound_bytes), "{}", session.stats().inbound_bytes);
}

/// The call has ended before anybody waits for it: while its request, which needs more room than there is, went out.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_hears_of_the_fault_that_its_own_request_has_found() {
    let patience = Duration::from_secs(10);
    let options = CallOptions::new().deadline(2 * patience);
    let (session, liar) = open(|_| {});
    let session = rapace_session::tokio::AsyncSession::new(session).unwrap();
    // With another call in flight it does not look for its reply itself.
    let other = session.start(METHOD, &[], &options).await.unwrap();
    tokio::task::yield_now().await;
    liar.fake.announce(u64::MAX);
    // A task of its own, which nothing but the end of the call wakes.
    let caller = session.clone();
    let call = tokio::spawn(async move { caller.call(METHOD, &[0; 60_000], &options).await });
    let outcome =
        tokio::time::timeout(patience, call).await.expect("the call has ended, but its task is not woken").unwrap();
    let Err(CallError::SessionEnded { end, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(&*end, SessionEnd::Fault(fault) if fault.rule() == "R4"), "{end}");
    drop(other);
}

/// Some thread of the peer's has made progress, and the one that was rung has not: what comes then is owed by that one.
#[test]
fn news_in_a_sleep_that_was_rung_before_are_owed_too() {
    let (session, liar) = open(IncomingCall::unimplemented);
    let said = |heartbeat| liar.fake.store(word::HEARTBEAT, heartbeat);
    let (dormant, asleep) = (2, 9 << 2 | 1);
    liar.fake.store(word::STATE, dormant);
    liar.fake.store(word::SLEEP, asleep);
    let _first = session.try_start(METHOD, &[], &CallOptions::new()).unwrap();
    assert_eq!(session.peer_state(), PeerState::Alive, "it has been rung");
    said(77);
    assert_eq!(session.peer_state(), PeerState::Dormant, "it has made progress");
    let _second = session.try_start(METHOD, &[], &CallOptions::new()).unwrap();
    assert_eq!(session.peer_state(), PeerState::Alive, "the same sleep, and another call");
    said(78);
    assert_eq!(session.peer_state(), PeerState::Dormant);
}
