//! Sessions that are replaced under load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rapace_session::{CallOptions, Caller, CallerSlot, IncomingCall, PeerA, PeerB, Session};

use super::{PATIENCE, pair, reason};

/// How often the sessions are replaced.
const RELOADS: u32 = 300;

/// Makes a call with this body, and gives the reply's.
type Way = fn(&Caller, &[u8]) -> Vec<u8>;
/// How often each call has run, by its number.
type Ran = Arc<Mutex<HashMap<u64, u32>>>;

fn start(ran: &Ran) -> (Session<PeerA>, Session<PeerB>) {
    let ran = Arc::clone(ran);
    let (host, plugin) = pair(move |call: IncomingCall| {
        let number = u64::from_le_bytes(call.body()[..8].try_into().unwrap());
        *ran.lock().unwrap().entry(number).or_default() += 1;
        let body = call.body().to_vec();
        call.reply(&body);
    });
    let serving = plugin.clone();
    thread::spawn(move || serving.serve());
    (host, plugin)
}

/// Makes calls, one after the other, until they are to end; each has to go well.
fn load(done: &AtomicBool, numbers: &AtomicU64, mut call: impl FnMut(&[u8]) -> Vec<u8>) {
    while !done.load(Ordering::SeqCst) {
        let number = numbers.fetch_add(1, Ordering::SeqCst);
        // Some are so large that they are sent from where they are written, and some go in pieces.
        let bytes = match number % 100 {
            1 => 100,
            2 => 40_000,
            3 => 2_000_000,
            _ => 8,
        };
        let mut body = vec![0; bytes];
        body[..8].copy_from_slice(&number.to_le_bytes());
        assert_eq!(call(&body), body, "call {number}");
    }
}

fn in_place(caller: &Caller, body: &[u8]) -> Vec<u8> {
    let options = CallOptions::new();
    caller.call_in_place(1, body.len(), |room| room.copy_from_slice(body), &options).unwrap().body.to_vec()
}

fn drafted(caller: &Caller, body: &[u8]) -> Vec<u8> {
    let options = CallOptions::new();
    let mut draft = caller.draft(&options);
    draft.extend(body);
    caller.call_draft(1, draft.finish(), &options).unwrap().body.to_vec()
}

fn blocking(caller: &Caller, body: &[u8]) -> Vec<u8> {
    caller.call_blocking(1, body, &CallOptions::new().deadline(PATIENCE)).unwrap().body.to_vec()
}

/// Replaces sessions while `callers` call, and sees that each call has run once.
fn reloads(instances: usize, peers_leave: bool, ways: &[Way], attend: impl Fn(&Session<PeerA>)) {
    let (ran, numbers, done) = (Ran::default(), AtomicU64::new(0), AtomicBool::new(false));
    let slot = CallerSlot::new("nobody is there");
    let begin = || {
        let (host, plugin) = start(&ran);
        attend(&host);
        (host, plugin)
    };
    let mut sessions: Vec<_> = (0..instances).map(|_| begin()).collect();
    let set = |sessions: &[(Session<PeerA>, Session<PeerB>)]| {
        slot.set_all(&sessions.iter().map(|(host, _)| host.clone()).collect::<Vec<_>>());
    };
    set(&sessions);
    thread::scope(|scope| {
        for way in ways {
            let (slot, numbers, done) = (slot.clone(), &numbers, &done);
            scope.spawn(move || load(done, numbers, |body| way(&slot.caller(), body)));
        }
        let _ends = Ends(&done);
        for round in 0..RELOADS {
            let (host, plugin) = sessions.remove(0);
            sessions.push(begin());
            set(&sessions);
            if !peers_leave || round % 2 == 0 {
                host.retire(&reason());
                assert!(host.drained(PATIENCE));
                host.go_away(&reason());
            } else {
                // Calls cross it, and are refused by the peer.
                plugin.go_away(&reason());
            }
            assert!(host.drained(PATIENCE));
            host.close(&reason());
        }
    });
    let (ran, count) = (ran.lock().unwrap(), numbers.into_inner());
    assert_eq!(ran.len() as u64, count);
    let twice: Vec<_> = ran.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(count > u64::from(RELOADS), "{count} calls");
}

/// The load ends, however the test does.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn no_call_is_lost_and_none_is_run_twice() {
    reloads(1, false, &[blocking, in_place, drafted], |_| {});
}

#[test]
fn no_call_is_lost_when_the_peers_go_away_themselves() {
    reloads(1, true, &[blocking, blocking], |_| {});
}

#[test]
fn no_call_is_lost_among_several_sessions() {
    reloads(3, false, &[blocking, in_place, drafted], |_| {});
}

#[cfg(feature = "tokio")]
mod tasks {
    use rapace_session::tokio::AsyncSession;
    use rapace_session::{PendingCall, Streams};
    use tokio::runtime::{Builder, Handle, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn attended(runtime: &Runtime) -> impl Fn(&Session<PeerA>) {
        |session| {
            let _entered = runtime.enter();
            drop(AsyncSession::new(session.clone()).unwrap());
        }
    }

    fn future(caller: &Caller, body: &[u8]) -> Vec<u8> {
        run(async { caller.call(1, body, &CallOptions::new()).await.unwrap().body.to_vec() })
    }

    fn started(caller: &Caller, body: &[u8]) -> Vec<u8> {
        run(async {
            let call: PendingCall = caller.start(1, body, &CallOptions::new()).await.unwrap();
            call.await.unwrap().body.to_vec()
        })
    }

    fn stream(caller: &Caller, body: &[u8]) -> Vec<u8> {
        let streams = Streams { sends: false, receives: true };
        run(async {
            let call = caller.open(1, body, streams, &CallOptions::new()).await.unwrap();
            std::future::poll_fn(|cx| call.poll_reply(cx)).await.unwrap().body.to_vec()
        })
    }

    /// On this thread, while a runtime of the test's attends to the sessions.
    fn run<F: Future>(future: F) -> F::Output {
        thread_local!(static HERE: Runtime = Builder::new_current_thread().build().unwrap());
        assert!(Handle::try_current().is_err());
        HERE.with(|here| here.block_on(future))
    }

    #[test]
    fn no_call_of_a_task_is_lost() {
        let runtime = runtime();
        reloads(2, false, &[future, started, stream], attended(&runtime));
    }

    #[test]
    fn no_call_of_a_task_is_lost_when_the_peers_go_away_themselves() {
        let runtime = runtime();
        reloads(1, true, &[future, future], attended(&runtime));
    }
}
