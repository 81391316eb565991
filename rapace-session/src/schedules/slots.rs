//! Models of calls by way of slots: they wait for sessions, and sessions are replaced under them.

use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use super::{explore, pair};
use crate::config::WaitStrategy;
use crate::drain::{Which, drained};
use crate::error::CallError;
use crate::handler::{IncomingCall, NoService};
use crate::patience::Patience;
use crate::session::CallOptions;
use crate::shared::{Purpose, Shared};
use crate::slot::{Absence, CallerSlot};
use crate::status::{Code, Status};

fn reason() -> Status {
    Status::new(Code::Unavailable, "there is none")
}

/// A session whose peer counts the calls that it answers.
fn counting(ran: &Arc<AtomicUsize>) -> (Arc<Shared>, thread::JoinHandle<()>) {
    let ran = Arc::clone(ran);
    let answer = move |call: IncomingCall| {
        ran.fetch_add(1, Ordering::SeqCst);
        call.reply(b"");
    };
    let (a, b) = pair(WaitStrategy::Park, 4, NoService, answer);
    let server = thread::spawn(move || {
        b.wait(Purpose::Serve, &mut Patience::endless(), |state| state.machine.end().map(|_| ()));
    });
    (a, server)
}

/// A slot whose sessions are always on their way, and how often somebody has asked for one.
fn coming() -> (CallerSlot, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let hook = move || {
        count.fetch_add(1, Ordering::SeqCst);
        // No time is that long.
        Absence::Coming { within: Duration::MAX }
    };
    (CallerSlot::new(hook), asked)
}

/// Those that wait are woken by a session, and by the word that there is none, whoever asks and whenever it comes.
#[test]
fn whoever_waits_for_a_session_hears_of_it() {
    for fails in [false, true] {
        explore(move || {
            let (ran, (slot, asked)) = (Arc::new(AtomicUsize::new(0)), coming());
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let slot = slot.clone();
                    thread::spawn(move || match slot.caller().call_blocking(1, b"", &CallOptions::new()) {
                        Ok(_) => true,
                        Err(CallError::Refused { reason: found }) if fails && found == reason() => false,
                        Err(error) => panic!("{error}"),
                    })
                })
                .collect();
            if fails {
                slot.fail(&reason());
            }
            let (session, server) = counting(&ran);
            slot.put(&[&session]);
            let replies: usize = callers.into_iter().map(|caller| usize::from(caller.join().unwrap())).sum();
            assert_eq!(ran.load(Ordering::SeqCst), replies);
            assert!(asked.load(Ordering::SeqCst) <= 1 + usize::from(fails), "one absence is told once");
            session.close(&reason());
            server.join().unwrap();
        });
    }
}

/// A session is replaced, retired, drained and closed amid calls: each is run, once, by the one or the other.
#[test]
fn a_call_is_run_once_whichever_session_takes_it() {
    explore(|| {
        let (ran, slot) = (Arc::new(AtomicUsize::new(0)), CallerSlot::new("nobody is there"));
        let ((old, old_server), (new, new_server)) = (counting(&ran), counting(&ran));
        slot.put(&[&old]);
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let slot = slot.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        slot.caller().call_blocking(1, b"", &CallOptions::new()).expect("a reply");
                    }
                })
            })
            .collect();
        slot.put(&[&new]);
        old.retire(&reason());
        assert!(old.block_on(drained(Arc::clone(&old), Which::All, None)));
        old.close(&reason());
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(ran.load(Ordering::SeqCst), 4);
        new.close(&reason());
        [old_server, new_server].into_iter().for_each(|server| server.join().unwrap());
    });
}

/// A session is retired and reinstated amid calls, as where another one is to take its place and does not: it is there again
/// for the next call, however late a call hears that it was refused.
#[test]
fn a_session_that_is_reinstated_stays_in_its_slot() {
    explore(|| {
        let (ran, (slot, _)) = (Arc::new(AtomicUsize::new(0)), coming());
        let (session, server) = counting(&ran);
        slot.put(&[&session]);
        let calling = slot.clone();
        let caller = thread::spawn(move || {
            calling.caller().call_blocking(1, b"", &CallOptions::new()).expect("a reply");
        });
        slot.put(&[]);
        session.retire(&reason());
        session.state().machine.reinstate();
        slot.put(&[&session]);
        caller.join().unwrap();
        assert_eq!((slot.session_count(), ran.load(Ordering::SeqCst)), (1, 1));
        session.close(&reason());
        server.join().unwrap();
    });
}
