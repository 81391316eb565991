//! Wakes the thread that drains the ring, for a reason of its own process: a task that is ready, room that was made, a
//! future that is to be polled again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::sync::{AtomicBool, Ordering};

/// Raised by anybody, heard by the one thread that leads. Raising it while that thread is awake is no system call.
#[derive(Debug)]
pub(crate) struct Alarm {
    raised: AtomicBool,
    asleep: AtomicBool,
    event: OwnedFd,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { raised: AtomicBool::new(false), asleep: AtomicBool::new(false), event })
    }

    /// The leader is to look again at what it waits for. What it will see must have been stored before.
    pub(crate) fn raise(&self) {
        // In one total order with the store and the load of `fall_asleep`: either the sleeper sees this, or it is seen
        // to sleep. It pairs with the swap of `clear`, too: who clears it sees what was stored before.
        if !self.raised.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            // It fails only when the counter is full, and then the sleeper is being woken.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Whether it was raised since it was cleared.
    pub(crate) fn is_raised(&self) -> bool {
        // A hint: whoever acts on it clears it first.
        self.raised.load(Ordering::Relaxed)
    }

    /// The leader is about to look at all that it waits for.
    pub(crate) fn clear(&self) {
        if self.is_raised() {
            // Pairs with the swap of `raise`.
            self.raised.swap(false, Ordering::SeqCst);
        }
    }

    /// The leader is about to sleep; says whether it may.
    pub(crate) fn fall_asleep(&self) -> bool {
        // See `raise`.
        self.asleep.store(true, Ordering::SeqCst);
        !self.raised.load(Ordering::SeqCst)
    }

    /// The leader is awake. `rung` says whether the event was seen.
    pub(crate) fn wake_up(&self, rung: bool) {
        // A late ring makes one later sleep short.
        self.asleep.store(false, Ordering::Relaxed);
        if rung {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
    }

    /// What to sleep on.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rapace_core::socket::Socket;
    use std::time::Duration;

    use super::*;

    fn rings(alarm: &Alarm, socket: &Socket) -> bool {
        socket.wait_or_alarm(None, Some(alarm.event()), Some(Duration::ZERO)).unwrap().alarm
    }

    #[test]
    fn only_a_sleeper_is_rung_and_only_once() {
        let (socket, _peer) = Socket::pair().unwrap();
        let alarm = Alarm::new().unwrap();
        alarm.raise();
        assert!(!rings(&alarm, &socket), "nobody sleeps");
        assert!(!alarm.fall_asleep(), "it was raised before");
        alarm.wake_up(false);
        alarm.clear();
        assert!(alarm.fall_asleep());
        alarm.raise();
        alarm.raise();
        assert!(rings(&alarm, &socket));
        alarm.wake_up(true);
        assert!(!rings(&alarm, &socket) && alarm.is_raised());
    }
}
