//! Which session a call goes to.

use std::task::{Context, Waker};

use rapace_session::{
    CallError, CallOptions, CallerSlot, Code, NoService, PeerA, PendingCall, Session, Status, Streams,
};

use super::{Desk, named, pair, reason, served};

fn in_flight<const N: usize>(sessions: [&Session<PeerA>; N]) -> [usize; N] {
    sessions.map(|session| session.stats().calls_in_flight)
}

fn start(slot: &CallerSlot) -> PendingCall {
    slot.caller().start_in_place(1, 0, |_| {}, &CallOptions::new()).unwrap()
}

#[test]
fn a_call_goes_where_the_fewest_are() {
    let desks = [Desk::default(), Desk::default()];
    let [a, b] = [served(desks[0].handler()), served(desks[1].handler())];
    let slot = CallerSlot::new("nobody is there");
    slot.set_all(&[a.clone(), b.clone()]);
    assert_eq!(slot.session_count(), 2);
    let calls: Vec<_> = (0..6).map(|_| start(&slot)).collect();
    assert_eq!(in_flight([&a, &b]), [3, 3]);
    desks[0].wait_for(3);
    desks[0].answer_all();
    let mut of_b = Vec::new();
    for (number, call) in calls.into_iter().enumerate() {
        // They have taken turns.
        if number % 2 == 0 {
            assert_eq!(*call.wait().unwrap().body, *b"held");
        } else {
            of_b.push(call);
        }
    }
    assert_eq!(in_flight([&a, &b]), [0, 3]);
    let _more: Vec<_> = (0..3).map(|_| start(&slot)).collect();
    assert_eq!(in_flight([&a, &b]), [3, 3]);
}

#[test]
fn sessions_with_as_many_calls_take_turns() {
    let slot = CallerSlot::new("nobody is there");
    let sessions = [named("a"), named("b"), named("c")];
    slot.set_all(&sessions);
    let mut counts = [0; 3];
    for _ in 0..30 {
        let body = slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap().body.to_vec();
        counts[usize::from(body[0] - b'a')] += 1;
    }
    assert_eq!(counts, [10; 3]);
}

#[test]
fn every_way_to_call_counts_and_counts_once() {
    let desks = [Desk::default(), Desk::default()];
    let [a, b] = [served(desks[0].handler()), served(desks[1].handler())];
    let slot = CallerSlot::new("nobody is there");
    slot.set_all(&[a.clone(), b.clone()]);
    let (caller, options) = (slot.caller(), CallOptions::new());
    let streams = Streams { sends: true, receives: true };
    let one = caller.block_on(caller.start(1, b"", &options)).unwrap().unwrap();
    let two = caller.block_on(caller.open(1, b"", streams, &options)).unwrap().unwrap();
    assert_eq!(in_flight([&a, &b]), [1, 1]);
    let mut three = Box::pin(caller.call(1, b"", &options));
    let mut four = Box::pin(caller.call(1, b"", &options));
    let mut context = Context::from_waker(Waker::noop());
    for call in [&mut three, &mut four] {
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(in_flight([&a, &b]), [2, 2]);
    // Nothing that was dropped counts any more: of ten that follow, each has five.
    drop((one, two, three, four));
    let before = in_flight([&a, &b]);
    let _calls: Vec<_> = (0..10).map(|_| start(&slot)).collect();
    let after = in_flight([&a, &b]);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [5, 5]);
}

#[test]
fn a_session_that_refuses_is_passed_over_and_forgotten() {
    let slot = CallerSlot::new("nobody is there");
    let [closed, retired, good] = [named("closed"), named("retired"), named("good")];
    slot.set_all(&[closed.clone(), retired.clone(), good.clone()]);
    closed.close(&reason());
    retired.retire(&reason());
    for _ in 0..6 {
        assert_eq!(*slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap().body, *b"good");
    }
    assert_eq!(slot.session_count(), 1);
    // Who calls the retired one itself is served.
    assert_eq!(*retired.call(1, b"", &CallOptions::new()).unwrap().body, *b"retired");
    slot.remove(&good);
    let error = slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error, CallError::Refused { reason: Status::new(Code::Unavailable, "nobody is there") });
    slot.add(&retired);
    slot.add(&good);
    slot.add(&good);
    assert_eq!(slot.session_count(), 2);
    assert_eq!(*slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap().body, *b"good");
    retired.reinstate();
    slot.set(&retired);
    assert_eq!(*slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap().body, *b"retired");
}

#[test]
fn a_call_tries_a_bounded_number_of_sessions() {
    let slot = CallerSlot::new("nobody is there");
    let sessions = [(); 20].map(|()| pair(NoService).0);
    sessions.iter().for_each(|session| session.retire(&reason()));
    slot.set_all(&sessions);
    let error = slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error, CallError::Refused { reason: reason() });
    assert_eq!(slot.session_count(), 4);
}

#[test]
fn a_call_whose_only_session_has_ended_says_so() {
    let slot = CallerSlot::new("nobody is there");
    let session = named("closed");
    slot.set(&session);
    session.close(&reason());
    let error = slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err();
    assert!(matches!(error, CallError::SessionEnded { sent: false, .. }) && !error.may_have_run(), "{error}");
    assert_eq!(error.to_string(), "the session was closed, so the call was not sent");
}
