//! What breaks each of the rules D2 to D9, and what does not.

use super::*;
use crate::channel::ChannelGeneration;
use crate::layout::GeometryConfig;

fn geometry() -> Geometry {
    Geometry::new(GeometryConfig { segment_bytes: 256 << 10, ring_capacity: 64, slot_bytes: 4096 }).unwrap()
}

fn request() -> FrameHeader {
    FrameHeader {
        channel: ChannelId::new(Side::A, 3, ChannelGeneration::FIRST),
        method: 2001,
        kind: Kind::Request,
        flags: Flags::NONE,
        depth: 1,
        credit: 0,
    }
}

fn run(slot: u32, generation: u32, offset: u32, payload_bytes: u32) -> Payload {
    let slots = u32::try_from(geometry().run_slots(offset, payload_bytes)).unwrap();
    Payload::Slots(Run { slot, generation, offset, payload_bytes, slots })
}

/// The rule that each word, changed, breaks; `None` when it is accepted.
fn check(words: [u64; BODY_WORDS], sender: Side) -> Result<Frame, PeerFault> {
    AllegedDescriptor::new(words).check(sender, &geometry(), &mut HeldSlots::new(geometry().slot_count()))
}

fn broken(header: FrameHeader, payload: Payload, sender: Side) -> &'static str {
    check(encode(&header, &payload), sender).map_err(|fault| fault.rule()).expect_err("a fault")
}

#[test]
fn what_is_encoded_is_what_is_checked() {
    let inline = Inline::new(b"hello").unwrap();
    for payload in [Payload::Inline(inline), run(2, 9, 8, 10_000)] {
        let frame = check(encode(&request(), &payload), Side::A).unwrap();
        assert_eq!(frame, Frame { header: request(), payload });
    }
}

#[test]
fn d2_flags_and_depth_belong_to_their_kind() {
    let empty = Payload::Inline(Inline::EMPTY);
    let words = encode(&request(), &empty);
    for bit in 8..24 {
        let mut bad = words;
        bad[3] |= 1 << bit;
        assert!(matches!(check(bad, Side::A), Err(PeerFault::UnknownFlags { .. })));
    }
    for kind in [6, 7] {
        let mut bad = words;
        bad[3] = bad[3] & !7 | kind;
        assert!(matches!(check(bad, Side::A), Err(PeerFault::UnknownKind { .. })));
    }
    assert_eq!(broken(FrameHeader { depth: 0, ..request() }, empty, Side::A), "D2");
    let reply = FrameHeader { kind: Kind::Reply, depth: 0, ..request() };
    assert_eq!(broken(FrameHeader { depth: 1, ..reply }, empty, Side::B), "D2");
    assert_eq!(broken(FrameHeader { flags: Flags::DEADLINE, ..reply }, empty, Side::B), "D2");
    assert!(check(encode(&FrameHeader { flags: Flags::METADATA, ..reply }, &empty), Side::B).is_ok());
}

#[test]
fn d2_credit_and_items_belong_to_requests() {
    let empty = Payload::Inline(Inline::EMPTY);
    let both = Flags::CREDIT.with(Flags::ITEMS);
    let opening = FrameHeader { flags: both, credit: 64, ..request() };
    assert_eq!(check(encode(&opening, &empty), Side::A).unwrap().header, opening);
    for kind in [Kind::Reply, Kind::Error, Kind::Item, Kind::End] {
        for flags in [Flags::CREDIT, Flags::ITEMS] {
            assert_eq!(broken(FrameHeader { kind, flags, depth: 0, ..request() }, empty, Side::B), "D2");
        }
    }
    let grant = FrameHeader { flags: Flags::CREDIT, credit: 64, ..FrameHeader::control(Verb::Grant) };
    assert_eq!(check(encode(&grant, &empty), Side::A).unwrap().header, grant);
    assert_eq!(broken(FrameHeader { flags: both, ..grant }, empty, Side::A), "D2");
}

#[test]
fn d3_and_d4_channels_belong_to_kind_and_side() {
    let empty = Payload::Inline(Inline::EMPTY);
    let on_control = FrameHeader { channel: ChannelId::CONTROL, ..request() };
    assert!(check(encode(&on_control, &empty), Side::A).is_ok());
    assert_eq!(broken(on_control, empty, Side::B), "D3");
    let final_on_control = FrameHeader { kind: Kind::Reply, depth: 0, ..on_control };
    assert!(check(encode(&final_on_control, &empty), Side::B).is_ok());
    assert_eq!(broken(final_on_control, empty, Side::A), "D3");
    assert_eq!(broken(FrameHeader { kind: Kind::Item, depth: 0, ..on_control }, empty, Side::A), "D3");
    let ping = FrameHeader::control(Verb::Ping);
    assert!(check(encode(&ping, &empty), Side::B).is_ok());
    assert_eq!(broken(FrameHeader { method: 10, ..ping }, empty, Side::B), "D3");
    assert_eq!(broken(FrameHeader { channel: request().channel, ..ping }, empty, Side::B), "D3");
    assert_eq!(broken(request(), empty, Side::B), "D4");
    assert_eq!(broken(FrameHeader { kind: Kind::Error, depth: 0, ..request() }, empty, Side::A), "D4");
}

#[test]
fn d5_inline_payloads_are_short_and_bare() {
    let words = encode(&request(), &Payload::Inline(Inline::new(&[0; INLINE_BYTES]).unwrap()));
    assert!(check(words, Side::A).is_ok());
    let mut long = words;
    long[2] = join(0, 25);
    assert_eq!(check(long, Side::A), Err(PeerFault::InlineLength { found: 25, bound: 24 }));
    long[2] = join(0, 256 + 3);
    assert_eq!(check(long, Side::A), Err(PeerFault::InlineLength { found: 259, bound: 24 }));
    let mut offset = words;
    offset[2] = join(8, 24);
    assert_eq!(check(offset, Side::A).unwrap_err().rule(), "D5");
    let mut generation = words;
    generation[1] = join(INLINE_SLOT, 1);
    assert_eq!(check(generation, Side::A).unwrap_err().rule(), "D5");
}

#[test]
fn d6_runs_stay_in_the_half() {
    let count = geometry().slot_count();
    for (payload, expected) in [
        (run(count, 1, 0, 1), false),
        (run(INLINE_SLOT - 1, 1, 0, 1), false),
        (run(count - 1, 1, 0, 4096), true),
        (run(count - 1, 1, 0, 4097), false),
        (run(count - 1, 1, 8, 4096), false),
        (run(0, 1, 0, count * 4096), true),
        (run(0, 1, 0, count * 4096 + 1), false),
        (run(0, 1, 8, u32::MAX), false),
        (run(1, 1, 4, 10), false),
        (run(1, 1, 4096, 10), false),
        (run(1, 1, 4088, 8), true),
        (run(1, 1, 0, 0), false),
    ] {
        let got = check(encode(&request(), &payload), Side::A);
        assert_eq!(got.is_ok(), expected, "{payload:?}: {got:?}");
        assert!(got.is_ok() || got.unwrap_err().rule() == "D6");
    }
}

#[test]
fn d9_credit_needs_its_flag() {
    let empty = Payload::Inline(Inline::EMPTY);
    assert_eq!(broken(FrameHeader { credit: 1, ..request() }, empty, Side::A), "D9");
    let granted = FrameHeader { credit: 1, flags: Flags::CREDIT, ..request() };
    assert!(check(encode(&granted, &empty), Side::A).is_ok());
}

#[test]
fn every_kind_and_every_verb_has_its_number() {
    let verbs = (0..20).filter_map(Verb::from_raw).map(Verb::raw);
    assert!(verbs.eq(1..=VERB_LAST));
    let kinds = (0..8).filter_map(Kind::from_raw).map(Kind::raw);
    assert!(kinds.eq(0..=KIND_LAST));
    assert_eq!(FrameHeader::control(Verb::Cancel).verb(), Some(Verb::Cancel));
    assert_eq!(FrameHeader { method: 10, ..FrameHeader::control(Verb::Cancel) }.verb(), None);
    assert_eq!(FrameHeader { method: 7, ..request() }.verb(), None);
}

#[test]
fn flags_are_sets() {
    let both = Flags::MORE.with(Flags::CREDIT);
    assert_eq!((Flags::MORE.raw(), both.raw()), (0b1000, 0b100_1000));
    assert_eq!((both.with(Flags::MORE), both.without(Flags::MORE)), (both, Flags::CREDIT));
    assert_eq!(both.without(Flags::ITEMS), both);
    assert!(both.has(both) && both.has(Flags::NONE) && !Flags::MORE.has(both));
    assert!(both.has_any(Flags::MORE.with(Flags::ITEMS)) && !both.has_any(Flags::ITEMS) && !both.has_any(Flags::NONE));
}

#[test]
fn a_payload_knows_its_length() {
    assert_eq!(run(2, 9, 8, 10_000).bytes(), 10_000);
    assert_eq!(Payload::Inline(Inline::new(b"hello").unwrap()).bytes(), 5);
    assert_eq!(Payload::Inline(Inline::EMPTY).bytes(), 0);
}
