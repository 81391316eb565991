//! How threads wait on a session.
//!
//! One thread at a time leads: it drains the ring, first looking at it, with the lock until somebody else wants it, then
//! asleep on the socket. The others follow: they are woken when what they wait for has come, when the leader leaves, or
//! when a call of the peer has come that the leader may not run (SPEC C6).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rapace_core::crash::{Point, crash_point};
use rapace_core::link::Pulse;
#[cfg(feature = "tokio")]
use rapace_core::link::Watch;
use rapace_core::socket::Readiness;
use rapace_core::wait::look;

use super::{Purpose, Shared};
use crate::clock;
use crate::handler::IncomingCall;
use crate::handshake::EXIT_PATIENCE;
use crate::lock::Guard;
use crate::nesting::depth;
use crate::parker::Parker;
use crate::patience::Patience;
use crate::state::{SocketRead, State};
use crate::sync;
use crate::waiters::Waits;

/// A strategy without end looks for so long between two looks at the socket.
const SPIN_SLICE: Duration = Duration::from_millis(10);
/// A look as long as this ends with the time of whoever waits.
const LONG_LOOK_MIN: Duration = Duration::from_millis(1);

impl Shared {
    /// Waits until `attempt` gives something, or the patience is over. Frames are handled and calls are served meanwhile.
    pub(crate) fn wait<T>(
        self: &Arc<Self>,
        purpose: Purpose,
        patience: &mut Patience,
        attempt: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        self.wait_from(self.state(), purpose, patience, attempt)
    }

    /// The same for who has the lock already.
    pub(crate) fn wait_from<'a, T>(
        self: &'a Arc<Self>,
        mut state: Guard<'a, State>,
        purpose: Purpose,
        patience: &mut Patience,
        mut attempt: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let below = depth();
        let mut leads = false;
        // Whether this thread has looked in vain since it last did something, and whether it has waited at all.
        let mut spun = false;
        let mut waited = false;
        // Once the time is over: calls that are still begun, which are those that waited then, if to serve is all that
        // this thread does. A peer that keeps calling does not hold it beyond that.
        let mut last_calls = None;
        let found = loop {
            if leads {
                self.alarm.clear();
            }
            if leads || !state.leading {
                state.pump();
            }
            if waited {
                state.expire_deadlines();
            }
            if let Some(found) = attempt(&mut state) {
                break Some(found);
            }
            // The clock is read only by who has waited or served: a call that is answered at once does without.
            if waited && patience.left().is_some_and(|left| left.is_zero()) {
                let serves = matches!(purpose, Purpose::Serve);
                let calls = last_calls.get_or_insert_with(|| if serves { state.machine.arrived() } else { 0 });
                match calls.checked_sub(1) {
                    Some(fewer) => *calls = fewer,
                    None => break None,
                }
            }
            // A task that is ready has its turn behind a call.
            let task_first = state.task_is_due && last_calls.is_none() && state.tasks.has_next(below);
            if !task_first && let Some(arrived) = state.next_arrived(below) {
                state.task_is_due = true;
                state.begin_handler();
                state.step_back(std::mem::take(&mut leads));
                // There may be more than this thread takes, for others.
                state.share_work();
                (spun, waited) = (false, true);
                state = self.relock(state, || IncomingCall::new(Arc::clone(self), arrived).run(&*self.handler));
                state.end_handler();
                continue;
            }
            if last_calls.is_some() {
                break None;
            }
            if let Some(task) = state.tasks.next(below) {
                state.task_is_due = false;
                state.begin_handler();
                state.step_back(std::mem::take(&mut leads));
                state.share_work();
                (spun, waited) = (false, true);
                state = self.run_task(state, task);
                continue;
            }
            if state.leading && !leads {
                state = self.follow(state, purpose, patience, below);
                (spun, waited) = (false, true);
                continue;
            }
            if !leads {
                leads = true;
                state.lead();
            }
            state.share_work();
            (state, spun) =
                if spun { (self.sleep(state, purpose, patience), false) } else { self.spin(state, purpose, patience) };
            waited = true;
        };
        state.step_back(leads);
        // This thread may be the one that was woken for a call, and has something else now.
        state.share_work();
        self.leave(state);
        found
    }

    /// Looks for the next frame; says whether that was in vain. The lock stays here until somebody else wants it.
    fn spin<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        purpose: Purpose,
        patience: &mut Patience,
    ) -> (Guard<'a, State>, bool) {
        let interest = state.interest(purpose.wants_room());
        let watch = match state.link.watch(interest) {
            Ok(watch) => watch,
            Err(fault) => {
                state.fault(fault);
                return (state, false);
            }
        };
        let budget = state.spinner(purpose).budget();
        let (slice, soonest) = (budget.unwrap_or(SPIN_SLICE), state.soonest());
        // A long look does not outlast whoever waits.
        let cut = |slice| {
            if slice < LONG_LOOK_MIN {
                return slice;
            }
            let soonest = soonest.map(|at| at.saturating_duration_since(clock::now()));
            [patience.left(), soonest].into_iter().flatten().fold(slice, Duration::min)
        };
        let has_come = || watch.came(&self.view) || self.alarm.is_raised();
        let came;
        (state, came) = self.look_with(state, slice, cut, has_come);
        if came {
            state.spinner(purpose).paid();
        }
        if budget.is_some() {
            return (state, !came);
        }
        // This strategy never sleeps: it looks at the socket now and then.
        if !came {
            state.link.beat();
            let ready = self.socket.wait(self.pidfd(), Some(Duration::ZERO));
            state = self.read_socket(state, ready, EXIT_PATIENCE);
        }
        (state, !came)
    }

    /// Sleeps until the peer rings, the patience is over, or it is time to look whether the peer still lives.
    fn sleep<'a>(&'a self, mut state: Guard<'a, State>, purpose: Purpose, patience: &mut Patience) -> Guard<'a, State> {
        if state.spinner(purpose).budget().is_none() {
            return state;
        }
        state.calibrate();
        let interest = state.interest(purpose.wants_room());
        state.link.arm(interest);
        if self.alarm.fall_asleep() && !state.has_news(interest) {
            // Not before that: nobody has rung for what had come before the sleep was announced, so it would be owed to nobody.
            state.link.set_pulse(Pulse::Dormant);
            let start = clock::now();
            let mut timeout = patience.left();
            let mut at_most = |time: Duration| timeout = Some(timeout.map_or(time, |left| left.min(time)));
            if let Some(next) = state.soonest() {
                at_most(next.saturating_duration_since(start));
            }
            if state.machine.in_flight().0 > 0 {
                // Somebody depends on the peer, so its silence is noted when it begins.
                let _ = state.judge(start);
                at_most(state.liveness.next_look());
            }
            state.leader_wants_room = purpose.wants_room();
            state = self.look_at_socket(state, timeout);
            state.leader_wants_room = false;
            state.spinner(purpose).slept(clock::now().duration_since(start));
        }
        self.alarm.wake_up(false);
        state.attend();
        state
    }

    /// Waits on the socket, without the lock, and reads it.
    fn look_at_socket<'a>(&'a self, state: Guard<'a, State>, timeout: Option<Duration>) -> Guard<'a, State> {
        let mut ready = Ok(Readiness::default());
        let begun = clock::now();
        let mut state = self.relock(state, || {
            crash_point(Point::Asleep);
            ready = sync::wait(&self.socket, self.pidfd(), self.alarm.event(), timeout);
            crash_point(Point::Awake);
            self.alarm.wake_up(matches!(ready, Ok(Readiness { alarm: true, .. })));
        });
        // Before the bell is read: with that, the peer takes it that what it was rung for is seen to.
        state.attend();
        // The exit status may take a moment longer than the end of the socket, but not longer than the waiter has.
        let left = timeout.map_or(EXIT_PATIENCE, |timeout| timeout.saturating_sub(clock::now().duration_since(begun)));
        self.read_socket(state, ready, left.min(EXIT_PATIENCE))
    }

    /// Reads the socket, if there is something on it. A peer that is gone has so long to leave its exit status.
    pub(super) fn read_socket<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        ready: io::Result<Readiness>,
        exit_patience: Duration,
    ) -> Guard<'a, State> {
        match ready {
            Ok(ready) => {
                let ended = ready.socket && state.read_socket() == SocketRead::Ended;
                if ended || ready.hangup || ready.process {
                    let mut exit = None;
                    state = self.relock(state, || exit = self.exit(exit_patience));
                    state.peer_gone(exit);
                }
            }
            // Nothing that the peer can cause: the descriptor is ours. Without it there is no session.
            Err(error) => {
                tracing::error!(%error, "cannot wait on the session's socket");
                state.peer_gone(None);
            }
        }
        state
    }

    /// Waits for the leader to wake this thread.
    fn follow<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        purpose: Purpose,
        patience: &mut Patience,
        below: u8,
    ) -> Guard<'a, State> {
        let parker = Parker::current();
        if let Purpose::Reply(key) = purpose {
            state.machine.set_waker(key, parker.waker());
        }
        let (serves_below, wants_room) = (Some(below), purpose.wants_room());
        let waits = Waits { serves_below, wants_room, leads: true, ..Waits::NOTHING };
        if purpose.wants_room() && state.widen_sleep() {
            return state;
        }
        let id = state.waiters.add(parker.waker(), waits);
        // A crowd that looks would take the core from the one that drains the ring.
        let alone = state.waiters.threads() == 1;
        let spin = if alone { state.spinner(purpose).budget().unwrap_or(SPIN_SLICE) } else { Duration::ZERO };
        let left = patience.left();
        state = self.relock(state, || parker.park(spin, left));
        state.waiters.remove(id);
        state
    }

    /// Looks at the ring for so long; says whether something has come.
    #[cfg(feature = "tokio")]
    pub(crate) fn look_on<'a>(
        &'a self,
        state: Guard<'a, State>,
        watch: &Watch,
        time: Duration,
    ) -> (Guard<'a, State>, bool) {
        self.look_with(state, time, |time| time, || watch.came(&self.view))
    }

    /// Looks for so long, with the lock until somebody else wants it; says whether it was found.
    #[inline]
    fn look_with<'a>(
        &'a self,
        mut state: Guard<'a, State>,
        slice: Duration,
        mut cut: impl FnMut(Duration) -> Duration,
        mut find: impl FnMut() -> bool,
    ) -> (Guard<'a, State>, bool) {
        let mut found = false;
        let mut wanted = !state.is_settled();
        if !wanted {
            look_for(slice, &mut cut, || {
                found = find();
                wanted = self.state.is_wanted();
                found || wanted
            });
        }
        if wanted && !found {
            state = self.relock(state, || found = look_for(slice, cut, find));
        }
        (state, found)
    }
}

/// Looks for a slice of time, or less where `cut` says so once the first looks were in vain; says whether it was found.
#[inline]
fn look_for(slice: Duration, cut: impl FnOnce(Duration) -> Duration, mut find: impl FnMut() -> bool) -> bool {
    if slice.is_zero() {
        return find();
    }
    if look(&mut find) {
        return true;
    }
    let (start, time) = (clock::now(), cut(slice));
    while clock::now().duration_since(start) < time {
        if look(&mut find) {
            return true;
        }
    }
    false
}
