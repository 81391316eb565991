//! The threads and tasks that wait while another one drains the ring.

use std::task::Waker;
use std::time::Instant;

/// One that waits.
#[derive(Debug)]
struct Waiter {
    id: u64,
    waker: Waker,
    /// The depth of the handler that it runs, if it may run the handlers of deeper calls.
    serves_below: Option<u8>,
    wants_room: bool,
    /// Whether it waits until no call is in flight.
    drains: bool,
    /// Whether it can take over the ring.
    leads: bool,
    /// When it is to be woken at the latest.
    until: Option<Instant>,
    woken: bool,
}

/// What a waiter is there for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// The depth of the handler that it runs, if it may run the handlers of deeper calls.
    pub(crate) serves_below: Option<u8>,
    /// Whether it waits for room to send.
    pub(crate) wants_room: bool,
    /// Whether it waits until no call is in flight.
    pub(crate) drains: bool,
    /// Whether it can take over the ring.
    pub(crate) leads: bool,
    /// When it is to be woken at the latest, if it does not see to that itself.
    pub(crate) until: Option<Instant>,
}

impl Waits {
    /// For the end of the session alone.
    pub(crate) const NOTHING: Self =
        Self { serves_below: None, wants_room: false, drains: false, leads: false, until: None };
}

/// All that wait on one session.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Vec<Waiter>,
    next: u64,
}

impl Waiters {
    /// Adds one; it is to be removed when it has been woken.
    pub(crate) fn add(&mut self, waker: &Waker, waits: Waits) -> u64 {
        self.next += 1;
        let Waits { serves_below, wants_room, drains, leads, until } = waits;
        let waker = waker.clone();
        self.list.push(Waiter { id: self.next, waker, serves_below, wants_room, drains, leads, until, woken: false });
        self.next
    }

    /// Removes one; its waker is to be dropped behind the lock.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Waker> {
        let at = self.list.iter().position(|waiter| waiter.id == id)?;
        Some(self.list.remove(at).waker)
    }

    /// How many threads there are: who only waits for room, or for the end, is none.
    pub(crate) fn threads(&self) -> usize {
        self.list.iter().filter(|waiter| waiter.leads).count()
    }

    /// Whether any of them waits for room.
    pub(crate) fn want_room(&self) -> bool {
        self.list.iter().any(|waiter| waiter.wants_room)
    }

    /// Whether any of them hears of what happens behind the lock: of room, or that no call is in flight.
    #[inline]
    pub(crate) fn want_news(&self) -> bool {
        self.list.iter().any(|waiter| waiter.wants_room || waiter.drains)
    }

    /// Wakes one that can take over the ring; says whether there was one. One that has been woken already, for whatever
    /// reason, takes it over or wakes the next.
    pub(crate) fn wake_leader(&mut self, wakes: &mut Vec<Waker>) -> bool {
        if self.list.iter().any(|waiter| waiter.leads && waiter.woken) {
            return true;
        }
        self.wake_first(wakes, |waiter| waiter.leads)
    }

    /// Wakes one that may run a call of such a depth, unless one has been woken already.
    pub(crate) fn wake_server(&mut self, wakes: &mut Vec<Waker>, may_run: impl Fn(u8) -> bool) {
        let serves = |waiter: &Waiter| waiter.serves_below.is_some_and(&may_run);
        if !self.list.iter().any(|waiter| waiter.woken && serves(waiter)) {
            self.wake_first(wakes, serves);
        }
    }

    /// Wakes all that wait for room.
    pub(crate) fn wake_for_room(&mut self, wakes: &mut Vec<Waker>) {
        self.wake_where(wakes, |waiter| waiter.wants_room);
    }

    /// Wakes all that wait until no call is in flight.
    pub(crate) fn wake_drained(&mut self, wakes: &mut Vec<Waker>) {
        self.wake_where(wakes, |waiter| waiter.drains);
    }

    /// Wakes those whose time has come; gives the next time.
    pub(crate) fn expire(&mut self, now: Instant, wakes: &mut Vec<Waker>) -> Option<Instant> {
        self.wake_where(wakes, |waiter| waiter.until.is_some_and(|until| until <= now));
        self.list.iter().filter(|waiter| !waiter.woken).filter_map(|waiter| waiter.until).min()
    }

    /// Wakes all.
    pub(crate) fn wake_all(&mut self, wakes: &mut Vec<Waker>) {
        self.wake_where(wakes, |_| true);
    }

    fn wake_first(&mut self, wakes: &mut Vec<Waker>, which: impl Fn(&Waiter) -> bool) -> bool {
        let found = self.list.iter_mut().find(|waiter| !waiter.woken && which(waiter));
        found.map(|waiter| waiter.wake(wakes)).is_some()
    }

    fn wake_where(&mut self, wakes: &mut Vec<Waker>, which: impl Fn(&Waiter) -> bool) {
        self.list.iter_mut().filter(|waiter| !waiter.woken && which(waiter)).for_each(|waiter| waiter.wake(wakes));
    }
}

impl Waiter {
    fn wake(&mut self, wakes: &mut Vec<Waker>) {
        self.woken = true;
        wakes.push(self.waker.clone());
    }
}
