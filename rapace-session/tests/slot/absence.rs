//! Calls that find no session.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rapace_session::{Absence, CallError, CallOptions, CallerSlot, Code, Status, Streams};

use super::{PATIENCE, eventually, named, reason};

/// A slot whose next session is on its way for so long, and how often somebody has asked for it.
fn coming(within: Duration) -> (CallerSlot, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let slot = CallerSlot::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Absence::Coming { within }
    });
    (slot, asked)
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes a call and gives the body of its reply.
type Way = fn(&CallerSlot, &CallOptions) -> Result<Vec<u8>, CallError>;

/// The ways to make a call, of tasks and of threads.
fn ways() -> [(&'static str, Way); 5] {
    [
        ("blocking", |slot, options| Ok(slot.caller().call_blocking(1, b"", options)?.body.to_vec())),
        ("in place", |slot, options| Ok(slot.caller().call_in_place(1, 0, |_| {}, options)?.body.to_vec())),
        ("started", |slot, options| Ok(slot.caller().start_in_place(1, 0, |_| {}, options)?.wait()?.body.to_vec())),
        ("future", |slot, options| {
            let caller = slot.caller();
            Ok(caller.block_on(caller.call(1, b"", options))??.body.to_vec())
        }),
        ("stream", |slot, options| {
            let caller = slot.caller();
            let streams = Streams { sends: false, receives: true };
            let call = caller.block_on(caller.open(1, b"", streams, options))??;
            let reply = call.caller().block_on(std::future::poll_fn(|cx| call.poll_reply(cx)))??;
            Ok(reply.body.to_vec())
        }),
    ]
}

#[test]
fn calls_wait_for_a_session_that_is_on_its_way() {
    let (slot, asked) = coming(PATIENCE);
    thread::scope(|scope| {
        let calls = ways().map(|(way, call)| {
            (
                way,
                scope.spawn({
                    let slot = &slot;
                    move || call(slot, &CallOptions::new())
                }),
            )
        });
        eventually("somebody asks", || asked.load(Ordering::SeqCst) > 0);
        // A slot does not keep it.
        let session = named("next");
        slot.set(&session);
        for (way, call) in calls {
            let outcome = call.join().unwrap();
            assert_eq!(outcome.as_deref(), Ok(&b"next"[..]), "{way}");
        }
    });
}

#[test]
fn one_call_asks_for_all_that_wait() {
    let (slot, asked) = coming(PATIENCE);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (caller, options) = (slot.caller(), CallOptions::new());
    let mut calls: Vec<_> = (0..10).map(|_| Box::pin(caller.call(1, b"", &options))).collect();
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((asked.load(Ordering::SeqCst), wakes.0.load(Ordering::SeqCst)), (1, 0));
    // The session has come and gone: the next absence is another one.
    slot.set(&named("gone"));
    assert_eq!(wakes.0.load(Ordering::SeqCst), 10);
    eventually("the session is gone", || slot.session_count() == 0);
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn calls_hear_that_no_session_has_come() {
    let (slot, asked) = coming(PATIENCE);
    thread::scope(|scope| {
        let calls = ways().map(|(way, call)| {
            (
                way,
                scope.spawn({
                    let slot = &slot;
                    move || call(slot, &CallOptions::new())
                }),
            )
        });
        eventually("somebody asks", || asked.load(Ordering::SeqCst) > 0);
        let done = || calls.iter().all(|(_, call)| call.is_finished());
        // Some may begin to wait behind it.
        eventually("all hear it", || {
            slot.fail(&Status::new(Code::Unavailable, "it does not start"));
            done()
        });
        for (way, call) in calls {
            let error = call.join().unwrap().unwrap_err();
            assert!(!error.may_have_run() && error.to_string().contains("it does not start"), "{way}: {error}");
        }
    });
}

#[test]
fn a_call_waits_no_longer_than_its_deadline() {
    let (slot, _) = coming(PATIENCE);
    for (way, call) in ways() {
        let deadline = Duration::from_millis(20);
        let start = Instant::now();
        let error = call(&slot, &CallOptions::new().deadline(deadline)).unwrap_err();
        // It has waited from a little later on than the deadline is counted from.
        assert!(matches!(error, CallError::NoSession { .. }) && start.elapsed() >= deadline, "{way}: {error}");
        assert_eq!((error.code(), error.may_have_run()), (Code::DeadlineExceeded, false));
    }
}

#[test]
fn a_call_without_a_deadline_waits_as_long_as_a_start_may_take() {
    let within = Duration::from_millis(20);
    let (slot, asked) = coming(within);
    for (number, (way, call)) in (1..).zip(ways()) {
        let error = call(&slot, &CallOptions::new()).unwrap_err();
        assert!(matches!(error, CallError::NoSession { waited } if waited >= within), "{way}: {error}");
        // Nobody has said that it has failed, so each asks anew.
        assert!(asked.load(Ordering::SeqCst) >= number);
    }
}

#[test]
fn a_session_that_the_hook_brings_itself_is_there_at_once() {
    let (session, slot) = (named("mine"), Arc::new(std::sync::OnceLock::<CallerSlot>::new()));
    let hook = {
        let (slot, session) = (Arc::clone(&slot), session.clone());
        move || {
            slot.get().unwrap().set(&session);
            Absence::Refused(reason())
        }
    };
    let new = CallerSlot::new(hook);
    slot.set(new.clone()).unwrap();
    assert_eq!(*new.caller().call_blocking(1, b"", &CallOptions::new()).unwrap().body, *b"mine");
}

#[test]
fn who_is_refused_asks_again_the_next_time() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let slot = CallerSlot::new(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Absence::Refused(Status::new(Code::Unavailable, format!("stopped {number}")))
    });
    for number in 0..3 {
        let error = slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("stopped {number}")), "{error}");
    }
}

#[test]
fn a_hook_that_panics_leaves_nobody_waiting() {
    let slot = CallerSlot::new(|| -> Absence { std::panic::resume_unwind(Box::new(())) });
    for _ in 0..2 {
        let caller = slot.caller();
        let call = std::panic::AssertUnwindSafe(|| caller.call_blocking(1, b"", &CallOptions::new()));
        assert!(std::panic::catch_unwind(call).is_err());
    }
}

#[test]
fn a_wait_that_is_dropped_leaves_nothing_behind() {
    let (slot, _) = coming(PATIENCE);
    let wakes = Arc::new(Wakes::default());
    let (caller, options) = (slot.caller(), CallOptions::new().deadline(PATIENCE));
    {
        let waker = Waker::from(Arc::clone(&wakes));
        let mut call = pin!(caller.call(1, b"", &options));
        assert_eq!(call.as_mut().poll(&mut Context::from_waker(&waker)).map(drop), Poll::Pending);
        // Itself, this one, that of the timer, and that of the slot.
        assert_eq!(Arc::strong_count(&wakes), 4);
    }
    assert_eq!(Arc::strong_count(&wakes), 1);
    slot.fail(&reason());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
}

#[test]
fn an_idempotent_call_waits_for_the_restart_and_is_made_again() {
    let (slot, asked) = coming(PATIENCE);
    let desk = super::Desk::default();
    let (host, plugin) = super::pair(desk.handler());
    let serving = plugin.clone();
    thread::spawn(move || serving.serve());
    slot.set(&host);
    let restarted = named("restarted");
    thread::scope(|scope| {
        let options = [CallOptions::new().idempotent(), CallOptions::new()];
        let [again, once] = options.map(|options| {
            let slot = slot.clone();
            scope.spawn(move || slot.caller().call_blocking(1, b"", &options))
        });
        desk.wait_for(2);
        plugin.close(&reason());
        eventually("the call finds no session", || asked.load(Ordering::SeqCst) == 1);
        slot.set(&restarted);
        assert_eq!(*again.join().unwrap().unwrap().body, *b"restarted");
        assert!(once.join().unwrap().unwrap_err().may_have_run());
    });
}
