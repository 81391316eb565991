//! Calls of all kinds, made until the session ends, and a ledger of what became of each.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rapace_session::{CallError, CallOptions, PeerA, Role, Session};

use crate::cancel::Point;
use crate::join;
use crate::method;
use crate::pattern::{pattern, word, words};
use crate::stream::{Load, check};

/// Payload bytes: in the descriptor, in slots, and in pieces where the segment is small.
const BYTES: [usize; 3] = [8, 2000, 20_000];
/// Items of a stream, and bytes of each.
const ITEMS: (u64, usize) = (6, 700);
/// So deep do calls go back and forth.
const DEPTH: u64 = 3;

/// What became of some calls.
#[derive(Debug, Default)]
pub struct Ledger {
    begun: AtomicU64,
    good: AtomicU64,
    ended: AtomicU64,
    given_up: AtomicU64,
    ends: Mutex<BTreeSet<String>>,
    wrong: Mutex<Vec<String>>,
}

impl Ledger {
    /// Notes a call: that it begins, and what becomes of it.
    pub fn note<T>(&self, call: impl FnOnce() -> Result<T, CallError>) -> Option<T> {
        self.begin();
        self.end(call())
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn end<T>(&self, outcome: Result<T, CallError>) -> Option<T> {
        match &outcome {
            Ok(_) => drop(self.good.fetch_add(1, Ordering::SeqCst)),
            Err(CallError::SessionEnded { end, .. }) => {
                self.ended.fetch_add(1, Ordering::SeqCst);
                self.ends.lock().insert(end.to_string());
            }
            Err(error) => self.wrong.lock().push(error.to_string()),
        }
        outcome.ok()
    }

    /// Calls that were begun.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Calls that were answered.
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::SeqCst)
    }

    /// Calls that have come to an end, whichever.
    pub fn done(&self) -> u64 {
        let counts = [&self.good, &self.ended, &self.given_up];
        counts.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>() + self.wrong.lock().len() as u64
    }

    /// What the sessions of those calls said that had not come to a good end.
    pub fn ends(&self) -> BTreeSet<String> {
        self.ends.lock().clone()
    }

    /// Errors that are nobody's death.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().clone()
    }
}

/// Makes so many rounds of calls of all kinds, or as many as there is a session for.
pub fn exercise<R: Role>(session: &Session<R>, ledger: &Ledger, rounds: u64) {
    for round in 0..rounds {
        if session.end().is_some() {
            return;
        }
        for (index, bytes) in (0..).zip(BYTES) {
            ledger.note(|| echo(session, &pattern(bytes, round << 8 | index)));
        }
        ledger.note(|| nest(session, round));
        streams(session, ledger, round);
        give_up(session, ledger);
    }
}

/// Has the plugin do the same.
pub fn have_exercised(session: &Session<PeerA>, ledger: &Ledger, rounds: u64) {
    let patient = CallOptions::new().deadline(Duration::MAX);
    ledger.note(|| session.call(method::EXERCISE, &words(&[rounds]), &patient));
}

fn echo<R: Role>(session: &Session<R>, body: &[u8]) -> Result<(), CallError> {
    let reply = session.call(method::ECHO, body, &CallOptions::new())?;
    check(*reply.body == *body, || "the reply is not the request".to_owned())
}

fn nest<R: Role>(session: &Session<R>, seed: u64) -> Result<(), CallError> {
    let rest = pattern(100, seed);
    let reply = session.call(method::NEST, &[&words(&[DEPTH])[..], &rest].concat(), &CallOptions::new())?;
    let came_back = word(&reply.body, 0) == DEPTH && reply.body.get(8..) == Some(&rest[..]);
    check(came_back, || "the nested reply is another".to_owned())
}

fn streams<R: Role>(session: &Session<R>, ledger: &Ledger, seed: u64) {
    let (count, bytes) = ITEMS;
    let loads = Load::mixed(4, count, bytes).into_iter();
    let jobs = loads.map(|load| Load { seed: load.seed ^ seed, ..load }.job(session.caller())).collect::<Vec<_>>();
    jobs.iter().for_each(|_| ledger.begin());
    for outcome in session.block_on(join::all(jobs)) {
        ledger.end(outcome);
    }
}

fn give_up<R: Role>(session: &Session<R>, ledger: &Ledger) {
    ledger.begin();
    let outcome = session.block_on(Point::Unbegun.cancel(&session.caller(), || session.stats()));
    match outcome {
        Ok(_) => drop(ledger.given_up.fetch_add(1, Ordering::SeqCst)),
        Err(error) => drop(ledger.end::<()>(Err(error))),
    }
}
