//! Handlers beside whoever sleeps on the ring: they owe nothing, however long they take (SPEC L1).

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;

use super::PeerState;
use crate::tokio::AsyncSession;
use crate::{CallOptions, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, Session};

const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not {what}");
        thread::yield_now();
    }
}

fn pair(handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let plugin = || Handshake::<PeerB>::accept(b, Config::new("test", "1")).unwrap().finish(handler).unwrap();
    thread::scope(|scope| {
        let plugin = scope.spawn(plugin);
        let host = Handshake::<PeerA>::offer(a, None, Config::new("test", "1")).unwrap().finish(NoService).unwrap();
        (host, plugin.join().unwrap())
    })
}

/// One thread sleeps on the ring of this session, and so many wait beside it.
#[track_caller]
fn wait_for_sleeper(session: &Session<PeerB>, followers: usize) {
    eventually("one sleeps, with the others beside it", || {
        let (state, alarm) = (session.shared().state(), session.shared().alarm());
        state.leading && state.link.is_armed() && !alarm.is_raised() && state.waiters.threads() == followers
    });
}

#[track_caller]
fn wait_until_dormant(host: &Session<PeerA>) {
    eventually("it owes nothing", || host.peer_state() == PeerState::Dormant);
}

#[test]
fn a_handler_that_is_polled_beside_a_sleeping_thread_leaves_no_debt() {
    let here: Arc<OnceLock<Session<PeerB>>> = Arc::default();
    let session = Arc::clone(&here);
    let (host, plugin) = pair(move |call: IncomingCall| {
        let (session, mut polls) = (Arc::clone(&session), 0);
        call.run_async(async move |call| {
            poll_fn(|cx| {
                polls += 1;
                let session = session.get().unwrap();
                if polls == 3 {
                    return Poll::Ready(());
                }
                if polls == 2 {
                    // It is a task by now, and this thread polls it again at once.
                    wait_for_sleeper(session, 0);
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            call.reply(b"");
        });
    });
    here.set(plugin.clone()).unwrap();
    thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| plugin.serve())));
        wait_for_sleeper(&plugin, 1);
        host.call(1, b"", &CallOptions::new()).unwrap();
        wait_until_dormant(&host);
        drop(host);
    });
}

#[test]
fn a_handler_on_a_thread_beside_a_task_that_sleeps_owes_nothing() {
    let (begin, began) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let (host, plugin) = pair(move |call: IncomingCall| {
        begin.send(thread::current().id()).unwrap();
        ended.lock().unwrap().recv().unwrap();
        call.reply(b"");
    });
    let runtime = ::tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let attended = runtime.block_on(async { AsyncSession::new(plugin.clone()) }).unwrap();
    eventually("the task has begun", || plugin.shared().state().attendant.is_some());
    thread::scope(|scope| {
        let end = end;
        let server = scope.spawn(|| plugin.serve());
        wait_for_sleeper(&plugin, 0);
        let call = host.start(1, b"", &CallOptions::new()).unwrap();
        assert_eq!(began.recv_timeout(PATIENCE).unwrap(), server.thread().id());
        wait_until_dormant(&host);
        end.send(()).unwrap();
        call.wait().unwrap();
        wait_until_dormant(&host);
        drop(host);
    });
    drop(attended);
}
