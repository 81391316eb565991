//! What a call allocates, on either side, once whatever is kept for the next call is there. The figures are upper bounds, to
//! be lowered: the aim is none.
#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rapace_benches::ends::{Ends, Meter, NumbersClient};
use rapace_benches::kind::Kind;
use rapace_benches::typed::{TypedClient, built_in};
use rapace_session::{CallOptions, Observe, PeerA, Session};

/// Calls, or items: a multiple of those that are in flight at once.
const CALLS: u64 = 1024;

/// What a crowd of calls, or a stream, may allocate more: how far the rings were read when it began, and with that where it
/// finds no room, is not the same in every session.
const SLACK: u64 = CALLS / 64;

/// Allocations of a thread, by whose turn it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allocations {
    caller: u64,
    callee: u64,
}

impl Meter for Allocations {
    fn caller<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        let (result, count) = counted(turn);
        self.caller += count;
        result
    }

    fn callee<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        let (result, count) = counted(turn);
        self.callee += count;
        result
    }
}

/// What this thread allocates meanwhile.
fn counted<T>(turn: impl FnOnce() -> T) -> (T, u64) {
    let mut result = None;
    let count = allocation_counter::measure(|| result = Some(turn())).count_total;
    (result.unwrap(), count)
}

/// So many calls more than a few allocate so much more, at most: to begin, and to end, is not counted.
#[track_caller]
fn check_more(what: &str, allocations: impl Fn(u64) -> Allocations, most: Allocations) {
    let (few, many) = (allocations(CALLS), allocations(2 * CALLS));
    let found =
        Allocations { caller: many.caller.saturating_sub(few.caller), callee: many.callee.saturating_sub(few.callee) };
    let fewer = found.caller <= most.caller && found.callee <= most.callee;
    assert!(fewer, "{CALLS} of {what} allocate: found {found:?}, expected at most {most:?}");
}

/// The same for a kind whose sides take turns.
#[track_caller]
fn check(kind: Kind, caller: u64, callee: u64) {
    let allocations = |calls| {
        let ends = kind.ends().unwrap();
        let mut found = Allocations::default();
        kind.run(&ends, CALLS, &mut Allocations::default()).unwrap();
        kind.run(&ends, calls, &mut found).unwrap();
        found
    };
    check_more(kind.name(), allocations, Allocations { caller, callee });
}

/// The same for calls that block, with the callee in a thread of its own.
#[track_caller]
fn check_blocking(what: &str, ends: fn() -> Ends, call: fn(&Session<PeerA>, u64), caller: u64, callee: u64) {
    let allocations = |calls| {
        let ends = ends();
        // The callee's thread ends with the caller's session.
        let (session, served) = (ends.caller, ends.callee);
        let callee = std::thread::spawn(move || counted(|| served.serve()).1);
        call(&session, CALLS);
        let ((), caller) = counted(|| call(&session, calls));
        drop(session);
        Allocations { caller, callee: callee.join().unwrap() }
    };
    check_more(what, allocations, Allocations { caller, callee });
}

#[test]
fn a_raw_inline_call_allocates_nothing() {
    check(Kind::Raw8, 0, 0);
    check(Kind::RawFlight, 0, 0);
    let calls = |session: &Session<PeerA>, calls| {
        for _ in 0..calls {
            assert!(session.call(1, &[7; 8], &CallOptions::new()).unwrap().body == [7; 8][..]);
        }
    };
    check_blocking("raw calls that block", || Ends::raw([Observe::Calls; 2]).unwrap(), calls, 0, 0);
}

#[test]
fn a_raw_call_beyond_the_descriptor_allocates_nothing() {
    check(Kind::Raw1024, 0, 0);
}

#[test]
fn a_typed_call_that_blocks_allocates_nothing() {
    let calls = |session: &Session<PeerA>, calls| {
        let client = NumbersClient::new(session).blocking();
        for number in 0..calls {
            assert_eq!(client.next(number).unwrap(), number + 1);
        }
    };
    check_blocking("typed calls that block", || Ends::typed([Observe::Calls; 2]).unwrap(), calls, 0, 0);
}

#[test]
fn a_typed_call_of_a_task_allocates_nothing() {
    check(Kind::Typed8, 0, 0);
    check(Kind::TypedFlight, SLACK, SLACK);
}

#[test]
fn a_direct_call_allocates_nothing_but_the_future_of_one_that_is_awaited() {
    let plugin = built_in().unwrap();
    let client = TypedClient::new(&plugin);
    let blocking = client.blocking();
    let calls = || {
        for number in 0..CALLS {
            assert_eq!(blocking.next(number).unwrap(), number + 1);
            assert_eq!(blocking.depth().unwrap(), 1);
        }
    };
    assert_eq!(counted(calls).1, 0);
    let awaited = || {
        for number in 0..CALLS {
            let mut next = pin!(client.next(number));
            let next = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(next == Poll::Ready(Ok(number + 1)));
        }
    };
    assert_eq!(counted(awaited).1, CALLS);
}

#[test]
fn an_item_allocates_next_to_nothing() {
    // Lists of what was granted, once in a while.
    check(Kind::ItemIn, SLACK, CALLS / 32 + SLACK);
    check(Kind::ItemOut, CALLS / 32 + SLACK, CALLS / 32 + SLACK);
}
