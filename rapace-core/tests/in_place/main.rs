//! Payloads that are built and read where they lie: loans of own slots, views of a trusted peer's.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counts;

use std::ops::Range;
use std::sync::atomic::Ordering;

use rapace_core::channel::{ChannelGeneration, ChannelId};
use rapace_core::descriptor::{Flags, FrameHeader, Kind, Payload, Run};
use rapace_core::link::{Loan, SendRefusal};
use rapace_core::memory::Trust;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::slots::Class;
use rapace_core::socket::Socket;
use rapace_core::{Geometry, GeometryConfig, Link, PeerFault, Side};

const SLOT_BYTES: usize = 64;
const NONCE: u64 = 7;

/// 16 descriptors and 57 slots, of which 7 are kept from requests and 14 from items.
fn segments() -> (Segment, Segment) {
    let geometry =
        Geometry::new(GeometryConfig { segment_bytes: 32 << 10, ring_capacity: 16, slot_bytes: 64 }).unwrap();
    let (a, fds) = Segment::create(geometry, NONCE, Prefault::Lazy).unwrap();
    (a, Segment::accept(&Offer::new(Backing::Sealed, NONCE, geometry), fds).unwrap())
}

/// A host, and a plugin that trusts it.
fn links() -> (Link, Link) {
    let (a, b) = segments();
    let (here, there) = Socket::pair().unwrap();
    let (host, mut plugin) = (Link::new(a, here), Link::new(b, there));
    plugin.trust_peer(Trust::peer_leaves_payloads_alone());
    (host, plugin)
}

fn header() -> FrameHeader {
    FrameHeader {
        channel: ChannelId::new(Side::A, 3, ChannelGeneration::FIRST),
        method: 1,
        kind: Kind::Request,
        flags: Flags::NONE,
        depth: 1,
        credit: 0,
    }
}

fn send_copy(host: &mut Link, body: &[u8]) {
    host.try_send(Class::Request, &header(), &[body]).unwrap();
}

/// Sends what is in a loan of the host, and takes it at the plugin.
fn send_loan(host: &mut Link, plugin: &mut Link, loan: Loan, range: Range<usize>) -> Payload {
    host.send_loan(loan, range, &header()).unwrap();
    plugin.receive().unwrap().unwrap().payload
}

fn take(plugin: &mut Link, payload: Payload) -> Vec<u8> {
    let mut body = Vec::new();
    plugin.take_payload(payload, &mut body);
    body
}

#[test]
fn a_loan_arrives_as_it_was_filled() {
    let (mut host, mut plugin) = links();
    let slot_count = host.geometry().slot_count();
    let mut loan = host.try_loan(Class::Request, 3 * SLOT_BYTES - 5).unwrap();
    assert_eq!((loan.len(), host.free_slots().unwrap()), (3 * SLOT_BYTES, slot_count - 3));
    loan.iter_mut().zip(0u8..).for_each(|(byte, value)| *byte = value);
    let payload = send_loan(&mut host, &mut plugin, loan, 0..150);
    assert_eq!(take(&mut plugin, payload), (0..150).collect::<Vec<u8>>());
    assert_eq!(host.free_slots().unwrap(), slot_count);
}

#[test]
fn a_payload_may_begin_later_and_frees_what_is_behind_it() {
    let (mut host, mut plugin) = links();
    let slot_count = host.geometry().slot_count();
    let mut loan = host.try_loan(Class::Request, 10 * SLOT_BYTES).unwrap();
    loan[..200].iter_mut().zip(0u8..).for_each(|(byte, value)| *byte = value);
    let payload = send_loan(&mut host, &mut plugin, loan, 56..130);
    assert!(matches!(payload, Payload::Slots(run) if (run.offset, run.slots) == (56, 3)), "{payload:?}");
    assert_eq!((host.free_slots().unwrap(), plugin.held_slots()), (slot_count - 3, 3));
    assert_eq!(take(&mut plugin, payload), (56..130).collect::<Vec<u8>>());
    assert_eq!((host.free_slots().unwrap(), plugin.held_slots()), (slot_count, 0));
}

#[test]
fn a_short_payload_of_a_loan_goes_inline() {
    let (mut host, mut plugin) = links();
    for bytes in [0, 24] {
        let mut loan = host.try_loan(Class::Request, 0).unwrap();
        assert_eq!(loan.len(), SLOT_BYTES);
        loan.fill(9);
        let payload = send_loan(&mut host, &mut plugin, loan, 8..8 + bytes);
        assert!(matches!(payload, Payload::Inline(..)));
        assert_eq!(take(&mut plugin, payload), vec![9; bytes]);
        assert_eq!(host.free_slots().unwrap(), host.geometry().slot_count());
    }
}

#[test]
fn small_payloads_keep_to_a_few_slots() {
    let (mut host, mut plugin) = links();
    let mut slots = std::collections::BTreeSet::new();
    for _ in 0..200 {
        send_copy(&mut host, &[1; SLOT_BYTES]);
        let payload = plugin.receive().unwrap().unwrap().payload;
        if let Payload::Slots(run) = payload {
            slots.insert(run.slot);
        }
        plugin.discard(payload);
    }
    // Not all 50 in turn.
    assert!((1..=8).contains(&slots.len()), "{slots:?}");
}

#[test]
fn a_returned_loan_is_lent_again() {
    let (mut host, mut plugin) = links();
    let mut loan = host.try_loan(Class::Request, SLOT_BYTES).unwrap();
    loan.fill(1);
    host.return_loan(loan);
    assert_eq!(host.free_slots().unwrap(), host.geometry().slot_count());
    let loan = host.try_loan(Class::Request, SLOT_BYTES).unwrap();
    assert_eq!(*loan, [1; SLOT_BYTES], "the same slot");
    let payload = send_loan(&mut host, &mut plugin, loan, 0..SLOT_BYTES);
    assert!(matches!(payload, Payload::Slots(run) if run.generation == 2), "{payload:?}");
}

#[test]
fn loans_are_bound_by_their_class() {
    let (mut host, _plugin) = links();
    let max = host.frame_bytes_max(Class::Item);
    assert_eq!(host.chunk_bytes(Class::Item), max / SLOT_BYTES / 4 * SLOT_BYTES, "several at a time");
    assert_eq!(host.try_loan(Class::Item, max + 1).unwrap_err(), SendRefusal::TooLarge);
    let _loan = host.try_loan(Class::Item, max).unwrap();
    assert_eq!(host.try_loan(Class::Item, 1).unwrap_err(), SendRefusal::SlotsExhausted);
    let _loan = host.try_loan(Class::Request, 1).unwrap();
    assert_eq!(host.stats().refusals, 2);
}

#[test]
fn a_loan_survives_a_full_ring() {
    let (mut host, mut plugin) = links();
    let mut loan = host.try_loan(Class::Item, SLOT_BYTES).unwrap();
    loan.fill(5);
    // An item leaves half of the ring free, a request less.
    for _ in 0..8 {
        send_copy(&mut host, b"");
    }
    let item = FrameHeader { kind: Kind::Item, depth: 0, ..header() };
    let (loan, refusal) = host.send_loan(loan, 0..40, &item).unwrap_err();
    assert_eq!(refusal, SendRefusal::RingFull);
    for _ in 0..2 {
        send_copy(&mut host, b"");
    }
    let (loan, refusal) = host.send_loan(loan, 0..40, &header()).unwrap_err();
    assert_eq!((refusal, host.stats().refusals), (SendRefusal::RingFull, 2));
    for _ in 0..10 {
        let _ = plugin.receive().unwrap().unwrap();
    }
    let payload = send_loan(&mut host, &mut plugin, loan, 0..40);
    assert_eq!(take(&mut plugin, payload), [5; 40]);
}

#[test]
fn a_loan_that_the_peer_returns_is_a_fault() {
    let (host, plugin) = segments();
    let (here, _there) = Socket::pair().unwrap();
    let mut host = Link::new(host, here);
    let loan = host.try_loan(Class::Reply, SLOT_BYTES).unwrap();
    // Slot 0, lap 1, generation 1.
    let returns = plugin.own.words(plugin.geometry.returns_offset(), 1);
    returns[0].store(1 << 32 | 1 << 24, Ordering::Release);
    assert_eq!(host.free_slots(), Err(PeerFault::ReturnedTwice { slot: 0, found: 1 }));
    drop(loan);
}

#[test]
fn a_loan_is_filled_without_its_link() {
    let (mut host, mut plugin) = links();
    let mut loan = host.try_loan(Class::Request, 100).unwrap();
    let filler = std::thread::spawn(move || {
        loan.fill(3);
        loan
    });
    send_copy(&mut host, &[4; 100]);
    let payload = plugin.receive().unwrap().unwrap().payload;
    assert_eq!(take(&mut plugin, payload), [4; 100]);
    let payload = send_loan(&mut host, &mut plugin, filler.join().unwrap(), 0..100);
    assert_eq!(take(&mut plugin, payload), [3; 100]);
}

#[test]
fn a_loan_outlives_its_link() {
    let (mut host, _plugin) = links();
    let mut loan = host.try_loan(Class::Request, 100).unwrap();
    drop(host);
    loan.fill(3);
    assert_eq!(loan[99], 3);
}

#[test]
#[should_panic(expected = "a frame of kind Request in")]
fn a_request_is_not_sent_from_slots_of_replies() {
    let mut host = links().0;
    let loan = host.try_loan(Class::Reply, 100).unwrap();
    let _ = host.send_loan(loan, 0..100, &header());
}

#[test]
fn a_reply_may_be_sent_from_slots_of_items() {
    let (mut host, mut plugin) = links();
    let mut loan = plugin.try_loan(Class::Item, 100).unwrap();
    loan.fill(1);
    plugin.send_loan(loan, 0..100, &FrameHeader { kind: Kind::Reply, depth: 0, ..header() }).unwrap();
    let payload = host.receive().unwrap().unwrap().payload;
    assert_eq!(take(&mut host, payload), [1; 100]);
}

#[test]
#[should_panic(expected = "a loan of another link")]
fn another_links_loan_is_not_sent() {
    let (mut host, mut other) = (links().0, links().0);
    let loan = other.try_loan(Class::Request, 100).unwrap();
    let _own = host.try_loan(Class::Request, 100).unwrap();
    let _ = host.send_loan(loan, 0..100, &header());
}

#[test]
fn a_payload_that_lies_ill_in_its_loan_is_our_own_bug() {
    #[expect(clippy::reversed_empty_ranges, reason = "that is the bug")]
    let ranges = [0..SLOT_BYTES * 2 + 1, 4..40, SLOT_BYTES..SLOT_BYTES * 2, 56..8];
    for range in ranges {
        let result = std::panic::catch_unwind(|| {
            let mut host = links().0;
            let loan = host.try_loan(Class::Request, SLOT_BYTES * 2).unwrap();
            let _ = host.send_loan(loan, range.clone(), &header());
        });
        let text = *result.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(text, format!("payload {range:?} in a loan of 128 bytes"));
    }
}

#[test]
fn a_view_is_the_payload_and_keeps_its_slots() {
    let (mut host, mut plugin) = links();
    let slot_count = host.geometry().slot_count();
    send_copy(&mut host, &[6; 150]);
    send_copy(&mut host, &[7; 150]);
    let first = plugin.receive().unwrap().unwrap().payload;
    let second = plugin.receive().unwrap().unwrap().payload;
    let view = plugin.view_payload(first).unwrap();
    assert_eq!((&*view, view.slots()), (&[6; 150][..], 3));
    plugin.discard(second);
    assert_eq!((host.free_slots().unwrap(), plugin.held_slots()), (slot_count - 3, 3));
    // What is sent meanwhile goes elsewhere.
    send_copy(&mut host, &[8; 150]);
    assert_eq!(*view, [6; 150]);
    plugin.return_view(view);
    assert_eq!((host.free_slots().unwrap(), plugin.held_slots()), (slot_count - 3, 0));
}

#[test]
fn a_peer_that_is_not_trusted_is_not_viewed() {
    let (mut host, mut plugin) = links();
    plugin.try_send(Class::Reply, &FrameHeader { kind: Kind::Reply, depth: 0, ..header() }, &[&[1; 100]]).unwrap();
    let payload = host.receive().unwrap().unwrap().payload;
    assert_eq!(host.view_payload(payload).unwrap_err(), payload);
    assert_eq!(take(&mut host, payload), [1; 100]);
}

#[test]
fn an_inline_payload_is_not_viewed() {
    let (mut host, mut plugin) = links();
    send_copy(&mut host, b"short");
    let payload = plugin.receive().unwrap().unwrap().payload;
    assert_eq!(plugin.view_payload(payload).unwrap_err(), payload);
}

#[test]
#[should_panic(expected = "released a run that is read in place")]
fn a_payload_is_not_discarded_under_its_view() {
    let (mut host, mut plugin) = links();
    send_copy(&mut host, &[1; 100]);
    let payload = plugin.receive().unwrap().unwrap().payload;
    let _view = plugin.view_payload(payload).unwrap();
    plugin.discard(payload);
}

#[test]
#[should_panic(expected = "reads a run in place that is not held")]
fn a_payload_that_was_taken_is_not_viewed() {
    let (mut host, mut plugin) = links();
    send_copy(&mut host, &[1; 100]);
    let payload = plugin.receive().unwrap().unwrap().payload;
    plugin.discard(payload);
    let _ = plugin.view_payload(payload);
}

#[test]
#[should_panic(expected = "the payload does not end where its run does")]
fn a_payload_that_leaves_its_run_is_not_viewed() {
    let (mut host, mut plugin) = links();
    send_copy(&mut host, &[1; 100]);
    let Payload::Slots(run) = plugin.receive().unwrap().unwrap().payload else { panic!("100 bytes inline") };
    let longer = Run { payload_bytes: 1000, ..run };
    let _ = plugin.view_payload(Payload::Slots(longer));
}

#[test]
#[should_panic(expected = "a view of another link")]
fn another_links_view_is_not_returned() {
    let ((mut host, mut plugin), mut other) = (links(), links().1);
    send_copy(&mut host, &[1; 100]);
    let payload = plugin.receive().unwrap().unwrap().payload;
    other.return_view(plugin.view_payload(payload).unwrap());
}
