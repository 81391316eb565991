//! Every interleaving, and every order of stores that the memory model allows, of a thread that waits and those that wake it.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p rapace-session --release --test loom`
//!
//! What runs are the files themselves; the modules beside them stand for what they use.

#![cfg(loom)]
#![allow(missing_docs, clippy::unwrap_used, dead_code)]

#[path = "../src/parker.rs"]
mod parker;
#[path = "../src/wake_flag.rs"]
mod wake_flag;

/// Time does not pass.
mod clock {
    use std::time::Instant;

    pub(crate) fn now() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }
}

mod sync {
    use std::time::Duration;

    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use loom::thread::{Thread, current};

    /// loom's has no constants.
    macro_rules! local {
        (static $name:ident: $type:ty = const { $value:expr }) => {
            loom::thread_local!(static $name: $type = $value)
        };
    }
    pub(crate) use local as thread_local;

    /// Whoever is not woken stays here, whatever the time: so a wake-up that is lost is found.
    pub(crate) fn park(_patience: Option<Duration>, _woken: impl Fn() -> bool) {
        loom::thread::park();
    }
}

/// As much of a session as a flag needs.
mod shared {
    use super::sync::{AtomicBool, Ordering};

    pub(crate) struct Shared(Alarm);

    /// It wakes who sleeps on the socket, and nobody does here.
    pub(crate) struct Alarm(AtomicBool);

    impl Shared {
        pub(crate) fn new() -> Self {
            Self(Alarm(AtomicBool::new(false)))
        }

        pub(crate) fn alarm(&self) -> &Alarm {
            &self.0
        }
    }

    impl Alarm {
        pub(crate) fn raise(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use parker::Parker;
use shared::Shared;
use wake_flag::WakeFlag;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// So many stores that nothing else orders, a wake behind each. Nobody joins the threads: loom takes a late wake for the end
/// of a thread that is waited for.
fn stores_with_wakes(count: usize, waker: &Waker) -> Arc<AtomicUsize> {
    let stored = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let (stored, waker) = (Arc::clone(&stored), waker.clone());
        thread::spawn(move || {
            stored.fetch_add(1, Ordering::Relaxed);
            waker.wake();
        });
    }
    stored
}

/// Whoever parks until it sees what it waits for comes to its end.
#[test]
fn what_was_stored_before_a_wake_is_seen_behind_the_park() {
    check(|| {
        let parker = Parker::current();
        let stored = stores_with_wakes(2, parker.waker());
        while stored.load(Ordering::Relaxed) < 2 {
            parker.park(Duration::ZERO, None);
        }
    });
}

/// The same where a future is polled each time that its flag was set.
#[test]
fn what_was_stored_before_a_flag_was_set_is_seen_when_it_is_taken() {
    check(|| {
        let shared = Arc::new(Shared::new());
        let flag = WakeFlag::new(&shared);
        let parker = Parker::current();
        let stored = stores_with_wakes(2, &Waker::from(Arc::clone(&flag)));
        // It is set in the beginning.
        while !flag.take() || stored.load(Ordering::Relaxed) < 2 {
            while !flag.is_set() {
                parker.park(Duration::ZERO, None);
            }
        }
    });
}
