//! Does what the lifecycle asks for: a thin loop over transitions, and whoever sets it going.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rapace_session::{Code, Session, SessionEnd, Status};

use crate::crash::CrashReport;
use crate::ending::{Ending, ShutdownReport};
use crate::instance::Instance;
use crate::lifecycle::{PluginAction, PluginEvent, PluginState, StateChange};
use crate::plugin::Shared;
use crate::policy::RestartPolicy;
use crate::restarts::Verdict;
use crate::seat::{Passage, Seat, Step};
use crate::start::StartError;

/// What the details of a plugin's close say if it has ended because nothing called it (`rapace_plugin`).
const IDLE: &[u8] = b"idle";

/// Whether it ended because nothing called it.
fn left_idle(report: &CrashReport) -> bool {
    matches!(&*report.end, SessionEnd::PeerClosed(status) if status.details == IDLE)
}

impl Shared {
    /// Makes a transition, does what it asks for, and goes on with what comes of that; says whether there was one.
    pub(crate) fn drive(self: &Arc<Self>, seat: &Arc<Seat>, event: PluginEvent, passage: &mut Passage) -> bool {
        let mut next = Some(event);
        let (mut stepped, mut ended) = (false, false);
        while let Some(event) = next.take() {
            let crash = passage.crash.clone();
            let Some(step) = seat.step(event, passage, |step| self.note(seat, step)) else { break };
            if let Some(report) = crash.as_ref().filter(|_| event == PluginEvent::Died) {
                self.history.crashed(report.clone());
            }
            stepped = true;
            // Before what follows from it. What comes of a start or of a shutdown is told there.
            if let Some(report) = crash
                && passage.failed.is_none()
                && step.from != PluginState::ShuttingDown
            {
                let pid = passage.of.as_ref().and_then(|instance| instance.pid);
                tracing::warn!(plugin = %self.name, pid, %report, "crashed");
            }
            if step.actions.contains(&PluginAction::Release) {
                passage.of = None;
            }
            if let Some(released) = passage.released.take() {
                self.ledger.ended(&released);
            }
            step.actions.iter().for_each(|action| self.do_at_once(seat, *action, passage));
            self.tell();
            ended |= step.actions.contains(&PluginAction::AskPolicy);
            for action in step.actions {
                next = self.take_time(seat, *action, passage).or(next);
            }
        }
        if ended {
            seat.is_decided();
        }
        if stepped {
            self.release_calls();
        }
        stepped
    }

    fn note(&self, seat: &Seat, step: &Step) {
        self.history.note(step);
        let (plugin, instance) = (Arc::clone(&self.name), seat.number);
        self.changes.note(StateChange { plugin, instance, from: Some(step.from), to: step.to });
    }

    /// What is done before anybody is told of the transition.
    fn do_at_once(self: &Arc<Self>, seat: &Arc<Seat>, action: PluginAction, passage: &Passage) {
        match action {
            PluginAction::Admit => {
                self.gate.renew();
                self.route();
            }
            PluginAction::Withdraw => {
                self.route();
                // A call that was led to it only just now goes elsewhere.
                if let Some(instance) = seat.instance() {
                    instance.session.retire(&self.absence());
                }
                seat.spec.kind.withdrawn(&self.absence());
            }
            PluginAction::ArmTimer => self.arm(seat, passage.pause),
            PluginAction::DisarmTimer => drop(seat.next_timer()),
            PluginAction::Alert => {
                tracing::error!(plugin = %self.name, "has crashed too often: it is in quarantine, and started by hand only");
            }
            _ => {}
        }
    }

    /// What may take its time; gives the event that comes of it.
    fn take_time(&self, seat: &Arc<Seat>, action: PluginAction, passage: &mut Passage) -> Option<PluginEvent> {
        match action {
            PluginAction::CallInitialize => {
                let instance = seat.instance()?;
                passage.of = Some(Arc::clone(&instance));
                let Err(error) = instance.initialize(&self.context, &seat.spec) else {
                    return Some(PluginEvent::Initialized);
                };
                tracing::warn!(plugin = %self.name, pid = instance.pid, %error, "did not start");
                passage.crash = Some(instance.crash_report());
                passage.failed = Some(error);
                Some(PluginEvent::Died)
            }
            PluginAction::AwaitCalls => {
                let drain = self.context.shutdown_times.drain;
                if seat.instance().is_some_and(|instance| !instance.session.calls_ended(drain)) {
                    tracing::warn!(plugin = %self.name, waited = ?drain, "calls are still in flight");
                }
                None
            }
            PluginAction::EndProcess => Some(self.end_process(&*seat.instance()?, passage)),
            // What only people start is not started again by the policy.
            PluginAction::AskPolicy if !passage.is_trial && !seat.spec.is_by_hand => {
                match seat.ask_policy(&seat.spec.supervision, passage.uptime) {
                    Verdict::Rest => None,
                    Verdict::StartIn(pause) => {
                        passage.pause = pause;
                        Some(PluginEvent::Retry)
                    }
                    Verdict::Quarantine => Some(PluginEvent::GiveUp),
                }
            }
            _ => None,
        }
    }

    /// Tells it to end, and sees to it that it does.
    fn end_process(&self, instance: &Instance, passage: &mut Passage) -> PluginEvent {
        let times = self.context.shutdown_times;
        tracing::info!(plugin = %self.name, pid = instance.pid, "is told to shut down");
        let acknowledged = instance.call_shutdown(times.acknowledge);
        if let Err(error) = &acknowledged {
            tracing::warn!(plugin = %self.name, %error, "shutdown is not acknowledged");
        }
        instance.session.close(&Status::new(Code::Unavailable, "the host has shut the plugin down"));
        let (ending, exit) = instance.end(&self.name, times.exit, times.terminate);
        let report = ShutdownReport { acknowledged, ending, exit };
        tracing::info!(plugin = %self.name, %report, "shut down");
        passage.report = Some(report);
        if ending == Ending::Exited && exit.is_some_and(|exit| !exit.success()) {
            passage.crash = Some(instance.crash_report());
            return PluginEvent::Died;
        }
        PluginEvent::Exited
    }

    /// Starts what has this seat from now on, unless something has it.
    pub(crate) fn start(self: &Arc<Self>, seat: &Arc<Seat>, is_trial: bool) -> Result<(), StartError> {
        if seat.instance().is_some() && self.is_at_its_end().is_none() {
            return Ok(());
        }
        let _turn = self.context.starts.turn();
        if let Some(cause) = self.is_at_its_end() {
            return Err(StartError::new(&seat.spec, cause));
        }
        seat.rouse();
        let scope = self.scope.of(&seat.spec);
        let instance = match Instance::start(&self.context, &seat.spec, &scope, &self.history, &self.around) {
            Ok(instance) => Arc::new(instance),
            Err(error) => {
                tracing::warn!(plugin = %self.name, %error, "did not start");
                let mut passage = Passage { is_trial, ..Passage::default() };
                self.drive(seat, PluginEvent::Died, &mut passage);
                return Err(error);
            }
        };
        if seat.is_taken_again() {
            self.history.restarted();
        }
        let of = Some(Arc::clone(&instance));
        let seated = Some(Arc::clone(&instance));
        self.ledger.begun(&instance);
        if !self.drive(seat, PluginEvent::Connect, &mut Passage { instance: seated, ..Passage::default() }) {
            self.ledger.ended(&instance);
        }
        self.watch(seat, &instance);
        let mut passage = Passage { of, is_trial, ..Passage::default() };
        self.drive(seat, PluginEvent::Initialize, &mut passage);
        if let Some(error) = passage.failed {
            return Err(error);
        }
        // Of an end while it was started nobody else speaks.
        if instance.session.end().is_some() {
            self.died(seat, &instance);
        }
        Ok(())
    }

    /// Lets calls in flight end, and shuts it down; `None` when it does not run.
    pub(crate) fn stop(self: &Arc<Self>, seat: &Arc<Seat>, idle: bool) -> Option<ShutdownReport> {
        if !idle {
            seat.rest();
        }
        let mut passage = Passage { idle, ..Passage::default() };
        self.drive(seat, PluginEvent::Drain, &mut passage);
        self.drive(seat, PluginEvent::ShutDown, &mut passage);
        passage.report
    }

    /// Has the end of this life noticed when it comes, whoever waits for the plugin then.
    fn watch(self: &Arc<Self>, seat: &Arc<Seat>, instance: &Arc<Instance>) {
        // A plugin that nobody has any more is not kept for this.
        let (plugin, seat, life) = (Arc::downgrade(self), Arc::downgrade(seat), Arc::downgrade(instance));
        self.context.attendance.watch(&instance.session, move || {
            if let (Some(plugin), Some(seat), Some(life)) = (plugin.upgrade(), seat.upgrade(), life.upgrade()) {
                plugin.died(&seat, &life);
            }
        });
    }

    /// Somebody has noticed the end of this life.
    pub(crate) fn died(self: &Arc<Self>, seat: &Arc<Seat>, instance: &Arc<Instance>) {
        // Whoever shuts it down gives it time, and says how it ended; whoever starts it learns of it, and says why it did not.
        let has_seat = seat.instance().is_some_and(|current| Arc::ptr_eq(&current, instance));
        if !has_seat || matches!(seat.state(), PluginState::ShuttingDown | PluginState::Initializing) {
            return;
        }
        let report = instance.crash_report();
        let mut passage = Passage { of: Some(Arc::clone(instance)), ..Passage::default() };
        let event = if instance.has_left(&report) {
            let supervision = &seat.spec.supervision;
            let is_idle = left_idle(&report);
            passage.idle = is_idle || supervision.restart != RestartPolicy::Never || supervision.idle_timeout.is_some();
            // The next call is to start it, and not the policy.
            passage.is_trial = is_idle;
            PluginEvent::Exited
        } else {
            passage.crash = Some(report);
            PluginEvent::Died
        };
        self.drive(seat, event, &mut passage);
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            let plugin = Arc::clone(self);
            self.context.attendance.soon(move || plugin.wake());
        }
    }

    /// Starts it when the pause is over, unless something else happens meanwhile.
    fn arm(self: &Arc<Self>, seat: &Arc<Seat>, pause: Duration) {
        let timer = seat.next_timer();
        tracing::info!(plugin = %self.name, ?pause, "will be started again");
        let (plugin, seat) = (Arc::downgrade(self), Arc::clone(seat));
        self.context.attendance.after(pause, move || {
            let Some(plugin) = plugin.upgrade() else { return };
            let _in_transition = plugin.in_transition.lock();
            // Of a version that has yet to take its place it depends on that what follows.
            let is_seated = plugin.seats().iter().any(|seated| Arc::ptr_eq(seated, &seat));
            if is_seated && seat.is_armed(timer) {
                // What went wrong is logged, and asks the policy what follows.
                drop(plugin.start(&seat, false));
            }
        });
    }

    /// Leads calls to the sessions that take them.
    pub(crate) fn route(&self) {
        let _routing = self.routing.lock();
        let seats = self.seats();
        let running = seats.iter().filter(|seat| seat.state() == PluginState::Running);
        let sessions: Vec<Session<_>> = running.filter_map(|seat| Some(seat.instance()?.session.clone())).collect();
        self.slot.set_all(&sessions);
    }

    /// Starts the seats that sleep, for a call that waits for one.
    pub(crate) fn wake(self: &Arc<Self>) {
        let _in_transition = self.in_transition.lock();
        let asleep: Vec<_> = self.seats().into_iter().filter(|seat| seat.is_asleep()).collect();
        let results: Vec<_> = asleep.iter().map(|seat| self.start(seat, false)).collect();
        if !results.iter().any(Result::is_ok)
            && let Some(Err(error)) = results.into_iter().next()
        {
            self.slot.fail(&Status::new(Code::Unavailable, error.to_string()));
        } else if self.state() != PluginState::Running && !self.is_coming() {
            // Somebody else has decided meanwhile that it does not wake.
            self.slot.fail(&self.absence());
        }
    }
}
