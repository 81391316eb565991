//! Futures of handlers and of threads that wait on a session: they are polled when they are woken, from wherever that is,
//! and take turns with calls.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{
    CallOptions, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, PeerState, Role, Session,
    Status, WaitStrategy,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn pair(wait: WaitStrategy, host: impl Handler, plugin: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config = move || Config { wait, ..Config::new("test", "1") };
    let accepting = thread::spawn(move || Handshake::<PeerB>::accept(b, config()).unwrap().finish(plugin).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config()).unwrap().finish(host).unwrap();
    (host, accepting.join().unwrap())
}

fn options() -> CallOptions {
    CallOptions::new().deadline(PATIENCE)
}

fn close<R: Role>(session: &Session<R>) {
    session.close(&Status::new(Code::Unavailable, "the test is over"));
}

/// Waits for a condition; says whether it came about.
fn comes_about(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// Something that happens outside of all sessions.
#[derive(Clone, Default)]
struct Event(Arc<Mutex<(bool, Option<Waker>)>>);

impl Event {
    async fn happened(&self) {
        poll_fn(|cx| {
            let (happened, waker) = &mut *self.0.lock().unwrap();
            *waker = Some(cx.waker().clone());
            if *happened { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn is_awaited(&self) -> bool {
        self.0.lock().unwrap().1.is_some()
    }

    fn happen(&self) {
        let waker = {
            let (happened, waker) = &mut *self.0.lock().unwrap();
            *happened = true;
            waker.take()
        };
        waker.unwrap().wake();
    }
}

#[test]
fn a_task_that_is_woken_from_elsewhere_wakes_the_thread_that_sleeps_on_the_socket() {
    for (wait, threads) in [(WaitStrategy::Park, 1), (WaitStrategy::Adaptive, 1), (WaitStrategy::Park, 3)] {
        let event = Event::default();
        let awaited = event.clone();
        let (host, plugin) = pair(wait, NoService, move |call: IncomingCall| {
            let event = awaited.clone();
            call.run_async(|call| async move {
                event.happened().await;
                call.reply(b"at last");
            });
        });
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| plugin.serve());
            }
            let call = host.start(1, b"", &options()).unwrap();
            let asleep = comes_about(|| plugin.stats().tasks == 1 && host.peer_state() == PeerState::Dormant);
            event.happen();
            let outcome = call.wait();
            close(&host);
            assert!(asleep);
            assert_eq!(*outcome.unwrap().body, *b"at last");
        });
    }
}

#[test]
fn a_task_that_begins_on_another_thread_wakes_the_thread_that_sleeps_on_the_socket() {
    let (give, given) = mpsc::channel();
    let (host, plugin) = pair(WaitStrategy::Park, NoService, move |call: IncomingCall| give.send(call).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let call = host.start(1, b"", &options()).unwrap();
        let incoming = given.recv_timeout(PATIENCE);
        let asleep = comes_about(|| host.peer_state() == PeerState::Dormant);
        if let Ok(incoming) = incoming {
            incoming.run_async(|call| async move {
                rest().await;
                call.reply(b"at last");
            });
        }
        let outcome = call.wait();
        close(&host);
        assert!(asleep);
        assert_eq!(*outcome.unwrap().body, *b"at last");
    });
}

#[test]
fn a_future_that_is_woken_from_elsewhere_wakes_its_thread() {
    // Alone, it sleeps on the socket; beside a thread that serves, it is parked.
    for serves in [false, true] {
        let (host, plugin) = pair(WaitStrategy::Park, NoService, NoService);
        let event = Event::default();
        thread::scope(|scope| {
            if serves {
                scope.spawn(|| host.serve());
                assert!(comes_about(|| host.stats().link.sleeps > 0 && plugin.peer_state() == PeerState::Dormant));
            }
            let before = host.stats().link.sleeps;
            let waiting = scope.spawn(|| host.block_on(event.happened()));
            let asleep = comes_about(|| event.is_awaited() && (serves || host.stats().link.sleeps > before));
            event.happen();
            let woken = comes_about(|| waiting.is_finished());
            close(&host);
            assert!(asleep && woken);
        });
    }
}

/// Lets others have their turn.
async fn rest() {
    let mut rested = false;
    poll_fn(|cx: &mut Context<'_>| {
        if std::mem::replace(&mut rested, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future that never waits on a host's only thread, until a call of the plugin has been answered.
#[track_caller]
fn check_turns(handler: impl Handler) {
    let (host, plugin) = pair(WaitStrategy::Adaptive, handler, NoService);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            let reply = plugin.call(1, b"", &options());
            done.store(true, Ordering::SeqCst);
            reply
        });
        host.block_on(async {
            let start = Instant::now();
            while !done.load(Ordering::SeqCst) && start.elapsed() < 2 * PATIENCE {
                rest().await;
            }
        });
        assert_eq!(*call.join().unwrap().unwrap().body, *b"served");
    });
}

#[test]
fn a_future_that_never_waits_does_not_keep_a_call_waiting() {
    check_turns(|call: IncomingCall| call.reply(b"served"));
}

#[test]
fn a_future_that_never_waits_does_not_keep_a_task_waiting() {
    check_turns(|call: IncomingCall| {
        call.run_async(|call| async move {
            for _ in 0..100 {
                rest().await;
            }
            call.reply(b"served");
        });
    });
}

#[test]
fn a_task_that_never_waits_does_not_keep_a_call_waiting() {
    let (host, plugin) = pair(WaitStrategy::Adaptive, NoService, |call: IncomingCall| {
        if call.body().is_empty() {
            return call.reply(b"served");
        }
        call.run_async(|call| async move {
            while !call.is_cancelled() {
                rest().await;
            }
        });
    });
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let busy = host.start(1, b"busy", &CallOptions::new()).unwrap();
        let asked = comes_about(|| plugin.stats().tasks == 1);
        let outcome = host.call(1, b"", &options());
        drop(busy);
        let over = comes_about(|| {
            host.serve_for(Duration::from_millis(1));
            host.stats().calls_in_flight == 0
        });
        close(&host);
        assert!(asked && over);
        assert_eq!(*outcome.unwrap().body, *b"served");
    });
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_session_is_a_cancel_for_handlers_in_tasks() {
    use rapace_session::tokio::AsyncSession;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    /// Says so when a handler is over, whether it has ended or was dropped.
    struct Over(UnboundedSender<&'static str>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.send("over").unwrap();
        }
    }
    let (tell, mut told) = unbounded_channel();
    let (host, plugin) = pair(WaitStrategy::Adaptive, NoService, move |call: IncomingCall| {
        let tell = tell.clone();
        call.run_async(|call| async move {
            let _over = Over(tell.clone());
            let mut items = call.items();
            // Each of them is woken for something else.
            let reads = async { assert!(poll_fn(|cx| items.poll_next(cx)).await.unwrap().is_err()) };
            if call.streams().sends {
                tell.send("begun").unwrap();
                reads.await;
            } else {
                tell.send("begun").unwrap();
                poll_fn(|cx| call.poll_cancelled(cx)).await;
            }
        });
    });
    let plugin = AsyncSession::new(plugin).unwrap();
    let streams = rapace_session::Streams { sends: true, receives: false };
    let first = host.start(1, b"", &options()).unwrap();
    let second = host.block_on(host.caller().open(1, b"", streams, &options())).unwrap();
    let mut next = async || tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    assert_eq!([next().await, next().await], ["begun"; 2]);
    // They are polled once in place, and then by tasks, before they wait.
    while plugin.session().peer_state() != PeerState::Dormant {
        tokio::task::yield_now().await;
    }
    close(&host);
    assert_eq!([next().await, next().await], ["over"; 2]);
    drop((first, second));
}
