//! A place for one process of a plugin, which another takes when it is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::crash::CrashReport;
use crate::ending::ShutdownReport;
use crate::instance::Instance;
use crate::lifecycle::{PluginAction, PluginEvent, PluginState};
use crate::policy::Supervision;
use crate::restarts::{Restarts, Verdict};
use crate::spec::PluginSpec;
use crate::start::StartError;

pub(crate) struct Seat {
    /// Which of the plugin's it is, over all reloads.
    pub(crate) number: u32,
    /// What is started in it.
    pub(crate) spec: Arc<PluginSpec>,
    life: Mutex<Life>,
}

struct Life {
    state: PluginState,
    /// What runs; none where nothing does.
    instance: Option<Arc<Instance>>,
    crash: Option<CrashReport>,
    restarts: Restarts,
    /// Says which timer is armed: others are of the past.
    timer: u64,
    /// Something has had it.
    is_used: bool,
    /// It is stopped because nothing calls it, or is about to be.
    idle: bool,
    /// Somebody has shut it down: it is started by hand only.
    rests: bool,
    /// How often somebody has set about to start it.
    starts: u64,
    /// The policy has yet to say what follows its end.
    is_undecided: bool,
}

/// What goes along with a chain of transitions, and what comes of it.
#[derive(Default)]
pub(crate) struct Passage {
    /// The process that takes the seat.
    pub(crate) instance: Option<Arc<Instance>>,
    /// The process that these transitions are about: they are made only while it has the seat.
    pub(crate) of: Option<Arc<Instance>>,
    /// How it crashed.
    pub(crate) crash: Option<CrashReport>,
    /// How long it had run.
    pub(crate) uptime: Duration,
    /// The pause before the next start.
    pub(crate) pause: Duration,
    /// Why it did not start.
    pub(crate) failed: Option<StartError>,
    /// How it was shut down.
    pub(crate) report: Option<ShutdownReport>,
    /// Whether it is stopped because nothing calls it.
    pub(crate) idle: bool,
    /// The process that has left the seat.
    pub(crate) released: Option<Arc<Instance>>,
    /// How often somebody had set about to start it when it ended.
    pub(crate) starts: u64,
    /// Whether the policy is left out of it: somebody is told of the failure, and decides.
    pub(crate) is_trial: bool,
}

/// A transition.
pub(crate) struct Step {
    pub(crate) from: PluginState,
    pub(crate) to: PluginState,
    pub(crate) actions: &'static [PluginAction],
}

impl Seat {
    /// An empty one.
    pub(crate) fn new(number: u32, spec: &Arc<PluginSpec>) -> Self {
        let (instance, crash, restarts) = (None, None, Restarts::default());
        let (state, timer) = (PluginState::Discovered, 0);
        let (is_used, idle, rests, starts, is_undecided) = Default::default();
        let life = Life { state, instance, crash, restarts, timer, is_used, idle, rests, starts, is_undecided };
        Self { number, spec: Arc::clone(spec), life: Mutex::new(life) }
    }

    pub(crate) fn state(&self) -> PluginState {
        self.life.lock().state
    }

    /// What has the seat, if it lives.
    pub(crate) fn instance(&self) -> Option<Arc<Instance>> {
        self.life.lock().instance.clone()
    }

    /// How it last crashed, until another takes the seat.
    pub(crate) fn crash(&self) -> Option<CrashReport> {
        self.life.lock().crash.clone()
    }

    /// Whether a call is to start it: it was stopped because there was none, or falls asleep just now.
    pub(crate) fn is_asleep(&self) -> bool {
        let life = self.life.lock();
        // It may have failed as it fell asleep.
        let sleeps = matches!(
            life.state,
            PluginState::Draining | PluginState::ShuttingDown | PluginState::Stopped | PluginState::Crashed
        );
        life.idle && sleeps
    }

    /// Whether it has ended and may come back by itself, or is about to.
    pub(crate) fn is_coming(&self) -> bool {
        let life = self.life.lock();
        life.is_undecided
            || matches!(life.state, PluginState::Backoff | PluginState::Connected | PluginState::Initializing)
    }

    /// What the policy has said of its end is done.
    pub(crate) fn is_decided(&self) {
        self.life.lock().is_undecided = false;
    }

    /// Something takes it; says whether something has had it before.
    pub(crate) fn is_taken_again(&self) -> bool {
        std::mem::replace(&mut self.life.lock().is_used, true)
    }

    /// Neither a call nor the policy is to start it from now on, until somebody does.
    pub(crate) fn rest(&self) {
        let mut life = self.life.lock();
        (life.rests, life.idle) = (true, false);
    }

    /// Somebody starts it: the policy has its say again.
    pub(crate) fn rouse(&self) {
        let mut life = self.life.lock();
        life.rests = false;
        life.starts += 1;
    }

    /// Whether this still is the timer that starts it.
    pub(crate) fn is_armed(&self, timer: u64) -> bool {
        let life = self.life.lock();
        life.state == PluginState::Backoff && life.timer == timer
    }

    /// Arms a timer, and with it disarms the one before.
    pub(crate) fn next_timer(&self) -> u64 {
        let mut life = self.life.lock();
        life.timer += 1;
        life.timer
    }

    /// Somebody starts it by hand: past crashes are forgotten.
    pub(crate) fn forget(&self) {
        self.life.lock().restarts.forget();
    }

    /// What follows an end, by the plugin's policy.
    pub(crate) fn ask_policy(&self, supervision: &Supervision, uptime: Duration) -> Verdict {
        let mut life = self.life.lock();
        let crashed = life.state == PluginState::Crashed;
        life.restarts.ended(supervision, crashed, uptime, Instant::now(), fastrand::f64())
    }

    /// Makes a transition, and tells of it under the lock so that the order is true; `None` if there is none from here.
    pub(crate) fn step(&self, event: PluginEvent, passage: &mut Passage, note: impl FnOnce(&Step)) -> Option<Step> {
        let mut life = self.life.lock();
        if let Some(of) = &passage.of
            && !life.instance.as_ref().is_some_and(|current| Arc::ptr_eq(current, of))
        {
            return None;
        }
        // What the policy says of an end comes too late behind a shutdown, and where somebody starts it already.
        let is_late = life.rests || life.starts != passage.starts;
        if is_late && matches!(event, PluginEvent::Retry | PluginEvent::GiveUp) {
            return None;
        }
        let (to, actions) = life.state.after(event)?;
        let step = Step { from: std::mem::replace(&mut life.state, to), to, actions };
        life.is_undecided |= actions.contains(&PluginAction::AskPolicy);
        // Who is being stopped knows already why.
        let is_stopping = matches!(step.from, PluginState::Draining | PluginState::ShuttingDown);
        if !is_stopping && matches!(event, PluginEvent::Drain | PluginEvent::Exited | PluginEvent::Died) {
            life.idle = passage.idle;
        }
        if matches!(event, PluginEvent::Exited | PluginEvent::Died) {
            passage.starts = life.starts;
        }
        match event {
            PluginEvent::Connect => {
                life.instance = passage.instance.take();
                (life.crash, life.idle) = (None, false);
            }
            PluginEvent::Died => life.crash = passage.crash.take(),
            _ => {}
        }
        if actions.contains(&PluginAction::Release) {
            passage.released = life.instance.take();
            passage.uptime = passage.released.as_ref().map_or(Duration::ZERO, |instance| instance.uptime());
        }
        note(&step);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seat whose process has crashed, and what is told of that.
    fn crashed() -> (Seat, Passage) {
        let (seat, mut passage) = (Seat::new(0, &Arc::new(PluginSpec::new("p", "/bin/p"))), Passage::default());
        step(&seat, PluginEvent::Verify, &mut passage);
        assert_eq!(step(&seat, PluginEvent::Died, &mut passage), Some(PluginState::Crashed));
        (seat, passage)
    }

    fn step(seat: &Seat, event: PluginEvent, passage: &mut Passage) -> Option<PluginState> {
        seat.step(event, passage, |_| {}).map(|step| step.to)
    }

    #[test]
    fn what_the_policy_says_of_an_end_comes_too_late_where_somebody_starts_it_already() {
        for (word, state) in
            [(PluginEvent::Retry, PluginState::Backoff), (PluginEvent::GiveUp, PluginState::Quarantined)]
        {
            let (seat, mut passage) = crashed();
            seat.rouse();
            assert_eq!((step(&seat, word, &mut passage), seat.state()), (None, PluginState::Crashed));
            // Of that start's own end it may say something.
            step(&seat, PluginEvent::Died, &mut passage);
            assert_eq!(step(&seat, word, &mut passage), Some(state));
        }
    }

    #[test]
    fn one_that_rests_is_left_alone_until_somebody_starts_it() {
        let (seat, mut passage) = crashed();
        seat.rest();
        assert_eq!(step(&seat, PluginEvent::Retry, &mut passage), None);
        seat.rouse();
        step(&seat, PluginEvent::Died, &mut passage);
        assert_eq!(step(&seat, PluginEvent::Retry, &mut passage), Some(PluginState::Backoff));
    }
}
