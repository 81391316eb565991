//! Callers by way of slots: a choice of sessions, sessions that are replaced, sessions that are still to come.

#![allow(clippy::unwrap_used)]

mod absence;
mod choice;
mod drain;
mod gate;
mod reload;

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, Session, Status};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of a session, without anybody who serves.
fn pair(handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config = Config::new("test", "1");
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(NoService).unwrap();
    (host, plugin.join().unwrap())
}

/// A session whose peer serves, on a thread of its own, until it ends.
fn served(handler: impl Handler) -> Session<PeerA> {
    let (host, plugin) = pair(handler);
    thread::spawn(move || plugin.serve());
    host
}

/// The same, which answers with its name.
fn named(name: &'static str) -> Session<PeerA> {
    served(move |call: IncomingCall| call.reply(name.as_bytes()))
}

fn reason() -> Status {
    Status::new(Code::Unavailable, "another one takes its place")
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "{what}: not yet");
        thread::yield_now();
    }
}

/// Calls that are kept with their handlers until they are let go.
#[derive(Clone, Default)]
struct Desk(Arc<(Mutex<Vec<IncomingCall>>, Condvar)>);

impl Desk {
    fn handler(&self) -> impl Handler {
        let desk = self.clone();
        move |call| {
            desk.0.0.lock().unwrap().push(call);
            desk.0.1.notify_all();
        }
    }

    fn held(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }

    /// Waits until so many are there.
    fn wait_for(&self, count: usize) {
        let held = self.0.0.lock().unwrap();
        let (held, late) = self.0.1.wait_timeout_while(held, PATIENCE, |held| held.len() < count).unwrap();
        assert!(!late.timed_out(), "{} of {count} calls", held.len());
    }

    fn answer_all(&self) {
        let held = std::mem::take(&mut *self.0.0.lock().unwrap());
        held.into_iter().for_each(|call| call.reply(b"held"));
    }
}
