//! The worked examples of SPEC.md are what a real session leaves in its memory, byte for byte.
//!
//! An example is a block of SPEC.md that begins with `hex` and its name: offset, colon, bytes, and behind a semicolon
//! what they mean.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rapace_core::descriptor::{Flags, FrameHeader, Kind, Verb};
use rapace_core::link::Link;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{HalfFds, Prefault, Segment};
use rapace_core::sleep::{Interest, Sleeper};
use rapace_core::slots::Class;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Geometry, GeometryConfig, Side};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{
    CallOptions, Code, Config, Handler, Handshake, IncomingCall, Metadata, NoService, PeerA, PeerB, Session,
    SessionEnd, Status, Streams,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// The nonce of the examples; that of a real session is its own.
const NONCE: u64 = 0x2a5f_0000_0001;
/// The example call's channel, whose generation is its session's choice: index 0, generation 1.
const CHANNEL: u32 = 1 << 13 | 1;

/// The examples of SPEC.md by name.
fn spec() -> BTreeMap<String, Vec<u8>> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for tests");
    let text = std::fs::read_to_string(Path::new(&package).join("../SPEC.md")).unwrap();
    let mut examples = BTreeMap::new();
    for block in text.split("\n```hex ").skip(1) {
        let (name, block) = block.split_once('\n').unwrap();
        let mut bytes = Vec::new();
        for line in block.split("```").next().unwrap().lines() {
            let (offset, rest) = line.split_once(':').unwrap();
            assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len(), "{name}");
            let digits = rest.split(';').next().unwrap().split_whitespace();
            bytes.extend(digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        assert!(examples.insert(name.to_owned(), bytes).is_none(), "{name} stands twice");
    }
    examples
}

/// A host and a plugin that serves, and a look at the memory of both.
struct Stage {
    host: Session<PeerA>,
    plugin: JoinHandle<std::sync::Arc<SessionEnd>>,
    view: Segment,
}

impl Stage {
    fn new(handler: impl Handler) -> Self {
        let (a, b) = Socket::pair().unwrap();
        let again = Socket::from_fd(a.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let host = Handshake::<PeerA>::offer(a, None, Config::new("host", "1.0")).unwrap();
        let (offer, fds) = b.recv_offer(Instant::now() + PATIENCE).unwrap();
        let fds = fds.unwrap();
        let copies = HalfFds { a: fds.a.try_clone().unwrap(), b: fds.b.try_clone().unwrap() };
        let view = Segment::accept(&offer, fds).unwrap();
        again.send_offer(&offer, Some(&copies)).unwrap();
        drop(again);
        let plugin = thread::spawn(move || {
            let handshake = Handshake::<PeerB>::accept(b, Config::new("echo", "1.0")).unwrap();
            handshake.finish(handler).unwrap().serve()
        });
        Self { host: host.finish(NoService).unwrap(), plugin, view }
    }

    fn bytes(&self, side: Side, at: usize, count: usize) -> Vec<u8> {
        let words = 0..count.div_ceil(8);
        let bytes: Vec<u8> = match side {
            Side::A => words.flat_map(|word| self.view.peer.words(at, word + 1).load(word).to_le_bytes()).collect(),
            Side::B => words
                .flat_map(|word| self.view.own.words(at, word + 1)[word].load(Ordering::Acquire).to_le_bytes())
                .collect(),
        };
        bytes[..count].to_vec()
    }

    /// Message `count` of this side, with the channel of the examples.
    fn message(&self, side: Side, count: usize) -> Vec<u8> {
        let mut bytes = self.bytes(side, 4096 + 64 * (count - 1), 64);
        let channel = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        if channel != 0 {
            assert_eq!(channel & 0x1fff, CHANNEL & 0x1fff, "index and parity");
            bytes[8..12].copy_from_slice(&CHANNEL.to_le_bytes());
        }
        bytes
    }

    fn end(self) {
        self.host.close(&Status::new(Code::Unavailable, "bye"));
        self.plugin.join().unwrap();
    }
}

fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    call.reply(&body);
}

/// The offer, the first lines, the handshake, a call and the end.
fn a_session(examples: &mut BTreeMap<&str, Vec<u8>>) {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    examples.insert("offer", Offer::new(Backing::Sealed, NONCE, geometry).encode());
    let stage = Stage::new(echo);
    for (side, name) in [(Side::A, "first-line-a"), (Side::B, "first-line-b")] {
        let mut line = stage.bytes(side, 0, 48);
        line[40..].copy_from_slice(&NONCE.to_le_bytes());
        examples.insert(name, line);
    }
    examples.insert("hello", stage.message(Side::B, 1));
    examples.insert("accept", stage.message(Side::A, 2));
    stage.host.call(1, b"ping", &CallOptions::new()).unwrap();
    examples.insert("request", stage.message(Side::A, 3));
    examples.insert("reply", stage.message(Side::B, 3));
    stage.host.close(&Status::new(Code::Unavailable, "bye"));
    examples.insert("close", stage.message(Side::A, 4));
    stage.end();
}

fn a_payload_in_slots(examples: &mut BTreeMap<&str, Vec<u8>>) {
    let stage = Stage::new(echo);
    let body: Vec<u8> = (0..=255).cycle().take(5000).collect();
    stage.host.call(1, &body, &CallOptions::new()).unwrap();
    examples.insert("slots-request", stage.message(Side::A, 3));
    examples.insert("slots-payload", stage.bytes(Side::A, 12288 + 63 * 4096, 16));
    // The body was read in place, and is returned behind the reply.
    let start = Instant::now();
    while stage.bytes(Side::B, 8192, 8) == [0; 8] {
        assert!(start.elapsed() < PATIENCE, "the run is not returned");
        thread::yield_now();
    }
    examples.insert("slots-return", stage.bytes(Side::B, 8192, 8));
    stage.end();
}

fn prefixes(examples: &mut BTreeMap<&str, Vec<u8>>) {
    let stage = Stage::new(echo);
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    // In vain, if the plugin takes longer than that: the request is what counts.
    let _ = stage.host.call(1, b"ping", &CallOptions::new().deadline(Duration::from_millis(1500)).metadata(metadata));
    examples.insert("prefixes-request", stage.message(Side::A, 3));
    examples.insert("prefixes-payload", stage.bytes(Side::A, 12288 + 63 * 4096, 86));
    stage.end();
}

fn an_error_and_a_cancel(examples: &mut BTreeMap<&str, Vec<u8>>) {
    let stage = Stage::new(|call: IncomingCall| call.fail(Status::new(Code::NotFound, "no such key")));
    stage.host.call(1, b"", &CallOptions::new()).unwrap_err();
    examples.insert("error", stage.message(Side::B, 3));
    stage.end();
    let stage = Stage::new(|call: IncomingCall| std::mem::forget(call));
    drop(stage.host.start(1, b"", &CallOptions::new()).unwrap());
    let mut cancel = stage.message(Side::A, 4);
    cancel[40..44].copy_from_slice(&CHANNEL.to_le_bytes());
    examples.insert("cancel", cancel);
    stage.end();
}

fn a_stream(examples: &mut BTreeMap<&str, Vec<u8>>) {
    let (go_on, granted) = mpsc::channel();
    let granted = Mutex::new(granted);
    let stage = Stage::new(move |call: IncomingCall| {
        let sent = call.poll_send(&mut Context::from_waker(Waker::noop()), &[7; 131_008]);
        assert_eq!(sent, Poll::Ready(Ok(())));
        granted.lock().unwrap().recv().unwrap();
        call.reply(b"done");
    });
    let streams = Streams { sends: false, receives: true };
    stage.host.block_on(async {
        let call = stage.host.caller().open(1, b"", streams, &CallOptions::new()).await.unwrap();
        assert_eq!(poll_fn(|cx| call.poll_item(cx)).await.unwrap().len(), 131_008);
        go_on.send(()).unwrap();
        assert_eq!(*poll_fn(|cx| call.poll_reply(cx)).await.unwrap().body, *b"done");
    });
    examples.insert("stream-request", stage.message(Side::A, 3));
    examples.insert("stream-item", stage.message(Side::B, 3));
    let mut grant = stage.message(Side::A, 4);
    grant[40..44].copy_from_slice(&CHANNEL.to_le_bytes());
    examples.insert("stream-grant", grant);
    examples.insert("stream-reply", stage.message(Side::B, 4));
    stage.end();
}

fn two_pieces(examples: &mut BTreeMap<&str, Vec<u8>>) {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let (a, fds) = Segment::create(geometry, NONCE, Prefault::Lazy).unwrap();
    let b = Segment::accept(&Offer::new(Backing::Sealed, NONCE, geometry), fds).unwrap();
    let mut link = Link::new(a, Socket::pair().unwrap().0);
    for verb in [Verb::Hello, Verb::Accept] {
        link.try_send(Class::Control, &FrameHeader::control(verb), &[]).unwrap();
    }
    let channel = ChannelId::from_raw(CHANNEL);
    let header = FrameHeader { channel, method: 1, kind: Kind::Request, flags: Flags::MORE, depth: 1, credit: 0 };
    link.try_send(Class::Request, &header, &[b"hello, "]).unwrap();
    link.try_send(Class::Request, &FrameHeader { flags: Flags::NONE, ..header }, &[b"world"]).unwrap();
    for (name, count) in [("piece-1", 3), ("piece-2", 4)] {
        let words = (0..8).map(|word| b.peer.words(4096 + 64 * (count - 1), 8).load(word));
        examples.insert(name, words.flat_map(u64::to_le_bytes).collect());
    }
}

fn sleep_words() -> Vec<u8> {
    let (mut sleeper, word) = (Sleeper::default(), AtomicU64::new(0));
    let mut words = Vec::new();
    let mut note = || words.extend(word.load(Ordering::Relaxed).to_le_bytes());
    note();
    sleeper.arm(&word, Interest::Frames);
    note();
    sleeper.disarm(&word);
    note();
    sleeper.arm(&word, Interest::FramesAndRoom);
    note();
    words
}

#[test]
fn the_examples_of_the_specification_are_what_the_code_makes() {
    let mut examples = BTreeMap::new();
    a_session(&mut examples);
    a_payload_in_slots(&mut examples);
    prefixes(&mut examples);
    an_error_and_a_cancel(&mut examples);
    two_pieces(&mut examples);
    a_stream(&mut examples);
    examples.insert("sleep", sleep_words());
    let service = Service::builder("a", Version::new(1, 300), Provider::Plugin).unary::<u8, ()>("m", 1000);
    let registry = Registry::builder().service(service).build().unwrap();
    examples.insert("registry", registry.to_bytes());
    let hash = registry.services()[0].methods()[0].hash().get();
    examples.insert("hash", hash.to_le_bytes().to_vec());
    examples.insert("digest", registry.digest().as_bytes().to_vec());
    let spec = spec();
    let names: Vec<&str> = spec.keys().map(String::as_str).collect();
    assert_eq!(names, examples.keys().copied().collect::<Vec<_>>());
    for (name, bytes) in &examples {
        assert_eq!(hex::encode(&spec[*name]), hex::encode(bytes), "{name}");
    }
}
