//! The vectors of the protocol above frames, put to this crate: `spec/vectors/README.md` says what each field means.
//!
//! What has no function of its own is put to a real host by a puppet: a plugin that publishes what it is given.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::layout::header;
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Side};
use rapace_registry::Registry;
use rapace_session::{
    Code, Config, Features, Handler, Handshake, HandshakeError, Hello, IncomingCall, Limits, PeerA, PeerB, Router,
    SessionEnd, Status,
};
use serde_json::{Value, json};

/// What is waited for comes, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// The vectors of a file, and what stands beside them. There are some.
fn read(file: &str) -> (Vec<Value>, Value) {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for tests");
    let path = Path::new(&package).join("../spec/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let whole: Value = serde_json::from_str(&text).unwrap();
    let vectors = whole["vectors"].as_array().unwrap().clone();
    assert!(!vectors.is_empty(), "{file}");
    (vectors, whole)
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn number<T: TryFrom<u64, Error: std::fmt::Debug>>(value: &Value) -> T {
    value.as_u64().unwrap().try_into().unwrap()
}

fn word(value: u64) -> Value {
    json!(format!("{value:#018x}"))
}

/// How a session under test ended, or why it did not come about.
type End = Result<Arc<SessionEnd>, HandshakeError>;

/// A plugin without manners.
struct Puppet {
    fake: FakePeer,
    rung: u64,
    returned: u32,
}

impl Puppet {
    /// A host in a thread, and its puppet.
    fn start(config: Config, handler: impl Handler) -> (JoinHandle<End>, Self) {
        let (a, b) = Socket::pair().unwrap();
        let host = thread::spawn(move || Ok(Handshake::<PeerA>::offer(a, None, config)?.finish(handler)?.serve()));
        let (offer, fds) = b.recv_offer(Instant::now() + PATIENCE).unwrap();
        let segment = Segment::accept(&offer, fds.unwrap()).unwrap();
        (host, Self { fake: FakePeer::new(segment, b), rung: 0, returned: 0 })
    }

    /// The same behind the handshake.
    fn open(config: Config, handler: impl Handler, features: Features) -> (JoinHandle<End>, Self) {
        let (host, mut puppet) = Self::start(config, handler);
        let hello = Hello::decode(&bytes(&read("hellos.json").0[0]["hex"])).unwrap();
        puppet.send(&FrameHeader::control(Verb::Hello), &Hello { features, ..hello }.encode().unwrap(), 0);
        puppet.send(&FrameHeader::control(Verb::Accept), &[], 0);
        for verb in [Verb::Hello, Verb::Accept] {
            assert_eq!(puppet.next()["method"], verb.raw());
        }
        (host, puppet)
    }

    /// Publishes a frame: the payload inline if it fits, else from this slot on, which must be fresh.
    fn send(&mut self, header: &FrameHeader, payload: &[u8], slot: u32) {
        let payload = if let Some(inline) = Inline::new(payload) {
            Payload::Inline(inline)
        } else {
            self.fake.write_slot(slot, payload);
            let payload_bytes = payload.len().try_into().unwrap();
            Payload::Slots(Run { slot, generation: 1, offset: 0, payload_bytes, slots: 0 })
        };
        self.fake.publish(encode(header, &payload));
        self.ring();
    }

    /// Rings the host if it sleeps, once per sleep.
    fn ring(&mut self) {
        // Pairs with the fence of the sleeper: it sees what was published, or its word is seen here.
        fence(Ordering::SeqCst);
        let sleep = self.fake.load(header::SLEEP);
        if sleep & 1 == 1 && sleep >> 2 != self.rung {
            self.rung = sleep >> 2;
            let _ = self.fake.socket.ring().unwrap();
        }
    }

    /// Waits for the next frame of the host.
    fn next(&mut self) -> Value {
        let start = Instant::now();
        let body = loop {
            if let Some(body) = self.fake.take() {
                break body;
            }
            self.ring();
            assert!(start.elapsed() < PATIENCE, "the host sends nothing");
            thread::yield_now();
        };
        let [channel, method, slot, generation, offset, length, flags, credit] = std::array::from_fn(|index| {
            let half = body[index / 2].to_le_bytes();
            u32::from_le_bytes(half.as_chunks().0[index % 2])
        });
        let length = usize::try_from(length).unwrap();
        let payload: Vec<u8> = if slot == u32::MAX {
            body[4..].iter().flat_map(|word| word.to_le_bytes()).take(length).collect()
        } else {
            let geometry = *self.fake.geometry();
            let at = geometry.slots_offset() + (slot * geometry.slot_bytes() + offset) as usize;
            let words = (at..at + length).step_by(8).map(|at| self.fake.load(at));
            let payload = words.flat_map(u64::to_le_bytes).take(length).collect();
            self.fake.store_return(self.returned, u64::from(generation) << 32 | 1 << 24 | u64::from(slot));
            self.returned += 1;
            payload
        };
        let kind = ["control", "request", "reply", "error", "item", "end"][(flags & 7) as usize];
        let mut answer = json!({ "kind": kind, "channel": channel, "method": method });
        if kind == "error" {
            answer["code"] = json!(Status::decode(&payload).code.raw());
        } else {
            answer["body"] = json!(hex::encode(payload));
        }
        if flags & Flags::CREDIT.raw() != 0 {
            answer["credit"] = json!(credit);
        }
        answer
    }
}

fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    call.reply(&body);
}

/// Sends each item back.
async fn echo_items(call: IncomingCall) {
    let mut items = call.items();
    while let Some(item) = poll_fn(|cx| items.poll_next(cx)).await {
        match item {
            Ok(item) => poll_fn(|cx| call.poll_send(cx, &item)).await.unwrap(),
            Err(error) => return call.fail(Status::new(error.code(), error.to_string())),
        }
    }
    call.reply(&[]);
}

fn check_status(status: &Status, expected: &Value, name: &Value) {
    assert_eq!(status.code.raw(), number::<u32>(&expected["code"]), "{name}");
    if let Some(message) = expected.get("message") {
        assert_eq!(status.message, message.as_str().unwrap(), "{name}");
    }
    assert_eq!(status.details, expected.get("details").map_or(Vec::new(), bytes), "{name}");
}

#[test]
fn sessions_go_as_the_vectors_say() {
    let (vectors, file) = read("sessions.json");
    let limits = Limits {
        message_bytes_max: number(&file["limits"]["max_message_bytes"]),
        calls_max: number(&file["limits"]["max_calls"]),
        served_max: None,
        depth_max: number(&file["limits"]["max_depth"]),
        stream_window_bytes: number(&file["limits"]["window"]),
        ..Limits::default()
    };
    for vector in &vectors {
        let name = &vector["name"];
        let config = Config { limits, ..Config::new("host", "1") };
        let router = Router::new()
            .method(1, echo)
            .method(2, |call: IncomingCall| call.run_async(echo_items))
            .method(3, |call: IncomingCall| std::mem::forget(call));
        let in_handshake = vector["handshake"] == true;
        let features = if vector["streams"] == true { Features::STREAMS } else { Features::NONE };
        let (host, mut puppet) =
            if in_handshake { Puppet::start(config, router) } else { Puppet::open(config, router, features) };
        // Behind HELLO and ACCEPT.
        let mut due = if in_handshake { 1 } else { 3 };
        for slot in vector.get("slots").and_then(Value::as_array).into_iter().flatten() {
            puppet.fake.write_slot(number(&slot["slot"]), &bytes(&slot["hex"]));
        }
        for frame in vector["frames"].as_array().unwrap() {
            let bytes = bytes(frame);
            let words: [u64; 8] = std::array::from_fn(|index| u64::from_le_bytes(bytes.as_chunks().0[index]));
            let [sequence, body @ ..] = words;
            assert_eq!(sequence, due, "{name}");
            due += 1;
            puppet.fake.publish(body);
            puppet.ring();
        }
        for answer in vector.get("answers").and_then(Value::as_array).into_iter().flatten() {
            let mut found = puppet.next();
            if found != *answer && found["code"] == Code::Cancelled.raw() {
                // A cancel may be there before the handler has begun, and is answered then (SPEC C7).
                found = puppet.next();
            }
            assert_eq!(found, *answer, "{name}");
        }
        let keeps_open = ["rule", "closed", "refused"].iter().all(|key| vector.get(key).is_none());
        if keeps_open {
            puppet.fake.socket.shutdown();
        }
        puppet.ring();
        match host.join().unwrap() {
            Ok(end) => match &*end {
                SessionEnd::Fault(fault) => assert_eq!(vector["rule"], fault.rule(), "{name}: {fault}"),
                SessionEnd::PeerClosed(status) => check_status(status, &vector["closed"], name),
                SessionEnd::PeerGone(None) => assert!(keeps_open, "{name}: {end}"),
                other => panic!("{name}: {other}"),
            },
            Err(HandshakeError::Fault(fault)) => assert_eq!(vector["rule"], fault.rule(), "{name}: {fault}"),
            Err(HandshakeError::RefusedByPeer(status)) => check_status(&status, &vector["refused"], name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn prefixes_are_what_the_vectors_say() {
    let (vectors, file) = read("metadata.json");
    let limits = Limits { metadata_bytes_max: number(&file["max_metadata_bytes"]), ..Limits::default() };
    for vector in &vectors {
        let name = &vector["name"];
        let (sender, seen) = mpsc::channel();
        let sender = Mutex::new(sender);
        let handler = move |call: IncomingCall| {
            let pairs: Vec<Value> =
                call.metadata().iter().map(|(key, value)| json!([key, hex::encode(value)])).collect();
            let fields = json!({ "metadata": pairs, "body": hex::encode(call.body()) });
            sender.lock().unwrap().send((fields, call.time_left())).unwrap();
            call.reply(&[]);
        };
        let (host, mut puppet) = Puppet::open(Config { limits, ..Config::new("host", "1") }, handler, Features::NONE);
        let flags = vector["flags"].as_array().unwrap().iter().fold(Flags::NONE, |flags, name| {
            flags.with(if name == "deadline" { Flags::DEADLINE } else { Flags::METADATA })
        });
        let channel = ChannelId::from_raw(1 << 13);
        let header = FrameHeader { channel, method: 1, kind: Kind::Request, flags, depth: 1, credit: 0 };
        puppet.send(&header, &bytes(&vector["hex"]), 63);
        let answer = puppet.next();
        assert_eq!(answer.get("code"), vector.get("code"), "{name}: {answer}");
        if let Ok((fields, left)) = seen.try_recv() {
            assert_eq!(fields, json!({ "metadata": vector["metadata"], "body": vector["body"] }), "{name}");
            let said = vector.get("time_left_ns").map(|left| Duration::from_nanos(number(left)));
            assert_eq!(left.is_some(), said.is_some(), "{name}");
            if let (Some(left), Some(said)) = (left, said) {
                assert!(left <= said && said - left < PATIENCE, "{name}: {left:?} of {said:?}");
            }
        }
        drop(puppet);
        host.join().unwrap().unwrap();
    }
}

#[test]
fn hellos_are_what_the_vectors_say() {
    for vector in &read("hellos.json").0 {
        let name = &vector["name"];
        let zeros = vector.get("zeros").map_or(0, number);
        let message = [bytes(&vector["hex"]), vec![0; zeros]].concat();
        if vector.get("rule").is_some() && vector.get("code").is_none() {
            check_faulty_hello(&message, vector);
            continue;
        }
        let receiver = if vector["receiver"] == "A" { Side::A } else { Side::B };
        let own = vector.get("registry").map_or(Registry::default(), |own| Registry::from_bytes(&bytes(own)).unwrap());
        let decoded = Hello::decode(&message);
        let fields = decoded.as_ref().ok().map(|hello| {
            json!({
                "minor": hello.minor, "role": hello.role, "features": word(json!(hello.features).as_u64().unwrap()),
                "max_message_bytes": word(hello.max_message_bytes), "max_metadata_bytes": hello.max_metadata_bytes, "max_calls": hello.max_calls,
                "max_depth": hello.max_depth, "name": hello.name, "version": hello.version,
                "registry": hex::encode(&hello.registry),
            })
        });
        let again = decoded.as_ref().ok().map(|hello| hello.encode().unwrap());
        match decoded.and_then(|hello| hello.check(receiver, &own)) {
            Ok(_) => {
                assert_eq!(fields.as_ref(), vector.get("hello"), "{name}");
                assert_eq!(again, Some(message), "{name}");
            }
            Err(status) => check_status(&status, vector, name),
        }
    }
}

/// A hello that is no matter for a refusal, in two pieces.
fn check_faulty_hello(message: &[u8], vector: &Value) {
    let (host, mut puppet) = Puppet::start(Config::new("host", "1"), echo);
    let (first, second) = message.split_at(message.len() / 2);
    let header = FrameHeader::control(Verb::Hello);
    puppet.send(&FrameHeader { flags: Flags::MORE, ..header }, first, 0);
    puppet.send(&header, second, 250);
    match host.join().unwrap() {
        Err(HandshakeError::Fault(fault)) => assert_eq!(vector["rule"], fault.rule(), "{}", vector["name"]),
        other => panic!("{}: {other:?}", vector["name"]),
    }
}

#[test]
fn statuses_are_what_the_vectors_say() {
    for vector in &read("statuses.json").0 {
        let status = Status::decode(&bytes(&vector["hex"]));
        check_status(&status, vector, &vector["name"]);
    }
}

#[test]
fn offers_are_refused_with_the_codes_of_the_vectors() {
    for vector in &read("offers.json").0 {
        let (a, b) = Socket::pair().unwrap();
        let host = UnixDatagram::from(a.into_fd());
        host.send(&bytes(&vector["hex"])).unwrap();
        Handshake::<PeerB>::accept(b, Config::new("plugin", "1")).unwrap_err();
        let mut refusal = [0; 2048];
        let length = host.recv(&mut refusal).unwrap();
        let code = u32::from_le_bytes(refusal[1..5].try_into().unwrap());
        // Good ones are refused too: sealed halves for the want of descriptors, a named segment for the want of trust.
        let named = vector["offer"]["backing"] != "sealed";
        let expected = vector.get("code").map_or(if named { 7 } else { 3 }, number);
        assert_eq!((refusal[0], code), (3, expected), "{}: {length} bytes", vector["name"]);
    }
}
