//! What a session keeps under its lock: the link, the protocol, and who waits.

use std::task::Waker;
use std::time::{Duration, Instant};

use rapace_core::PeerFault;
use rapace_core::crash::{Point, crash_point};
use rapace_core::link::{Link, Pulse};
use rapace_core::sleep::Interest;
use rapace_core::wait::{Calibration, Spinner, WaitStrategy};

use crate::calls::CallKey;
use crate::clock;
use crate::condition::Condition;
use crate::error::{CallError, SessionEnd};
use crate::liveness::{Liveness, PeerState};
use crate::machine::{Machine, Request, Unsent};
use crate::metadata::Metadata;
use crate::served::Arrived;
use crate::shared::Purpose;
use crate::status::{Code, Status};
use crate::tasks::{Future, Tasks};
use crate::waiters::Waiters;
use crate::wakes;

/// The state of a session.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) machine: Machine,
    pub(crate) waiters: Waiters,
    /// A task that attends to the socket while nobody leads.
    pub(crate) attendant: Option<Waker>,
    /// The attendant has left the socket to a leader, and is to be woken when there is none.
    pub(crate) attendant_held_off: bool,
    /// Somebody drains the ring: a leader. Nobody else takes frames meanwhile.
    pub(crate) leading: bool,
    /// Handlers that run on threads of this session.
    pub(crate) running: u32,
    strategy: WaitStrategy,
    reply_spinner: Spinner,
    work_spinner: Spinner,
    pub(crate) liveness: Liveness,
    news_to_sleeper: u64,
    room: (u64, u64),
    settled: bool,
    /// How it was when it ended.
    pub(crate) last_condition: Option<Box<Condition>>,
    /// Handlers that are not ready.
    pub(crate) tasks: Tasks,
    /// A call was begun since a task was polled.
    pub(crate) task_is_due: bool,
    /// No future is to be woken for its deadline before this. It may be early, as those go whose calls have ended.
    soonest: Option<Instant>,
    /// How much of the attendant's time the peer may take with noise.
    #[cfg(feature = "tokio")]
    pub(crate) pace: crate::pace::Pace,
    /// Useful frames that had come when the attendant last announced a sleep.
    #[cfg(feature = "tokio")]
    pub(crate) useful_at_sleep: u64,
    /// The time at which the attendant will look at deadlines.
    pub(crate) attendant_looks: Option<Instant>,
    /// The leader sleeps, and waits for room of which this side may hear otherwise.
    pub(crate) leader_wants_room: bool,
    /// Whoever leads is to look again.
    pub(crate) alarm_due: bool,
    /// What becomes of replies on purpose.
    #[cfg(feature = "fault-injection")]
    pub(crate) replies: crate::fault_injection::Replies,
}

/// What is due behind the lock.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) wakes: Vec<Waker>,
    /// Wakers that nobody needs any more.
    pub(crate) spent: Vec<Waker>,
    /// Handlers that nobody will poll again.
    pub(crate) unwanted: Vec<Future>,
    pub(crate) alarm: bool,
}

/// What was on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketRead {
    /// Nothing is left.
    Drained,
    /// There may be more.
    More,
    /// The peer is gone.
    Ended,
}

/// Frames that are taken before others have their turn at the lock.
const FRAMES_PER_PUMP: u32 = 256;

impl State {
    pub(crate) fn new(link: Link, machine: Machine, strategy: WaitStrategy, liveness: Liveness) -> Self {
        let calibration = match strategy {
            WaitStrategy::Adaptive => Calibration::of_this_machine(),
            _ => Calibration { budget: Duration::ZERO },
        };
        Self {
            link,
            machine,
            waiters: Waiters::default(),
            attendant: None,
            attendant_held_off: false,
            leading: false,
            running: 0,
            strategy,
            reply_spinner: Spinner::new(strategy, calibration),
            work_spinner: Spinner::new(strategy, calibration),
            liveness,
            news_to_sleeper: 0,
            room: (0, 0),
            settled: false,
            last_condition: None,
            tasks: Tasks::default(),
            task_is_due: false,
            soonest: None,
            #[cfg(feature = "tokio")]
            pace: crate::pace::Pace::new(clock::now()),
            #[cfg(feature = "tokio")]
            useful_at_sleep: 0,
            attendant_looks: None,
            leader_wants_room: false,
            alarm_due: false,
            #[cfg(feature = "fault-injection")]
            replies: crate::fault_injection::Replies::default(),
        }
    }

    /// Sends a request.
    pub(crate) fn open(&mut self, request: &Request<'_>) -> Result<CallKey, Unsent> {
        let opened = self.machine.open(request, &mut self.link);
        if opened.is_ok() {
            crash_point(Point::RequestSent);
        }
        self.flush();
        opened
    }

    /// The same for who does not wait for room.
    pub(crate) fn try_open(&mut self, request: &Request<'_>) -> Result<CallKey, CallError> {
        self.open(request).map_err(|unsent| match unsent {
            Unsent::Full => CallError::WouldBlock,
            Unsent::Failed(error) => error,
        })
    }

    /// What is known of whether looking pays, for a wait of this purpose.
    pub(crate) fn spinner(&mut self, purpose: Purpose) -> &mut Spinner {
        match purpose {
            Purpose::Reply(_) | Purpose::Room | Purpose::Future => &mut self.reply_spinner,
            Purpose::Serve => &mut self.work_spinner,
        }
    }

    /// The next call that a thread may run which runs a handler of depth `below`. One whose time is over is not begun
    /// (SPEC C8).
    pub(crate) fn next_arrived(&mut self, below: u8) -> Option<Arrived> {
        while self.machine.next_is_late(below, clock::now) {
            let arrived = self.machine.next_arrived(below)?;
            arrived.body.discard(&mut self.link);
            let late = Status::new(Code::DeadlineExceeded, "the time of the call was over before it began");
            self.machine.finish(arrived.key, Err(&late), &Metadata::new(), &mut self.link);
            self.flush();
        }
        self.machine.next_arrived(below)
    }

    /// Takes what frames there are, and sends what has waited for room; says whether there may be more.
    pub(crate) fn pump(&mut self) -> bool {
        self.pump_frames(FRAMES_PER_PUMP)
    }

    /// The same, for so many frames.
    #[inline(always)]
    pub(crate) fn pump_frames(&mut self, frames_max: u32) -> bool {
        let mut frames = 0;
        while self.link.has_frame() && self.machine.end().is_none() && frames < frames_max {
            match self.link.receive() {
                Ok(Some(frame)) => {
                    self.machine.handle(frame, &mut self.link, clock::now);
                    frames += 1;
                }
                Ok(None) => break,
                Err(fault) => {
                    self.machine.fault(fault.into());
                    frames += 1;
                }
            }
        }
        if frames > 0 {
            self.link.beat();
        }
        if self.wants_room() {
            self.use_room();
        }
        self.flush();
        frames == frames_max
    }

    /// Whether anybody waits for room.
    pub(crate) fn wants_room(&self) -> bool {
        self.machine.wants_room() || self.waiters.want_room()
    }

    /// What a sleeper is to be woken for.
    pub(crate) fn interest(&self, waiter_wants_room: bool) -> Interest {
        if waiter_wants_room || self.wants_room() { Interest::FramesAndRoom } else { Interest::Frames }
    }

    /// Uses the room that the peer has made since the last time; says whether there was any.
    fn use_room(&mut self) -> bool {
        let news = self.link.room().and_then(|room| {
            let news = room != self.room;
            self.room = room;
            if news {
                self.machine.flush_outbox(&mut self.link)?;
            }
            Ok(news)
        });
        match news {
            Ok(true) => self.tell_of_room(),
            Ok(false) => {}
            Err(fault) => self.fault(fault),
        }
        news.unwrap_or(true)
    }

    /// This side has made room itself: what waits for it goes out, and whoever waits tries again.
    pub(crate) fn room_was_made(&mut self) {
        if let Err(fault) = self.machine.flush_outbox(&mut self.link) {
            self.fault(fault);
        }
        self.tell_of_room();
        self.flush();
    }

    /// Whoever waits for room is to try again.
    fn tell_of_room(&mut self) {
        self.waiters.wake_for_room(self.machine.wakes());
        self.machine.wake_streams_for_room(self.link.geometry().ring_capacity());
        self.alarm_due |= self.leader_wants_room;
    }

    /// Rings the peer if there is something for it and it sleeps.
    #[inline]
    pub(crate) fn flush(&mut self) {
        // Whoever sleeps may have had nothing to send, and then is not woken for room.
        while self.machine.end().is_none() && self.machine.wants_room() && self.widen_sleep() {}
        self.link.flush();
        let (news, heartbeat) = self.link.news_to_sleeper();
        if news != self.news_to_sleeper {
            self.news_to_sleeper = news;
            // A thread of the peer's may have made progress since the bell, and left it to the sleeper.
            if !self.liveness.is_rung(heartbeat) {
                self.liveness.rung(heartbeat, clock::now());
            }
        }
    }

    /// Somebody attends to the session now.
    pub(crate) fn lead(&mut self) {
        self.leading = true;
        self.attend();
    }

    /// Somebody looks at the ring from now on. The peer is told so first: one that is awake and owes nothing would never be
    /// judged, should it stop here (SPEC L1).
    pub(crate) fn attend(&mut self) {
        self.link.set_pulse(Pulse::Active);
        self.link.disarm();
    }

    /// Nobody looks any more, or only sleeps: whatever handlers run beside a sleeper, it sees to what it is rung for (SPEC L1).
    pub(crate) fn rest(&mut self) {
        if self.running == 0 || self.link.is_armed() {
            self.link.set_pulse(Pulse::Dormant);
        }
    }

    /// A thread has what it waited for, or goes to run a handler. Whether it led or was only woken to lead, the ring is
    /// not left alone while others wait.
    pub(crate) fn step_back(&mut self, leads: bool) {
        if leads || !self.leading {
            self.resign();
        }
    }

    /// This thread is about to send something and to wait for the answer: it leads then, so nobody is to be rung for it.
    pub(crate) fn wake_up(&mut self) {
        if !self.leading {
            self.attend();
        }
    }

    /// The leader leaves the ring to another one.
    pub(crate) fn resign(&mut self) {
        self.leading = false;
        if self.waiters.wake_leader(self.machine.wakes()) {
            return;
        }
        if self.attendant.is_some() && self.machine.end().is_none() {
            // What a leader has taken from the ring, or left on the socket, is the attendant's now.
            let left = std::mem::take(&mut self.attendant_held_off) || self.has_work(0) || self.deadline_is_early();
            if self.arm() || left {
                self.wake_attendant();
                return;
            }
        }
        self.rest();
    }

    /// The task is to look again.
    pub(crate) fn wake_attendant(&mut self) {
        self.machine.wakes().extend(self.attendant.clone());
    }

    /// Frames of the peer that somebody had use for.
    #[cfg(feature = "tokio")]
    pub(crate) fn useful_frames(&self) -> u64 {
        self.link.stats().frames_received.saturating_sub(self.link.ignored())
    }

    /// Announces a sleep; says whether something has come already, so that there is none.
    pub(crate) fn arm(&mut self) -> bool {
        #[cfg(feature = "tokio")]
        {
            self.useful_at_sleep = self.useful_frames();
        }
        let interest = self.interest(false);
        self.link.arm(interest);
        let came = self.has_news(interest);
        if came {
            self.attend();
        }
        came
    }

    /// Lets a sleeper be woken for room too; says whether there is some already. Frames are the sleeper's own affair.
    pub(crate) fn widen_sleep(&mut self) -> bool {
        if !self.link.is_armed() {
            return false;
        }
        // The sleeper may not wait for room: what came before the peer knew must be seen now.
        self.link.arm(Interest::FramesAndRoom);
        self.use_room()
    }

    /// Whether something has come that a sleeper would miss: what it is to be woken for, or room that others wait for and
    /// that was found, but not told, since the last pump.
    pub(crate) fn has_news(&mut self, interest: Interest) -> bool {
        let wanted = self.wants_room();
        let news = self.link.has_news(interest).and_then(|came| Ok(came || wanted && self.link.room()? != self.room));
        news.unwrap_or_else(|fault| {
            self.fault(fault);
            true
        })
    }

    /// Whether there is a call or a task for a thread that runs a handler of depth `below`.
    pub(crate) fn has_work(&self, below: u8) -> bool {
        self.machine.has_arrived(below) || self.tasks.has_next(below)
    }

    /// Somebody is woken for the calls that wait for a handler, and for the tasks that are ready.
    #[inline]
    pub(crate) fn share_work(&mut self) {
        if self.waiters.threads() > 0 || self.attendant.is_some() {
            self.share_work_with_others();
        }
    }

    fn share_work_with_others(&mut self) {
        let mut wakes = std::mem::take(self.machine.wakes());
        let (machine, tasks) = (&self.machine, &self.tasks);
        self.waiters.wake_server(&mut wakes, |below| machine.has_arrived(below) || tasks.has_next(below));
        if self.has_work(0) {
            wakes.extend(self.attendant.clone());
        }
        *self.machine.wakes() = wakes;
    }

    /// A handler begins to run on this thread.
    pub(crate) fn begin_handler(&mut self) {
        self.running += 1;
        if !self.link.is_armed() {
            self.link.set_pulse(Pulse::Active);
        }
    }

    /// A handler has given this thread back, which looks at the ring next or resigns.
    pub(crate) fn end_handler(&mut self) {
        self.running -= 1;
    }

    /// Somebody is to be woken at this time, if it still waits then.
    pub(crate) fn note_deadline(&mut self, at: Instant) {
        if self.soonest.is_some_and(|soonest| soonest <= at) {
            return;
        }
        self.soonest = Some(at);
        if self.deadline_is_early() {
            // Whoever sleeps on the socket has not reckoned with it.
            self.alarm_due |= self.leading;
            self.wake_attendant();
        }
    }

    /// When deadlines are to be looked at.
    pub(crate) fn soonest(&self) -> Option<Instant> {
        self.soonest
    }

    /// Whether a deadline comes before the attendant looks.
    fn deadline_is_early(&self) -> bool {
        match (self.soonest, self.attendant_looks) {
            (Some(soonest), Some(looks)) => soonest < looks,
            (soonest, None) => soonest.is_some(),
            (None, _) => false,
        }
    }

    /// Wakes those whose deadline has come.
    pub(crate) fn expire_deadlines(&mut self) {
        let Some(soonest) = self.soonest else { return };
        let now = clock::now();
        if soonest > now {
            return;
        }
        let calls = self.machine.expire(now);
        let waiters = self.waiters.expire(now, self.machine.wakes());
        self.soonest = calls.into_iter().chain(waiters).min();
    }

    /// How the peer is, as far as its memory tells.
    pub(crate) fn judge(&mut self, now: Instant) -> PeerState {
        if self.machine.end().is_some() {
            return PeerState::Gone { exit: None };
        }
        match self.link.peer_pulse() {
            Ok((Pulse::Closed, _)) => PeerState::Gone { exit: None },
            Ok((pulse, heartbeat)) => self.liveness.judge(pulse, heartbeat, now),
            Err(fault) => {
                self.machine.fault(fault.into());
                PeerState::Gone { exit: None }
            }
        }
    }

    /// Reads the socket.
    pub(crate) fn read_socket(&mut self) -> SocketRead {
        match self.link.read_socket() {
            Ok(news) if news.ended || news.refusal.is_some() => SocketRead::Ended,
            Ok(news) => {
                self.link.beat();
                if news.more { SocketRead::More } else { SocketRead::Drained }
            }
            Err(fault) => {
                self.machine.fault(fault.into());
                SocketRead::Drained
            }
        }
    }

    /// The peer is gone. What it has sent before counts.
    pub(crate) fn peer_gone(&mut self, exit: Option<std::process::ExitStatus>) {
        // As many frames as the ring holds: one that has only closed its socket may go on sending.
        for _ in 0..=self.link.geometry().ring_capacity() / FRAMES_PER_PUMP {
            self.pump();
        }
        self.machine.end_with(SessionEnd::PeerGone(exit));
    }

    /// Whether nothing can be due behind the lock, so that it may be left without [`State::settle`].
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        let waits = self.waiters.want_news() || self.leader_wants_room || self.alarm_due;
        !waits && self.machine.has_nobody_to_wake() && self.machine.end().is_none()
    }

    /// To be called before the lock is left: gives what is due behind it, and sees to the end of the session, once.
    pub(crate) fn settle(&mut self) -> Option<Settled> {
        self.tell_of_calls();
        let nothing = self.machine.has_nobody_to_wake() && !self.alarm_due;
        if nothing && (self.machine.end().is_none() || self.settled) {
            return None;
        }
        let mut unwanted = Vec::new();
        if self.machine.end().is_some() && !self.settled {
            self.settled = true;
            self.keep_condition();
            self.waiters.wake_all(self.machine.wakes());
            self.machine.wakes().extend(self.attendant.take());
            self.link.flush();
            self.link.set_pulse(Pulse::Closed);
            self.link.socket().shutdown();
            crash_point(Point::SocketShut);
            unwanted = self.tasks.clear();
        }
        let (wakes, spent) = (wakes::take_out(self.machine.wakes()), wakes::take_out(self.machine.spent()));
        Some(Settled { wakes, spent, unwanted, alarm: std::mem::take(&mut self.alarm_due) })
    }

    /// Whoever waits to open a call hears when one has ended, or when there is no hope left; whoever waits for the last, when
    /// none of ours is left.
    fn tell_of_calls(&mut self) {
        let wanted = self.leader_wants_room || self.waiters.want_room();
        let fewer = self.machine.take_freed();
        if wanted && (fewer || self.machine.is_refusing()) {
            self.tell_of_room();
        }
        if self.machine.in_flight().0 == 0 {
            self.waiters.wake_drained(self.machine.wakes());
        }
    }

    /// This side makes no more calls by way of slots: whoever waits for room to make one hears it.
    pub(crate) fn retire(&mut self, reason: &Status) {
        self.machine.retire(reason);
        self.tell_of_room();
    }

    /// A fault that was found while looking.
    pub(crate) fn fault(&mut self, fault: PeerFault) {
        self.machine.fault(fault.into());
    }

    /// The budget was measured anew.
    pub(crate) fn calibrate(&mut self) {
        if self.strategy != WaitStrategy::Adaptive {
            return;
        }
        let calibration = Calibration::of_this_machine();
        self.reply_spinner.calibrate(calibration);
        self.work_spinner.calibrate(calibration);
    }
}
