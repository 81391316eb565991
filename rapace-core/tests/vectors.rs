//! The vectors of the memory and the socket, put to this crate: `spec/vectors/README.md` says what each field means.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rapace_core::descriptor::{
    AllegedDescriptor, DESCRIPTOR_BYTES, Flags, Frame, FrameHeader, Kind, Payload, Verb, encode,
};
use rapace_core::held::HeldSlots;
use rapace_core::layout::{LINE_WORDS, header};
use rapace_core::link::Link;
use rapace_core::offer::{Backing, Offer};
use rapace_core::returns::{ReturnReader, ReturnWriter};
use rapace_core::ring::{Consumer, Producer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::sleep::{Bell, Interest, News, Sleeper};
use rapace_core::slots::{Class, SlotPool};
use rapace_core::socket::Socket;
use rapace_core::words::PeerWords;
use rapace_core::{Geometry, GeometryConfig, PeerFault, Side};
use serde_json::{Value, json};

/// The list of this name in a file of vectors, and what stands beside it. No list is empty.
fn read(file: &str, list: &str) -> (Vec<Value>, Value) {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for tests");
    let path = Path::new(&package).join("../spec/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let whole: Value = serde_json::from_str(&text).unwrap();
    let vectors = whole[list].as_array().unwrap().clone();
    assert!(!vectors.is_empty(), "{list} of {file}");
    (vectors, whole)
}

fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap(),
        other => other.as_u64().unwrap_or_else(|| panic!("{other} is no number")),
    }
}

fn number32(value: &Value) -> u32 {
    number(value).try_into().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// What a fault is in a vector: the rule, and the fault's own name where that differs.
fn expected_fault(vector: &Value) -> Option<&str> {
    vector.get("fault").or(vector.get("rule")).map(|rule| rule.as_str().unwrap())
}

/// Compares a result with what the vector says: a fault, or this.
#[track_caller]
fn check<T>(vector: &Value, result: Result<T, PeerFault>, compare: impl FnOnce(T)) {
    let name = &vector["name"];
    match (result, expected_fault(vector)) {
        (Ok(got), None) => compare(got),
        (Ok(_), Some(rule)) => panic!("{name}: no fault, but {rule} is broken"),
        (Err(fault), expected) => assert_eq!(Some(fault.rule()), expected, "{name}: {fault}"),
    }
}

fn side(value: &Value) -> Side {
    if value == "A" { Side::A } else { Side::B }
}

fn frame_fields(frame: &Frame) -> Value {
    let FrameHeader { channel, method, kind, flags, depth, credit } = frame.header;
    let names = [
        (Flags::MORE, "more"),
        (Flags::DEADLINE, "deadline"),
        (Flags::METADATA, "metadata"),
        (Flags::CREDIT, "credit"),
        (Flags::ITEMS, "items"),
    ];
    let flags: Vec<&str> = names.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, name)| *name).collect();
    let kind = match kind {
        Kind::Control => "control",
        Kind::Request => "request",
        Kind::Reply => "reply",
        Kind::Error => "error",
        Kind::Item => "item",
        Kind::End => "end",
    };
    let mut fields = json!({
        "channel": channel.raw(), "method": method, "kind": kind, "flags": flags, "depth": depth, "credit": credit,
    });
    match frame.payload {
        Payload::Inline(inline) => fields["inline"] = json!(hex::encode(&*inline)),
        Payload::Slots(run) => {
            fields["run"] = json!({
                "slot": run.slot, "generation": run.generation, "offset": run.offset,
                "payload_bytes": run.payload_bytes, "slots": run.slots,
            });
        }
    }
    fields
}

/// A ring of which a consumer has taken all messages before `due`.
fn ring_before(capacity: u32, due: u64) -> (Vec<AtomicU64>, Consumer, usize) {
    let (ring, mut consumer) = (zeros(capacity as usize * LINE_WORDS), Consumer::new(capacity));
    for message in 1..due {
        ring[consumer.next().word].store(message, Ordering::Relaxed);
        consumer.take(PeerWords::new(&ring)).unwrap().unwrap();
    }
    let next = consumer.next().word;
    (ring, consumer, next)
}

#[test]
fn descriptors_are_what_the_vectors_say() {
    let (vectors, file) = read("descriptors.json", "vectors");
    let sizes = &file["geometry"];
    let geometry = Geometry::new(GeometryConfig {
        segment_bytes: 2 * usize::try_from(number(&sizes["half_bytes"])).unwrap(),
        ring_capacity: number32(&sizes["ring_capacity"]),
        slot_bytes: number32(&sizes["slot_bytes"]),
    })
    .unwrap();
    for vector in &vectors {
        let sender = side(&vector["sender"]);
        let mut held = HeldSlots::new(geometry.slot_count());
        for before in vector.get("before").and_then(Value::as_array).into_iter().flatten() {
            let body = words(&bytes(&before["hex"]))[1..].try_into().unwrap();
            let frame = AllegedDescriptor::new(body).check(sender, &geometry, &mut held).unwrap();
            if let (Payload::Slots(run), true) = (frame.payload, before["returned"] == true) {
                held.release(&run);
            }
        }
        let due = vector.get("due").map_or(1, number);
        let (ring, mut consumer, next) = ring_before(geometry.ring_capacity(), due);
        let descriptor = bytes(&vector["hex"]);
        assert_eq!(descriptor.len(), DESCRIPTOR_BYTES);
        for (word, value) in ring[next..].iter().zip(words(&descriptor)) {
            word.store(value, Ordering::Relaxed);
        }
        let checked = consumer.take(PeerWords::new(&ring)).and_then(|body| {
            let body = body.unwrap_or_else(|| panic!("{}: no message", vector["name"]));
            Ok((body, AllegedDescriptor::new(body).check(sender, &geometry, &mut held)?))
        });
        check(vector, checked, |(body, frame)| {
            assert_eq!(frame_fields(&frame), vector["frame"], "{}", vector["name"]);
            assert_eq!(encode(&frame.header, &frame.payload), body, "{}", vector["name"]);
        });
    }
}

#[test]
fn sequences_and_progress_are_what_the_vectors_say() {
    let (vectors, file) = read("rings.json", "sequences");
    let capacity = number32(&file["capacity"]);
    for vector in &vectors {
        let (ring, mut consumer, next) = ring_before(capacity, number(&vector["due"]));
        ring[next].store(number(&vector["word"]), Ordering::Relaxed);
        check(vector, consumer.take(PeerWords::new(&ring)), |taken| {
            assert_eq!(taken.map_or("nothing", |_| "message"), vector["outcome"], "{}", vector["name"]);
        });
    }
    for vector in &read("rings.json", "progress").0 {
        let (ring, mut producer) = (zeros(capacity as usize * LINE_WORDS), Producer::new(capacity));
        let (published, seen) = (number(&vector["published"]), number(&vector["seen"]));
        let mut consumed = [AtomicU64::new(0)];
        for message in 0..published {
            if message == u64::from(capacity) {
                *consumed[0].get_mut() = seen;
                producer.refresh(PeerWords::new(&consumed)).unwrap();
            }
            producer.publish(&ring, &[0; LINE_WORDS - 1]);
        }
        *consumed[0].get_mut() = seen;
        producer.refresh(PeerWords::new(&consumed)).unwrap();
        *consumed[0].get_mut() = number(&vector["announced"]);
        check(vector, producer.refresh(PeerWords::new(&consumed)), |_| {
            let free = u64::from(capacity) - (published - producer.consumed_seen());
            assert_eq!(free, number(&vector["free"]), "{}", vector["name"]);
        });
    }
}

#[test]
fn returns_are_what_the_vectors_say() {
    let (vectors, file) = read("returns.json", "words");
    let capacity = number32(&file["capacity"]);
    for vector in &vectors {
        let ring = zeros(capacity as usize);
        let (mut writer, mut reader) = (ReturnWriter::new(capacity), ReturnReader::new(capacity));
        for _ in 0..number(&vector["taken"]) {
            writer.give_back(&ring, 0, 1);
            reader.take(PeerWords::new(&ring)).unwrap().unwrap();
        }
        let at = usize::try_from(number(&vector["taken"])).unwrap() % ring.len();
        ring[at].store(number(&vector["word"]), Ordering::Relaxed);
        check(vector, reader.take(PeerWords::new(&ring)), |taken| {
            let expected =
                (vector["outcome"] != "nothing").then(|| (number32(&vector["slot"]), number32(&vector["generation"])));
            assert_eq!(taken.map(|returned| (returned.slot, returned.generation)), expected, "{}", vector["name"]);
        });
    }
    for vector in &read("returns.json", "tables").0 {
        let mut pool = SlotPool::new(number32(&file["slots"]));
        for run in vector["out"].as_array().unwrap() {
            let (slot, slots, generation) =
                (number32(&run["slot"]), number32(&run["slots"]), number32(&run["generation"]));
            let mut got = pool.allocate(slots, Class::Reply).unwrap();
            while got.generation != generation {
                pool.give_up(got);
                got = pool.allocate(slots, Class::Reply).unwrap();
            }
            assert_eq!(got.slot, slot, "{}", vector["name"]);
            pool.hand_over(got, slots);
        }
        let before = pool.free();
        check(vector, pool.take_back(number32(&vector["slot"]), number32(&vector["generation"])), |()| {
            assert_eq!(pool.free() - before, number32(&vector["freed"]), "{}", vector["name"]);
        });
    }
}

#[test]
fn bells_and_sleep_words_are_what_the_vectors_say() {
    for vector in &read("sleep.json", "bells").0 {
        let mut bell = Bell::default();
        if let Some(epoch) = vector["last_rung"].as_u64() {
            let asleep = [AtomicU64::new(epoch << 2 | 1)];
            assert!(bell.due(PeerWords::new(&asleep), News { frames: true, room: false }));
        }
        let word = [AtomicU64::new(number(&vector["word"]))];
        let news = News { frames: vector["frames"] == true, room: vector["room"] == true };
        assert_eq!(bell.due(PeerWords::new(&word), news), vector["bell"], "{}", vector["name"]);
    }
    for vector in &read("sleep.json", "words").0 {
        let (mut sleeper, word) = (Sleeper::default(), AtomicU64::new(0));
        for step in vector["steps"].as_array().unwrap() {
            match step["do"].as_str().unwrap() {
                "sleep" => sleeper.arm(&word, Interest::Frames),
                "sleep for room" => sleeper.arm(&word, Interest::FramesAndRoom),
                "wake" => sleeper.disarm(&word),
                other => panic!("{other}"),
            }
            assert_eq!(word.load(Ordering::Relaxed), number(&step["word"]), "{}", vector["name"]);
        }
    }
}

#[test]
fn offers_are_what_the_vectors_say() {
    for vector in &read("offers.json", "vectors").0 {
        let (name, message) = (&vector["name"], bytes(&vector["hex"]));
        let offer = match Offer::decode(&message) {
            Ok(offer) => offer,
            Err(error) => {
                assert!(
                    error.to_string().starts_with(&format!("{}: ", vector["rule"].as_str().unwrap())),
                    "{name}: {error}"
                );
                continue;
            }
        };
        let geometry = &offer.geometry;
        let fields = json!({
            "backing": match &offer.backing { Backing::Sealed => "sealed", Backing::Named(name) => name },
            "minor": offer.minor,
            "nonce": format!("{:#018x}", offer.nonce),
            "half_bytes": geometry.half_bytes(),
            "ring_capacity": geometry.ring_capacity(),
            "slot_bytes": geometry.slot_bytes(),
            "slots": geometry.slot_count(),
            "returns": geometry.return_capacity(),
            "slots_offset": geometry.slots_offset(),
        });
        assert_eq!(fields, vector["offer"], "{name}");
    }
}

#[test]
fn first_lines_are_what_the_vectors_say() {
    let (vectors, file) = read("headers.json", "vectors");
    let offer = Offer::decode(&bytes(&file["offer"])).unwrap();
    for vector in &vectors {
        let (mut a, fds) = Segment::create(offer.geometry, offer.nonce, Prefault::Lazy).unwrap();
        a.minor = offer.minor;
        let b = Segment::accept(&offer, fds).unwrap();
        let (liar, reader) = if vector["half"] == "A" { (a, b) } else { (b, a) };
        let line = liar.own.words(header::IDENTITY, LINE_WORDS);
        for (word, value) in line.iter().zip(words(&bytes(&vector["line"]))) {
            word.store(value, Ordering::Relaxed);
        }
        let (here, there) = Socket::pair().unwrap();
        let (mut reader, mut liar) = (Link::new(reader, here), Link::new(liar, there));
        liar.try_send(Class::Control, &FrameHeader::control(Verb::Accept), &[]).unwrap();
        check(vector, reader.receive(), |frame| assert!(frame.is_some(), "{}", vector["name"]));
    }
}

#[test]
fn datagrams_are_what_the_vectors_say() {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    for vector in &read("datagrams.json", "vectors").0 {
        let (segment, _fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
        let (here, there) = Socket::pair().unwrap();
        let (mut link, peer) = (Link::new(segment, here), UnixDatagram::from(there.into_fd()));
        for _ in 0..number(&vector["sleeps"]) {
            link.arm(Interest::Frames);
            link.disarm();
        }
        for datagram in vector["datagrams"].as_array().unwrap() {
            peer.send(&bytes(datagram)).unwrap();
        }
        check(vector, link.read_socket(), |news| {
            let refusal = news.refusal.map(|refusal| json!({ "code": refusal.code, "text": refusal.text }));
            assert_eq!(refusal.as_ref(), vector.get("refusal"), "{}", vector["name"]);
            let bells = vector.get("bells").map_or(0, number);
            assert_eq!(link.stats().bells_received, bells, "{}", vector["name"]);
        });
    }
}
