//! A plugin in Python, which shares nothing with this crate but SPEC.md, against a host of this crate: does the text
//! suffice?
//!
//! The plugin is `spec/peer.py`, and says what its methods do. It needs Python 3.9 or later and no packages.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rapace_core::ChannelId;
use rapace_core::GeometryConfig;
use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::layout::Geometry;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{HalfFds, Prefault, Segment};
use rapace_core::socket::Socket;
use rapace_session::{
    CallError, CallOptions, Code, Config, Features, Handshake, Hello, IncomingCall, LIFECYCLE_METHODS, Limits,
    Metadata, PeerA, Process, Router, Session, SessionEnd, Status, StreamingCall, Streams,
};

const ECHO: u32 = 1;
const CALL_BACK: u32 = 2;
const PREFIXES: u32 = 3;
const HOLD: u32 = 4;
const LEAVE: u32 = 5;
const COUNT: u32 = 6;
const SUM: u32 = 7;
const ECHO_ITEMS: u32 = 8;

/// What is waited for comes, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn python(script: &str) -> Command {
    let package =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for tests"));
    let mut command = Command::new("python3");
    command.arg(package.join("../spec").join(script));
    command
}

fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("this test needs python3 on the path: {error}"))
}

fn command(plugin: Socket) -> Command {
    let mut command = python("peer.py");
    command.env("RAPACE_PROTOCOL", "1").stdin(plugin.into_fd()).stdout(Stdio::null());
    command
}

fn spawn(plugin: Socket) -> Child {
    command(plugin).spawn().unwrap_or_else(|error| panic!("this test needs python3 on the path: {error}"))
}

fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    call.reply(&body);
}

fn open(config: Config) -> Session<PeerA> {
    let (host, plugin) = Socket::pair().unwrap();
    let process = Process::new(spawn(plugin)).unwrap();
    let handler = Router::new().method(ECHO, echo);
    Handshake::<PeerA>::offer(host, Some(process), config).unwrap().finish(handler).unwrap()
}

fn config() -> Config {
    Config::new("host", "1")
}

/// Closes the session and sees the plugin exit well.
fn close(session: &Session<PeerA>) {
    session.close(&Status::new(Code::Unavailable, "done"));
    let exit = session.reap(PATIENCE).unwrap();
    assert_eq!(exit.code(), Some(0), "{exit}");
}

fn body(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

fn options() -> CallOptions {
    CallOptions::new().deadline(PATIENCE)
}

/// Sizes around what fits a descriptor, a slot, two slots.
const SIZES: [usize; 13] = [0, 1, 23, 24, 25, 64, 4095, 4096, 4097, 8193, 65_536, 300_000, 1 << 20];

#[track_caller]
fn calls_of_all_sizes(geometry: GeometryConfig) {
    let session = open(Config { geometry, ..config() });
    for method in [ECHO, CALL_BACK] {
        for bytes in SIZES {
            let reply = session.call(method, &body(bytes), &options()).unwrap();
            assert!(reply.body == body(bytes)[..], "method {method}, {bytes} bytes");
        }
    }
    let stats = session.stats();
    assert_eq!((stats.calls_in_flight, stats.served_in_flight, stats.runs_held, stats.faults), (0, 0, 0, 0));
    close(&session);
}

#[test]
fn bodies_of_all_sizes_come_back_both_ways() {
    calls_of_all_sizes(GeometryConfig::default());
}

#[test]
fn the_smallest_memory_takes_them_in_pieces() {
    calls_of_all_sizes(GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 64 });
}

#[test]
fn many_calls_in_flight_get_their_own_replies() {
    let session = open(config());
    // As many as the plugin takes at once, over many laps of the rings.
    for round in 0..20usize {
        let bodies: Vec<Vec<u8>> = (0..64).map(|call| body(round * 37 + call * 101)).collect();
        let pending: Vec<_> = bodies.iter().map(|body| session.start(ECHO, body, &options()).unwrap()).collect();
        for (body, call) in bodies.iter().zip(pending) {
            assert!(call.wait().unwrap().body == body[..]);
        }
    }
    assert_eq!(session.peer().calls_max, 64);
    close(&session);
}

#[test]
fn deadlines_and_metadata_arrive_and_metadata_come_back() {
    let session = open(config());
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    metadata.insert("k", [0, 255]).unwrap();
    let both = session.call(PREFIXES, b"body", &options().metadata(metadata.clone())).unwrap();
    assert_eq!(both.metadata, metadata);
    let left = Duration::from_nanos(u64::from_le_bytes(both.body[..8].try_into().unwrap()));
    assert!(left <= PATIENCE && !left.is_zero(), "{left:?}");
    assert_eq!(&both.body[8..], b"body");
    let neither = session.call(PREFIXES, b"", &CallOptions::new()).unwrap();
    assert_eq!((&*neither.body, neither.metadata.is_empty()), (&[0xff; 8][..], true));
    close(&session);
}

#[test]
fn errors_are_statuses() {
    let session = open(Config { limits: Limits { depth_max: 1, ..Limits::default() }, ..config() });
    let code = |method, body: &[u8]| session.call(method, body, &options()).unwrap_err().code();
    assert_eq!(code(99, b""), Code::Unimplemented);
    // The plugin may not call back, since that would be the second of one level.
    assert_eq!(code(CALL_BACK, b""), Code::ResourceExhausted);
    // Whoever finds out first, the host or the plugin.
    let late = session.call(HOLD, b"", &CallOptions::new().deadline(Duration::ZERO)).unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    close(&session);
}

#[test]
fn a_cancelled_call_gets_its_final_and_frees_its_channel() {
    let session = open(config());
    for held in [1, 64] {
        let calls: Vec<_> = (0..held).map(|_| session.start(HOLD, b"", &options()).unwrap()).collect();
        drop(calls);
        // As many as the plugin takes: they fit only if all of those before have got their final.
        let calls: Vec<_> = (0..64).map(|_| session.start(ECHO, b"again", &options()).unwrap()).collect();
        assert!(calls.into_iter().all(|call| call.wait().unwrap().body == b"again"[..]));
    }
    close(&session);
}

const SENDS: Streams = Streams { sends: true, receives: false };
const RECEIVES: Streams = Streams { sends: false, receives: true };
const BOTH: Streams = Streams { sends: true, receives: true };

/// How many items of which size: without bytes, all that fits a descriptor, a slot, and what goes in pieces; and each
/// time more of them than the window of either side.
const ITEMS: [(u64, usize); 6] = [(0, 0), (5000, 0), (5000, 24), (200, 4096), (200, 5000), (3, 3 << 20)];

async fn open_stream(session: &Session<PeerA>, method: u32, body: &[u8], streams: Streams) -> StreamingCall {
    session.caller().open(method, body, streams, &options()).await.unwrap()
}

fn two(count: u64, bytes: usize) -> Vec<u8> {
    [count.to_le_bytes(), (bytes as u64).to_le_bytes()].concat()
}

async fn items_of_all_sizes(session: &Session<PeerA>) {
    for (count, bytes) in ITEMS {
        let item = |number: u64| vec![number.to_le_bytes()[0]; bytes];
        let call = open_stream(session, COUNT, &two(count, bytes), RECEIVES).await;
        for number in 0..count {
            assert!(
                *poll_fn(|cx| call.poll_item(cx)).await.unwrap() == item(number),
                "{number} of {count}, {bytes} bytes"
            );
        }
        assert!(poll_fn(|cx| call.poll_item(cx)).await.is_none());
        assert_eq!(*poll_fn(|cx| call.poll_reply(cx)).await.unwrap().body, *b"done");

        let call = open_stream(session, SUM, b"", SENDS).await;
        for number in 0..count {
            poll_fn(|cx| call.poll_send(cx, &item(number))).await.unwrap();
        }
        call.finish();
        let sum = poll_fn(|cx| call.poll_reply(cx)).await.unwrap().body;
        assert_eq!(*sum, *[count.to_le_bytes(), (count * bytes as u64).to_le_bytes()].concat());

        let call = open_stream(session, ECHO_ITEMS, b"", BOTH).await;
        for number in 0..count {
            poll_fn(|cx| call.poll_send(cx, &item(number))).await.unwrap();
            assert!(
                *poll_fn(|cx| call.poll_item(cx)).await.unwrap() == item(number),
                "{number} of {count}, {bytes} bytes"
            );
        }
        call.finish();
        assert!(poll_fn(|cx| call.poll_item(cx)).await.is_none());
        assert!(poll_fn(|cx| call.poll_reply(cx)).await.unwrap().body.is_empty());
    }
}

#[track_caller]
fn streams_of_all_sizes(geometry: GeometryConfig) {
    let session = open(Config { geometry, ..config() });
    session.block_on(items_of_all_sizes(&session));
    let stats = session.stats();
    assert_eq!((stats.calls_in_flight, stats.inbound_bytes, stats.outbound_bytes, stats.faults), (0, 0, 0, 0));
    close(&session);
}

#[test]
fn items_of_all_sizes_go_both_ways() {
    streams_of_all_sizes(GeometryConfig::default());
}

#[test]
fn the_smallest_memory_takes_items_in_pieces() {
    streams_of_all_sizes(GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 64 });
}

#[test]
fn a_stream_that_is_dropped_leaves_its_channel_to_the_next() {
    let session = open(config());
    for _ in 0..100 {
        session.block_on(async {
            let counts = open_stream(&session, COUNT, &two(1 << 40, 300), RECEIVES).await;
            assert_eq!(poll_fn(|cx| counts.poll_item(cx)).await.unwrap().len(), 300);
            let echoes = open_stream(&session, ECHO_ITEMS, b"", BOTH).await;
            poll_fn(|cx| echoes.poll_send(cx, &[1; 5000])).await.unwrap();
        });
        assert!(session.call(ECHO, b"beside", &options()).unwrap().body == b"beside"[..]);
    }
    // They fit only if all of those before have got their final.
    let calls: Vec<_> = (0..64).map(|_| session.start(ECHO, b"again", &options()).unwrap()).collect();
    assert!(calls.into_iter().all(|call| call.wait().unwrap().body == b"again"[..]));
    assert_eq!(session.stats().inbound_bytes, 0);
    close(&session);
}

#[test]
fn lifecycle_calls_travel_on_channel_0() {
    let session = open(config());
    for method in LIFECYCLE_METHODS {
        assert!(session.call_lifecycle(method, b"configuration", &options()).unwrap().body.is_empty());
    }
    close(&session);
}

#[test]
fn a_plugin_that_leaves_is_asked_for_no_more() {
    let session = open(config());
    session.call(LEAVE, b"go away", &options()).unwrap();
    let refused = session.call(ECHO, b"", &options()).unwrap_err();
    assert!(matches!(&refused, CallError::Refused { reason } if reason.message == "the plugin leaves"), "{refused}");
    close(&session);
}

#[test]
fn a_plugin_that_closes_ends_the_calls_in_flight() {
    let session = open(config());
    let held = session.start(HOLD, b"", &options()).unwrap();
    let reason = SessionEnd::PeerClosed(Status::new(Code::Unavailable, "the plugin closes"));
    let error = session.call(LEAVE, b"close", &options()).unwrap_err();
    assert_eq!(error.session_end(), Some(&reason));
    assert_eq!(held.wait().unwrap_err().session_end(), Some(&reason));
    assert_eq!(session.reap(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_host_that_is_gone_ends_the_plugin() {
    let (host, plugin) = Socket::pair().unwrap();
    let mut process = Process::new(spawn(plugin)).unwrap();
    let session = Handshake::<PeerA>::offer(host, None, config()).unwrap().finish(Router::new()).unwrap();
    drop(session);
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(0));
}

/// Sends an offer that is not to be taken; gives the code of the refusal.
fn refusal(offer: &[u8], fds: Option<HalfFds>) -> u32 {
    let (host, plugin) = Socket::pair().unwrap();
    let mut process = Process::new(spawn(plugin)).unwrap();
    match fds {
        Some(fds) => host.send_offer(&Offer::decode(offer).unwrap(), Some(&fds)).unwrap(),
        None => send(&host, offer),
    }
    let start = Instant::now();
    let drained = loop {
        host.wait(None, Some(PATIENCE)).unwrap();
        let drained = host.drain(8).unwrap();
        if drained.refusal.is_some() || drained.ended || start.elapsed() > PATIENCE {
            break drained;
        }
    };
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(1));
    drained.refusal.expect("a refusal").code
}

fn send(host: &Socket, message: &[u8]) {
    use std::os::fd::AsFd;
    let socket = std::os::unix::net::UnixDatagram::from(host.as_fd().try_clone_to_owned().unwrap());
    socket.send(message).unwrap();
}

#[test]
fn offers_that_break_a_rule_are_refused() {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let good = Offer::new(Backing::Sealed, 1, geometry).encode();
    let halves = || Segment::create(geometry, 1, Prefault::Lazy).unwrap().1;
    let mut newer = good.clone();
    newer[4] = 2;
    assert_eq!(refusal(&newer, None), Code::FailedPrecondition.raw());
    assert_eq!(refusal(&good, None), Code::InvalidArgument.raw(), "no descriptors");
    assert_eq!(
        refusal(&Offer::new(Backing::Named("/n".into()), 1, geometry).encode(), None),
        Code::PermissionDenied.raw()
    );
    let HalfFds { a, b } = halves();
    assert_eq!(refusal(&good, Some(HalfFds { a: b, b: a })), Code::InvalidArgument.raw(), "a seal is missing");
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    assert_eq!(refusal(&good, Some(HalfFds { a: null(), b: null() })), Code::InvalidArgument.raw(), "no memfds");
    let small = Geometry::new(GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 64 }).unwrap();
    let (_, fds) = Segment::create(small, 1, Prefault::Lazy).unwrap();
    assert_eq!(refusal(&good, Some(fds)), Code::InvalidArgument.raw(), "another size");
}

#[test]
fn a_fault_of_the_host_ends_the_plugin() {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let ping = encode(&FrameHeader::control(Verb::Ping), &Payload::Inline(Inline::new(&[0; 8]).unwrap()));
    let unknown = [0, u64::from(u32::MAX), 0, 7, 0, 0, 0];
    for (sequence, body, rule) in [(2, ping, "D1"), (1, unknown, "D2"), (1, ping, "X2")] {
        let (host, plugin) = Socket::pair().unwrap();
        let (segment, fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
        let fake = FakePeer::new(segment, host);
        // It is there before the plugin is, so it needs no bell.
        fake.publish_as(sequence, body);
        fake.socket.send_offer(&Offer::new(Backing::Sealed, 1, geometry), Some(&fds)).unwrap();
        let mut child = command(plugin).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(&format!("{rule}: ")), "{said}");
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}

/// What a Python plugin says of a host that sends this.
fn complaint(features: Features, frames: &[(FrameHeader, usize)]) -> String {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let (host, plugin) = Socket::pair().unwrap();
    let (segment, fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
    let mut fake = FakePeer::new(segment, host);
    let hello = Hello {
        major: 1,
        minor: 0,
        role: 0,
        features,
        max_message_bytes: 1 << 20,
        max_metadata_bytes: 0,
        max_calls: 8,
        max_depth: 1,
        name: String::new(),
        version: String::new(),
        registry: Vec::new(),
    };
    let hello = hello.encode().unwrap();
    let inline = |bytes: &[u8]| Payload::Inline(Inline::new(bytes).unwrap());
    // All of it is there before the plugin is, so it needs no bell.
    fake.publish(encode(&FrameHeader::control(Verb::Hello), &inline(&hello)));
    fake.publish(encode(&FrameHeader::control(Verb::Accept), &inline(&[])));
    for (header, bytes) in frames {
        let payload = if header.kind == Kind::Control {
            inline(&channel(1).raw().to_le_bytes()[..*bytes])
        } else if *bytes <= 24 {
            inline(&vec![0; *bytes])
        } else {
            let payload_bytes = u32::try_from(*bytes).unwrap();
            Payload::Slots(Run { slot: 126, generation: 1, offset: 0, payload_bytes, slots: 0 })
        };
        fake.publish(encode(header, &payload));
    }
    fake.socket.send_offer(&Offer::new(Backing::Sealed, 1, geometry), Some(&fds)).unwrap();
    let mut child = command(plugin).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    said
}

/// A channel of the host.
fn channel(generation: u32) -> ChannelId {
    ChannelId::from_raw(generation << 13 | 1)
}

#[test]
fn a_host_that_breaks_the_rules_of_streams_ends_the_plugin() {
    let header = |kind, method, flags, credit| {
        let depth = u8::from(kind == Kind::Request);
        (FrameHeader { channel: channel(1), method, kind, flags, depth, credit }, 0)
    };
    let open = |method, flags, credit| header(Kind::Request, method, flags, credit);
    let (item, end) = (header(Kind::Item, SUM, Flags::NONE, 0), header(Kind::End, SUM, Flags::NONE, 0));
    let of_count = |(frame, bytes)| (FrameHeader { method: COUNT, ..frame }, bytes);
    let large = (item.0, 64 << 10);
    let begun = (FrameHeader { flags: Flags::MORE, ..item.0 }, 24);
    let grant = |flags, credit| (FrameHeader { flags, credit, ..FrameHeader::control(Verb::Grant) }, 4);
    let sum = open(SUM, Flags::ITEMS, 0);
    let most = i32::MAX.cast_unsigned();
    let cases = [
        ("C14", vec![sum, large, item]),
        ("C13", vec![sum, end, item]),
        ("C13", vec![sum, end, end]),
        ("C13", vec![open(HOLD, Flags::NONE, 0), (FrameHeader { method: HOLD, ..item.0 }, 0)]),
        ("C13", vec![(FrameHeader { channel: ChannelId::from_raw(1 << 13), ..item.0 }, 0)]),
        ("C13", vec![(FrameHeader { flags: Flags::ITEMS.with(Flags::MORE), ..sum.0 }, 8), item]),
        ("C13", vec![sum, grant(Flags::CREDIT, 1)]),
        ("C13", vec![(FrameHeader { channel: ChannelId::CONTROL, method: 2000, ..sum.0 }, 0)]),
        ("C2", vec![sum, of_count(item)]),
        ("M2", vec![sum, begun, end]),
        ("M1", vec![sum, begun, item]),
        ("C15", vec![open(COUNT, Flags::CREDIT, most + 1)]),
        ("C15", vec![open(COUNT, Flags::CREDIT, most), grant(Flags::CREDIT, 1)]),
        ("X1", vec![grant(Flags::NONE, 0)]),
    ];
    for (case, (rule, frames)) in cases.into_iter().enumerate() {
        let said = complaint(Features::STREAMS, &frames);
        assert!(said.contains(&format!("{rule}: ")), "case {case}: {said}");
    }
    for frames in [vec![sum], vec![open(COUNT, Flags::CREDIT, 0)], vec![item], vec![end], vec![grant(Flags::CREDIT, 1)]]
    {
        let said = complaint(Features::NONE, &frames);
        assert!(said.contains("C12: "), "{said}");
    }
}

#[test]
fn a_plugin_without_a_host_says_what_it_is() {
    let no_socket = || Stdio::null();
    let socket = || Stdio::from(Socket::pair().unwrap().0.into_fd());
    for (protocol, stdin) in [(None, no_socket()), (Some("1"), no_socket()), (None, socket())] {
        let mut command = python("peer.py");
        command.env_remove("RAPACE_PROTOCOL").envs(protocol.map(|major| ("RAPACE_PROTOCOL", major))).stdin(stdin);
        let output = run(command);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    }
}

#[test]
fn the_vectors_agree_with_a_second_implementation() {
    let output = run(python("test_peer.py"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
