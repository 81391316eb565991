//! Target `session`: a session against a peer that keeps the rules, until it lies.

mod desk;
mod items;
mod memory;
mod ours;
mod script;
mod theirs;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use rapace_core::fake::FakePeer;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::socket::Socket;
use rapace_core::{Geometry, GeometryConfig, Side};
use rapace_session::{
    Config, FaultPolicy, Handshake, IncomingCall, LIFECYCLE_METHODS, Limits, PeerA, PeerB, Role, Session, SessionEnd,
    Timeouts, WaitStrategy,
};

use self::desk::Desk;
pub use self::memory::memory;
use self::ours::{Lifecycle, OurOp, Ours};
use self::script::{Op, StreamOp};
use self::theirs::{Greeting, Theirs};
use crate::greeted::offered;
use crate::peer::Peer;

/// What the session takes.
const MESSAGE_BYTES_MAX: usize = 4096;
const METADATA_BYTES_MAX: usize = 64;
const CALLS_MAX: u32 = 4;
const DEPTH_MAX: u8 = 3;
const INBOUND_BYTES_MAX: usize = 6144;
const OUTBOUND_BYTES_MAX: usize = 1 << 16;
/// Some items, so that credit runs out.
const WINDOW: u32 = 300;

/// What its peer takes.
const THEIR_MESSAGE_BYTES: usize = 48 << 10;
const THEIR_CALLS: u32 = 4;
const THEIR_DEPTH: u8 = 3;

/// The last digit of methods that are answered with the request's body.
const ECHO: u32 = 0;

/// Rounds in which two honest ends finish all that they have begun.
const ROUNDS: u32 = 1000;

#[derive(Arbitrary, Debug)]
struct Setup {
    geometry: u8,
    is_host: bool,
    may_lie: bool,
    tolerated: u8,
    hangs_up: bool,
    greeting: Greeting,
}

/// Runs a session against a peer, operation by operation, and ends it.
///
/// Whatever the peer does, nothing panics or waits, what the session keeps stays within its limits, what it publishes keeps
/// the rules, and when it has ended every call has an outcome and nothing is left of any. Until the peer lies, it is not
/// blamed, each call of either side is answered once, bodies come back as they went, and items arrive once and in their
/// order. A rule of streams that it breaks where both sides know the same is named.
pub fn session(data: &[u8]) {
    // An error says that the bytes are used up.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let setup = u.arbitrary::<Setup>()?;
    let geometry = geometry(setup.geometry);
    let config = config(setup.tolerated, geometry);
    if setup.is_host {
        let (handshake, peer) = offered(config);
        let lifecycle: Lifecycle<PeerA> =
            |session, body, options| Some(session.call_lifecycle(LIFECYCLE_METHODS[0], body, options));
        play(handshake, peer, setup, lifecycle, u);
    } else {
        // The first end is the host's.
        let (there, here) = Socket::pair().expect("the process may open a few descriptors");
        let nonce = NonZeroU64::MIN.get();
        let (segment, halves) = Segment::create(geometry, nonce, Prefault::Lazy).expect("the system gives memory");
        let offer = Offer::new(Backing::Sealed, nonce, geometry);
        there.send_offer(&offer, Some(&halves)).expect("the socket is open");
        let handshake = Handshake::<PeerB>::accept(here, config).expect("the offer is sound");
        play(handshake, Peer::new(FakePeer::new(segment, there), Side::A), setup, |_, _, _| None, u);
    }
    Ok(())
}

fn config(tolerated: u8, geometry: Geometry) -> Config {
    Config {
        geometry: geometry.config(),
        limits: Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            metadata_bytes_max: METADATA_BYTES_MAX,
            calls_max: CALLS_MAX,
            served_max: None,
            depth_max: DEPTH_MAX,
            inbound_bytes_max: INBOUND_BYTES_MAX,
            stream_window_bytes: WINDOW,
            outbound_bytes_max: OUTBOUND_BYTES_MAX,
        },
        timeouts: Timeouts { start: Duration::ZERO, liveness: Duration::from_micros(1), call: Duration::ZERO },
        wait: WaitStrategy::Park,
        faults: match tolerated % 8 {
            0 => FaultPolicy::End,
            count => FaultPolicy::Tolerate(count.into()),
        },
        ..Config::new("fuzz", "1")
    }
}

/// A small geometry, or one with room for several large bodies.
fn geometry(choice: u8) -> Geometry {
    if choice < 248 {
        return crate::geometry(choice);
    }
    let config = GeometryConfig { segment_bytes: 512 << 10, ring_capacity: 32, slot_bytes: 1024 };
    Geometry::new(config).expect("the geometry is within its bounds")
}

fn play<R: Role>(handshake: Handshake<R>, peer: Peer, setup: Setup, lifecycle: Lifecycle<R>, u: &mut Unstructured<'_>) {
    let mut theirs = Theirs::new(peer);
    theirs.greet(setup.greeting, setup.may_lie, setup.tolerated < 192);
    let desk = Arc::new(Desk::default());
    desk.note(theirs.peer.lied);
    let handler = Arc::clone(&desk);
    let session = match handshake.finish(move |call: IncomingCall| handler.handle(call)) {
        Ok(session) => session,
        Err(error) => {
            assert!(theirs.peer.lied, "an honest peer is refused: {error}");
            while theirs.take() {}
            return;
        }
    };
    let mut ours = Ours::new(session, desk, lifecycle);
    let slot_count = theirs.peer.geometry.slot_count();
    while !u.is_empty() {
        match u.arbitrary() {
            Ok(Op::Ours(op)) => ours.play(op),
            Ok(Op::Placed(op)) => ours.place(op),
            Ok(Op::Theirs(op)) => theirs.play(op),
            Ok(Op::Stream(StreamOp::Break { way, which })) => {
                if setup.may_lie {
                    break_rule(&mut ours, &mut theirs, way, which);
                }
            }
            Ok(Op::Stream(op)) => {
                if !theirs.closed {
                    theirs.stream(op);
                }
                ours.stream(op);
            }
            Ok(Op::Guess(guess)) if setup.may_lie => theirs.guess(guess),
            Ok(Op::Lie(lie)) if setup.may_lie => lie.tell(&mut theirs.peer),
            Ok(Op::Guess(_) | Op::Lie(_)) => {}
            Err(_) => break,
        }
        ours.desk.note(theirs.peer.lied);
        theirs.send_next();
        ours.check(slot_count);
    }
    if !theirs.peer.lied && !theirs.closed && !ours.closed {
        settle(&mut ours, &mut theirs);
    }
    close(ours, &mut theirs, setup.hangs_up);
    while theirs.take() {}
}

/// The peer breaks one rule of streams, which the session is to name.
fn break_rule<R: Role>(ours: &mut Ours<R>, theirs: &mut Theirs, way: u8, which: u8) {
    for _ in 0..ROUNDS {
        let mut moved = theirs.send_next();
        while theirs.send_next() {}
        ours.session.serve_for(Duration::ZERO);
        while theirs.take() {
            moved = true;
        }
        while theirs.peer.give_back(0) {
            moved = true;
        }
        if !moved {
            break;
        }
    }
    let over = ours.session.end().is_some() || theirs.closed || theirs.peer.lied || theirs.is_busy();
    let Some(rule) = (!over).then(|| theirs.break_rule(way, which)).flatten() else { return };
    theirs.peer.lied = true;
    ours.desk.note(true);
    let faults = ours.session.stats().faults;
    ours.session.serve_for(Duration::ZERO);
    match ours.session.end().as_deref() {
        Some(SessionEnd::Fault(fault)) => assert_eq!(fault.rule(), rule, "{fault}"),
        Some(end) => panic!("{rule} is broken, but {end}"),
        None => assert_eq!(ours.session.stats().faults, faults + 1, "{rule} is broken, and nothing is said of it"),
    }
}

/// Both ends finish what they have begun.
fn settle<R: Role>(ours: &mut Ours<R>, theirs: &mut Theirs) {
    ours.discard_drafts();
    for _ in 0..ROUNDS {
        while theirs.send_next() {}
        assert_eq!(ours.session.serve_for(Duration::ZERO), None, "an honest peer ends the session");
        ours.desk.answer_all();
        // Before the peer looks: what waited for room may go out here.
        ours.drain_streams();
        ours.poll_all();
        while theirs.take() {}
        while theirs.peer.give_back(0) {}
        theirs.answer(0, false, false, 1);
        ours.check(theirs.peer.geometry.slot_count());
        if theirs.is_settled() && !ours.has_futures() && ours.session.stats().outbound_bytes == 0 {
            break;
        }
    }
    assert!(theirs.is_settled(), "a call is not answered");
    ours.take_all();
    ours.assert_idle();
    theirs.peer.read_returns();
    assert_eq!(theirs.peer.runs_out(), 0, "a run is not returned");
    assert_eq!(ours.session.stats().slots_free, theirs.peer.geometry.slot_count());
}

/// The session ends, and with it everything.
fn close<R: Role>(mut ours: Ours<R>, theirs: &mut Theirs, hangs_up: bool) {
    if hangs_up {
        theirs.peer.fake.socket.shutdown();
        ours.session.peer_state();
    } else {
        ours.play(OurOp::Close { text: 0 });
    }
    assert!(ours.session.end().is_some(), "the session does not end");
    ours.check(theirs.peer.geometry.slot_count());
    ours.take_all();
    ours.desk.answer_all();
    ours.discard_drafts();
    ours.assert_idle();
    let Ours { session, .. } = ours;
    assert!(session.try_start(1, &[], &Default::default()).is_err());
    drop::<Session<R>>(session);
}
