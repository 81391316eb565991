//! The models.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;

use super::{explore, explore_looks, pair};
use crate::calls::Reply;
use crate::config::WaitStrategy;
use crate::error::{CallError, SessionEnd};
use crate::handler::{IncomingCall, NoService};
use crate::patience::Patience;
use crate::session::CallOptions;
use crate::shared::{Purpose, Shared, request};
use crate::status::{Code, Status};

const ECHO: u32 = 1;
/// Its handler calls back before it answers.
const NESTED: u32 = 2;

fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    if call.method() == NESTED {
        let options = CallOptions::new();
        let inner = call.shared().call(request(ECHO, &body, &options), &options).expect("the inner call");
        assert_eq!(&*inner.body, &body[..]);
    }
    call.reply(&body);
}

fn call(shared: &Arc<Shared>, method: u32, body: &[u8]) -> Result<Reply, CallError> {
    let options = CallOptions::new();
    shared.call(request(method, body, &options), &options)
}

fn echoes(shared: &Arc<Shared>, method: u32, body: &[u8]) {
    let reply = call(shared, method, body).expect("a reply");
    assert_eq!(&*reply.body, body);
}

/// A thread that serves until its session ends.
fn serve(shared: Arc<Shared>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        shared.wait(Purpose::Serve, &mut Patience::endless(), |state| state.machine.end().map(|_| ()));
    })
}

fn close(shared: &Shared) {
    shared.close(&Status::new(Code::Unavailable, "the model is over"));
}

/// Nothing is left of any call.
fn is_idle(shared: &Shared) {
    let state = shared.state();
    assert_eq!((state.machine.in_flight(), state.machine.bytes()), ((0, 0), (0, 0)));
    assert!(!state.leading && state.running == 0, "somebody leads who waits for nothing");
}

/// One drains the ring for all; whoever has its reply hands the ring over.
#[test]
fn every_caller_gets_its_reply_whoever_drains_the_ring() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 4, NoService, echo);
        let server = serve(b);
        let callers: Vec<_> = (0u8..3)
            .map(|number| {
                let a = Arc::clone(&a);
                thread::spawn(move || (0..2).for_each(|round| echoes(&a, ECHO, &[number, round])))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}

/// Who looks keeps the lock, and lets it go for whoever wants it.
#[test]
fn every_caller_gets_its_reply_while_another_looks() {
    explore_looks(|| {
        let (a, b) = pair(WaitStrategy::Spin, 4, NoService, echo);
        let server = serve(b);
        let callers: Vec<_> = (0u8..2)
            .map(|number| {
                let a = Arc::clone(&a);
                thread::spawn(move || (0..2).for_each(|round| echoes(&a, ECHO, &[number, round])))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}

/// A thread that only serves may lead for ever: it wakes whoever has a reply.
#[test]
fn every_caller_gets_its_reply_from_a_leader_that_stays() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 4, echo, echo);
        let servers = [serve(Arc::clone(&a)), serve(b)];
        let callers: Vec<_> = (0u8..2)
            .map(|number| {
                let a = Arc::clone(&a);
                thread::spawn(move || echoes(&a, ECHO, &[number]))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        close(&a);
        servers.into_iter().for_each(|server| server.join().unwrap());
        is_idle(&a);
    });
}

/// A leader that goes to run a handler leaves the ring to the next, who may be what the handler waits for.
#[test]
fn a_handler_that_blocks_holds_up_no_other_call() {
    explore(|| {
        let (done, other) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let patient = {
            let (done, other) = (Arc::clone(&done), Arc::clone(&other));
            move |call: IncomingCall| {
                // On that very thread it would wait for itself.
                let waits = *other.lock().unwrap() != Some(thread::current().id());
                while waits && !done.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                echo(call);
            }
        };
        let (a, b) = pair(WaitStrategy::Park, 4, patient, echo);
        // One of them waits for that handler, and the other one serves meanwhile.
        let servers = [serve(Arc::clone(&b)), serve(b)];
        let caller = {
            let a = Arc::clone(&a);
            thread::spawn(move || echoes(&a, NESTED, b"nested"))
        };
        let other = {
            let a = Arc::clone(&a);
            thread::spawn(move || {
                *other.lock().unwrap() = Some(thread::current().id());
                echoes(&a, ECHO, b"other");
                done.store(true, Ordering::SeqCst);
            })
        };
        caller.join().unwrap();
        other.join().unwrap();
        is_idle(&a);
        close(&a);
        servers.into_iter().for_each(|server| server.join().unwrap());
    });
}

/// Two that wait for each other's room: the peer takes one call at a time.
#[test]
fn every_caller_finds_room_in_the_end() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 1, NoService, echo);
        let server = serve(b);
        let callers: Vec<_> = (0u8..3)
            .map(|number| {
                let a = Arc::clone(&a);
                thread::spawn(move || echoes(&a, ECHO, &[number; 200]))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}

/// Those that wait for room hear of it though nobody hands the ring to them.
#[test]
fn every_caller_finds_room_beside_a_leader_that_stays() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 1, echo, echo);
        let servers = [serve(Arc::clone(&a)), serve(b)];
        let callers: Vec<_> = (0u8..3)
            .map(|number| {
                let a = Arc::clone(&a);
                thread::spawn(move || echoes(&a, ECHO, &[number]))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        close(&a);
        servers.into_iter().for_each(|server| server.join().unwrap());
        is_idle(&a);
    });
}

/// A thread that waits serves the calls that its own needs, whoever of them leads.
#[test]
fn nested_calls_end_whoever_serves_them() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 4, echo, echo);
        let server = serve(b);
        let callers: Vec<_> = (0u8..2)
            .map(|number| {
                let a = Arc::clone(&a);
                thread::spawn(move || echoes(&a, NESTED, &[number]))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}

/// A cancel crosses the reply, or comes before the handler, or within it.
#[test]
fn a_cancel_meets_the_reply_and_nobody_else_hears_of_it() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 2, NoService, echo);
        let server = serve(b);
        let canceller = {
            let a = Arc::clone(&a);
            thread::spawn(move || {
                let options = CallOptions::new();
                let pending = a.start(request(ECHO, b"unwanted", &options), a.patience(&options)).expect("room");
                drop(pending);
            })
        };
        let caller = {
            let a = Arc::clone(&a);
            thread::spawn(move || echoes(&a, ECHO, b"wanted"))
        };
        canceller.join().unwrap();
        caller.join().unwrap();
        // Behind it, whatever was cancelled has its final.
        echoes(&a, ECHO, b"last");
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}

/// The peer dies behind its first reply, or closes: replies, cancels and the end meet in any order.
#[test]
fn every_call_ends_once_when_the_peer_dies() {
    for closes in [false, true] {
        explore(move || {
            let (a, b) = pair(WaitStrategy::Park, 4, NoService, echo);
            let server = thread::spawn(move || {
                let mut served = false;
                b.wait(Purpose::Serve, &mut Patience::endless(), |state| {
                    let was = std::mem::replace(&mut served, true);
                    (was || state.machine.end().is_some()).then_some(())
                });
                if closes {
                    close(&b);
                }
            });
            let callers: Vec<_> = (0u8..2)
                .map(|number| {
                    let a = Arc::clone(&a);
                    thread::spawn(move || match call(&a, ECHO, &[number]) {
                        Ok(reply) => assert_eq!(&*reply.body, &[number]),
                        Err(CallError::SessionEnded { end, .. }) => {
                            let known = matches!(*end, SessionEnd::PeerGone(None) | SessionEnd::PeerClosed(_));
                            assert!(known, "{end}");
                        }
                        Err(error) => panic!("{error}"),
                    })
                })
                .collect();
            let canceller = {
                let a = Arc::clone(&a);
                thread::spawn(move || {
                    let options = CallOptions::new();
                    drop(a.start(request(ECHO, b"unwanted", &options), a.patience(&options)));
                })
            };
            server.join().unwrap();
            canceller.join().unwrap();
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
    }
}

/// A future that another thread of this process wakes, on a thread that drains the ring or follows one that does.
#[test]
fn a_future_is_polled_again_whoever_drains_the_ring() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 4, NoService, echo);
        let server = serve(b);
        let (ready, waker) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Waker>)));
        let runner = {
            let (a, ready, waker) = (Arc::clone(&a), Arc::clone(&ready), Arc::clone(&waker));
            thread::spawn(move || {
                a.block_on(poll_fn(|cx| {
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    if ready.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
                }));
            })
        };
        let caller = {
            let a = Arc::clone(&a);
            thread::spawn(move || echoes(&a, ECHO, b"beside"))
        };
        ready.store(true, Ordering::SeqCst);
        let waker = waker.lock().unwrap().take();
        waker.into_iter().for_each(Waker::wake);
        runner.join().unwrap();
        caller.join().unwrap();
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}

/// A task's call and a thread's: the thread hands the ring to whoever polls, and the other way round.
#[test]
fn tasks_and_threads_get_their_replies() {
    explore(|| {
        let (a, b) = pair(WaitStrategy::Park, 4, NoService, echo);
        let server = serve(b);
        let task = {
            let a = Arc::clone(&a);
            thread::spawn(move || {
                let options = CallOptions::new();
                let one = a.start(request(ECHO, b"one", &options), a.patience(&options)).unwrap();
                let two = a.start(request(ECHO, b"two", &options), a.patience(&options)).unwrap();
                let (mut one, mut two) = (pin!(one), pin!(two));
                // The second first: what wakes for the one is not what the other waits for.
                let reply = a.block_on(two.as_mut()).unwrap();
                assert_eq!(&*reply.body, b"two");
                let reply = a.block_on(one.as_mut()).unwrap();
                assert_eq!(&*reply.body, b"one");
            })
        };
        let caller = {
            let a = Arc::clone(&a);
            thread::spawn(move || echoes(&a, ECHO, b"three"))
        };
        task.join().unwrap();
        caller.join().unwrap();
        is_idle(&a);
        close(&a);
        server.join().unwrap();
    });
}
