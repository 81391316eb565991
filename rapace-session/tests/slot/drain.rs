//! Waiting until a session has nothing in flight.

use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use rapace_session::{CallOptions, Streams};

use super::{Desk, PATIENCE, named, pair, reason, served};

const BOTH: Streams = Streams { sends: true, receives: true };

#[test]
fn a_session_without_calls_is_drained() {
    let session = named("idle");
    assert!(session.drained(Duration::ZERO));
    session.close(&reason());
    assert!(session.drained(Duration::ZERO));
}

#[test]
fn a_session_is_drained_when_its_last_call_has_ended() {
    let desk = Desk::default();
    let session = served(desk.handler());
    let call = session.start(1, b"", &CallOptions::new()).unwrap();
    let stream = session.block_on(session.caller().open(1, b"", BOTH, &CallOptions::new())).unwrap();
    desk.wait_for(2);
    assert!(!session.drained(Duration::from_millis(5)));
    thread::scope(|scope| {
        let drained = scope.spawn(|| session.drained(PATIENCE));
        desk.answer_all();
        assert!(drained.join().unwrap());
    });
    // What has come is still there to be taken.
    assert_eq!(*call.wait().unwrap().body, *b"held");
    drop(stream);
}

#[test]
fn calls_of_the_peer_count_until_they_are_answered() {
    let desk = Desk::default();
    let (a, b) = pair(desk.handler());
    let call = a.start(1, b"", &CallOptions::new()).unwrap();
    b.serve_for(Duration::ZERO);
    assert_eq!(desk.held(), 1);
    assert!(!b.drained(Duration::ZERO));
    // There is none of its own.
    assert!(b.calls_ended(Duration::ZERO) && !a.calls_ended(Duration::ZERO));
    thread::scope(|scope| {
        // It sleeps, and the answer is another thread's.
        let drained = scope.spawn(|| b.drained(PATIENCE));
        desk.answer_all();
        assert!(drained.join().unwrap());
    });
    assert_eq!(*call.wait().unwrap().body, *b"held");
}

#[test]
fn a_task_is_woken_when_a_session_is_drained() {
    struct Tell(mpsc::Sender<()>);
    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }
    let desk = Desk::default();
    let session = served(desk.handler());
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(Tell(tell)));
    let mut drained = pin!(session.until_drained());
    thread::scope(|scope| {
        let call = session.start(1, b"", &CallOptions::new()).unwrap();
        assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        desk.wait_for(1);
        scope.spawn(|| call.wait().unwrap());
        desk.answer_all();
        told.recv_timeout(PATIENCE).expect("the task is woken");
        while drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            told.recv_timeout(PATIENCE).expect("the task is woken again");
        }
    });
}

#[test]
fn the_end_of_a_session_drains_it() {
    let desk = Desk::default();
    let session = served(desk.handler());
    let _call = session.start(1, b"", &CallOptions::new()).unwrap();
    desk.wait_for(1);
    thread::scope(|scope| {
        let drained = scope.spawn(|| session.drained(PATIENCE));
        session.close(&reason());
        assert!(drained.join().unwrap());
    });
}
