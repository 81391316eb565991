//! Target `memory`: a host's session against memory that another thread writes to meanwhile.

mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use rapace_session::{CallOptions, IncomingCall, PeerA, WaitStrategy};

use self::writer::{Act, Writer};
use super::desk::Desk;
use super::ours::{Lifecycle, OurOp, Ours, PlacedOp};
use super::script::{Size, StreamOp};
use super::theirs::{Greeting, Theirs};
use super::{LIFECYCLE_METHODS, close, config, geometry, settle};
use crate::greeted::offered;

/// How long a call of the host waits.
const CALL_TIME: Duration = Duration::from_micros(300);
/// No wait of the host's comes near to this on the slowest machine.
const HANG: Duration = Duration::from_secs(8);
/// For so long another thread of the host serves at once.
const SERVED: Duration = Duration::from_micros(50);
const OURS_MAX: usize = 24;
const ACTS_MAX: usize = 64;

#[derive(Arbitrary, Debug)]
struct Setup {
    geometry: u8,
    /// Bit 0: whether the host looks before it sleeps. Bit 1: whether a second thread of it serves.
    wait: u8,
    tolerated: u8,
    streams: bool,
}

/// What the host does.
#[derive(Debug)]
enum Op {
    Ours(OurOp),
    Placed(PlacedOp),
    Stream(StreamOp),
    /// Calls and waits for the reply.
    Call(Size),
    /// Serves for some microseconds.
    Serve(u8),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.arbitrary::<u8>()? % 16 {
            0..=3 => Self::Ours(u.arbitrary()?),
            4..=6 => Self::Placed(u.arbitrary()?),
            7..=10 => Self::Stream(u.arbitrary()?),
            11..=13 => Self::Call(u.arbitrary()?),
            _ => Self::Serve(u.arbitrary()?),
        })
    }
}

/// Runs a host's session while another thread plays its peer, over and over, and writes to the peer's half: honest frames
/// first, then any words in places that matter and in those that do not.
///
/// No thread panics or waits beyond its time, what the session keeps stays within its limits, a body that was handed out
/// does not change any more, each call ends once, and nothing is left when the session has ended. As long as the peer keeps the
/// rules nobody is blamed, and all arrives as it was sent. Which words meet which loads is the scheduler's choice, so an
/// input that breaks something may have to run more than once.
pub fn memory(data: &[u8]) {
    // An error says that the bytes are used up.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let setup = u.arbitrary::<Setup>()?;
    let (mut ops, mut acts) = (Vec::new(), Vec::new());
    while !u.is_empty() {
        let acts_next = u.arbitrary::<bool>()?;
        match if acts_next { u.arbitrary().map(|act| acts.push(act)) } else { u.arbitrary().map(|op| ops.push(op)) } {
            Ok(()) => {}
            Err(_) => break,
        }
    }
    ops.truncate(OURS_MAX);
    acts.truncate(ACTS_MAX);
    play(&setup, ops, acts);
    Ok(())
}

fn play(setup: &Setup, ops: Vec<Op>, acts: Vec<Act>) {
    let mut config = config(setup.tolerated, geometry(setup.geometry));
    config.timeouts.call = CALL_TIME;
    if setup.wait & 1 != 0 {
        config.wait = WaitStrategy::Adaptive;
    }
    let (handshake, peer) = offered(config);
    let mut theirs = Theirs::new(peer);
    theirs.greet(Greeting::plain(), false, setup.streams);
    let desk = Arc::new(Desk::default());
    let handler = Arc::clone(&desk);
    let session = handshake.finish(move |call: IncomingCall| handler.handle(call)).expect("an honest peer is taken");
    let lifecycle: Lifecycle<PeerA> =
        |session, body, options| Some(session.call_lifecycle(LIFECYCLE_METHODS[0], body, options));
    let slot_count = theirs.peer.geometry.slot_count();
    let mut ours = Ours::new(session, Arc::clone(&desk), lifecycle);
    let stop = AtomicBool::new(false);
    let writer = Writer { theirs, desk, acts };
    let mut theirs = thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run(&stop));
        let other = (setup.wait & 2 != 0).then(|| {
            let (session, stop) = (ours.session.clone(), &stop);
            scope.spawn(move || while !stop.load(Ordering::Relaxed) && session.serve_for(SERVED).is_none() {})
        });
        let over = Over(&stop);
        for op in ops {
            let begun = Instant::now();
            act(&mut ours, op);
            ours.check(slot_count);
            assert!(begun.elapsed() < HANG, "the host waited for {:?}", begun.elapsed());
        }
        drop(over);
        // Here and not by the scope, which does not wait until what threads keep for themselves has gone.
        other.map(joined);
        joined(writer)
    });
    if !theirs.peer.lied && !theirs.closed && !ours.closed {
        settle(&mut ours, &mut theirs);
    }
    close(ours, &mut theirs, setup.tolerated.is_multiple_of(2));
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn act(ours: &mut Ours<PeerA>, op: Op) {
    match op {
        Op::Ours(op) => ours.play(op),
        Op::Placed(op) => ours.place(op),
        Op::Stream(op) => ours.stream(op),
        Op::Call(size) => {
            let body = crate::pattern(size.bytes());
            let outcome = ours.session.call(1, &body, &CallOptions::new());
            ours.judge(outcome, &body);
        }
        Op::Serve(time) => drop(ours.session.serve_for(Duration::from_micros(time.into()))),
    }
}

/// Stops the other thread, also when this one panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
