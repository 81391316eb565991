//! A plugin over all its lives.

use std::any::Any;
use std::fmt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, ReentrantMutex};
use rapace_host_api::admin::LogLine;
use rapace_registry::MethodId;
use rapace_service::intercept::{MetricsSnapshot, SharedInterceptors};
use rapace_service::{Client, MethodInfo};
use rapace_session::{AsCaller, CallError, CallOptions, Caller, CallerSlot, PeerA, PeerState, Reply, Session};

use crate::absence::Absent;
use crate::breaker::BreakerState;
use crate::builder::Context;
use crate::changes::Changes;
use crate::crash::CrashReport;
use crate::ending::{Ending, ShutdownReport};
use crate::gate::{AtGate, PluginGate};
use crate::health::Health;
use crate::history::History;
use crate::instance::Instance;
use crate::lifecycle::{PluginEvent, PluginState, StateChange};
use crate::limits::{Enforcement, Usage};
use crate::look::look_after;
use crate::metrics::Ledger;
use crate::policy::Supervision;
use crate::sandbox::SandboxReport;
use crate::scope::PluginScope;
use crate::seat::{Passage, Seat};
use crate::spec::PluginSpec;
use crate::start::{StartCause, StartError};

/// A plugin of a host. Cheap to clone; all its methods may be called from many threads at once.
#[derive(Clone)]
pub struct PluginHandle(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) context: Arc<Context>,
    pub(crate) name: Arc<str>,
    /// Its name and its counts; what it may do is its version's.
    pub(crate) scope: PluginScope,
    /// Its processes; those of the present version, where one takes the place of another.
    pub(crate) seats: Mutex<Seats>,
    /// Leads to the sessions of those that take calls.
    pub(crate) slot: CallerSlot,
    /// Held while the slot is filled, so that what is in it is never older than the states.
    pub(crate) routing: Mutex<()>,
    pub(crate) gate: Arc<PluginGate>,
    /// What is counted of it.
    pub(crate) ledger: Ledger,
    pub(crate) changes: Changes,
    pub(crate) history: Arc<History>,
    /// Calls wait: the plugin is on its way.
    pub(crate) holds_calls: AtomicBool,
    /// What its present version has around the host's calls.
    pub(crate) around: SharedInterceptors,
    /// Its host has forgotten it.
    pub(crate) is_unloaded: AtomicBool,
    /// A call waits for what becomes of a process that takes no more of them.
    pub(crate) is_awaited: AtomicBool,
    /// Seats there have been.
    numbers: AtomicU32,
    /// Held by whoever starts the plugin or shuts it down, and by an observer who does so when it is told of that.
    pub(crate) in_transition: ReentrantMutex<()>,
    /// The last that goes.
    _ends: Ended,
}

/// Dropped, it waits until what the plugin has started has ended.
struct Ended(PluginScope);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ends().wait();
    }
}

pub(crate) struct Seats {
    pub(crate) spec: Arc<PluginSpec>,
    pub(crate) seats: Vec<Arc<Seat>>,
}

/// One process of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Which it is, counted from 0 over all reloads.
    pub number: u32,
    /// Where it is in its life.
    pub state: PluginState,
    /// Its process, while it runs.
    pub process_id: Option<u32>,
    /// How long it has run.
    pub uptime: Duration,
    /// Calls of the host that it has yet to answer.
    pub calls_in_flight: usize,
    /// What it is confined to, and what of that holds, while it runs; none for one that is trusted.
    pub sandbox: Option<SandboxReport>,
    /// By what it is held to the limits that the operating system can enforce, while it runs.
    pub enforcement: Option<Enforcement>,
}

impl AsCaller for PluginHandle {
    /// Calls whichever process of the plugin runs when a call is made, of several the one with the fewest calls.
    fn as_caller(&self) -> Caller {
        self.0.slot.caller()
    }

    fn built_in(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.spec().kind.built_in()
    }
}

impl PluginHandle {
    /// A plugin that is not started yet.
    pub(crate) fn new(context: &Arc<Context>, spec: PluginSpec) -> Self {
        let (context, name) = (Arc::clone(context), Arc::clone(&spec.name));
        let spec = Arc::new(spec.governed_by(&context.calls));
        let gate = PluginGate::new(Arc::clone(&name), spec.supervision.breaker);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| {
            let absent = Absent(Weak::clone(me));
            let slot = CallerSlot::gated(absent, AtGate(Arc::clone(&gate)));
            let around = SharedInterceptors::new();
            slot.put_around(around.around());
            let seats = Mutex::new(Seats { spec: Arc::clone(&spec), seats: Vec::new() });
            let (changes, holds_calls, numbers) = (Changes::default(), AtomicBool::new(false), AtomicU32::new(0));
            let scope = PluginScope::heard_by(Arc::clone(&name), &context.log_bell);
            Shared {
                _ends: Ended(scope.clone()),
                scope,
                context,
                history: Arc::default(),
                name,
                seats,
                slot,
                routing: Mutex::default(),
                gate,
                ledger: Ledger::default(),
                changes,
                holds_calls,
                around,
                is_unloaded: AtomicBool::new(false),
                is_awaited: AtomicBool::new(false),
                numbers,
                in_transition: ReentrantMutex::default(),
            }
        });
        shared.context.output.hear(&shared.scope);
        shared.context.attendance.spawn(look_after(Arc::downgrade(&shared), Arc::clone(&shared.gate)));
        shared.note_interceptors();
        shared.seats.lock().seats = shared.new_seats(&spec);
        shared.tell();
        Self(shared)
    }

    /// Starts all its processes. `is_trial`: whoever is told of a failure decides, rather than the policy.
    pub(crate) fn start(&self, is_trial: bool) -> Result<(), StartError> {
        let _in_transition = self.0.in_transition.lock();
        let results: Vec<_> = self.0.seats().iter().map(|seat| self.0.start(seat, is_trial)).collect();
        results.into_iter().collect()
    }

    /// Starts one that is kept, unless only people start it.
    pub(crate) fn start_kept(&self) {
        if !self.0.spec().is_by_hand {
            // It is logged, and the policy is asked.
            drop(self.start(false));
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it may do and use, in its present version, and how often it would have used more.
    pub fn scope(&self) -> PluginScope {
        self.0.ledger.present().iter().for_each(|life| life.settle());
        self.0.scope.of(&self.0.spec())
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// Where it is in its life, as far as anybody has noticed; of several processes, where the one is that is nearest to
    /// taking calls.
    pub fn state(&self) -> PluginState {
        self.0.notice_ends();
        self.0.state()
    }

    /// Its processes, and places that processes have had.
    pub fn instances(&self) -> Vec<InstanceInfo> {
        self.0.notice_ends();
        let info = |seat: &Arc<Seat>| {
            let instance = seat.instance();
            let of = |get: fn(&Instance) -> Duration| instance.as_deref().map(get).unwrap_or_default();
            InstanceInfo {
                number: seat.number,
                state: seat.state(),
                process_id: instance.as_ref().and_then(|instance| instance.pid),
                uptime: of(Instance::uptime),
                calls_in_flight: instance.as_ref().map_or(0, |instance| instance.session.stats().calls_in_flight),
                sandbox: instance.as_ref().and_then(|instance| instance.sandbox.clone()),
                enforcement: instance.as_ref().map(|instance| instance.enforcement()),
            }
        };
        self.0.seats().iter().map(info).collect()
    }

    /// What its processes use now; none when none of its own runs. Files of the kernel's are read for it.
    pub fn usage(&self) -> Option<Usage> {
        let usages: Vec<_> = self.0.ledger.present().iter().filter_map(|life| life.usage()).collect();
        (!usages.is_empty()).then(|| usages.into_iter().sum())
    }

    /// The id of its process, while it runs; of the first of several.
    pub fn process_id(&self) -> Option<u32> {
        self.0.instances().find_map(|(_, instance)| instance.pid)
    }

    /// Its session, while it runs; that of the first of several processes. A clone of it that is kept keeps the process too.
    pub fn session(&self) -> Option<Session<PeerA>> {
        self.0.instances().next().map(|(_, instance)| instance.session.clone())
    }

    /// What is known of its last crash, until it is restarted.
    pub fn crash(&self) -> Option<CrashReport> {
        self.0.notice_ends();
        self.0.seats().iter().find_map(|seat| seat.crash())
    }

    /// Its last crashes, at most eight, the last of them last. One that fails in its start counts if it had a session.
    pub fn crashes(&self) -> Vec<CrashReport> {
        self.0.notice_ends();
        self.0.history.crashes()
    }

    /// How often a process of it was started in the place of another, whoever wanted it so. A reload is no such start.
    pub fn restarts(&self) -> u64 {
        self.0.history.restarts()
    }

    /// The last lines that it has printed and logged over all its lives, at most so many: of 1000 lines, or 256 KiB.
    pub fn log_tail(&self, lines: usize) -> Vec<Arc<LogLine>> {
        self.0.scope.tail().last(lines, None)
    }

    /// How it is: whether it makes progress, or is gone; of several processes the one that is worst.
    pub fn peer_state(&self) -> PeerState {
        let rank = |state: &PeerState| match state {
            PeerState::Gone { .. } => 3,
            PeerState::Unresponsive { .. } => 2,
            PeerState::Alive => 1,
            _ => 0,
        };
        let judge = |(seat, instance): (Arc<Seat>, Arc<Instance>)| {
            let state = instance.session.peer_state();
            if let PeerState::Gone { .. } = state {
                self.0.died(&seat, &instance);
            }
            state
        };
        let worst = self.0.instances().map(judge).max_by_key(rank);
        worst.unwrap_or_else(|| PeerState::Gone { exit: self.crash().and_then(|crash| crash.exit) })
    }

    /// How well it does its work.
    pub fn health(&self) -> Health {
        let states = self.0.seats().iter().map(|seat| (seat.state(), seat.is_asleep())).collect::<Vec<_>>();
        let unresponsive = self
            .0
            .instances()
            .any(|(_, instance)| matches!(instance.session.peer_state(), PeerState::Unresponsive { .. }));
        let impaired = unresponsive || self.breaker().is_some_and(|breaker| breaker != BreakerState::Closed);
        Health::of_plugin(&states, impaired)
    }

    /// Whether it would take a call now: it runs, and its breaker lets calls through.
    pub fn is_ready(&self) -> bool {
        self.state() == PluginState::Running && self.breaker() != Some(BreakerState::Open)
    }

    /// Its breaker, if it has one.
    pub fn breaker(&self) -> Option<BreakerState> {
        self.0.gate.breaker()
    }

    /// Calls it and waits for its reply, serving its calls meanwhile. Its death ends the call at once.
    ///
    /// # Errors
    ///
    /// As [`Session::call`]; [`CallError::Refused`] when it does not run.
    pub fn call(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        let result = if self.0.around.is_empty() {
            self.as_caller().call_blocking(method, body, options)
        } else {
            Client::new(self).call_bytes(self.0.method(method), method, body, options)
        };
        if let Err(CallError::SessionEnded { .. }) = &result {
            self.0.notice_ends();
        }
        result
    }

    /// What was counted of its calls, and of those of clients to it, over all its versions; `None` if
    /// [nothing](crate::CallRules::metrics) is.
    pub fn call_metrics(&self) -> Option<MetricsSnapshot> {
        let calls = &self.0.spec().calls;
        calls.is_counted().then(|| self.0.scope.call_metrics().snapshot())
    }

    pub(crate) fn poll(&self) {
        self.peer_state();
    }

    /// Shuts it down: calls in flight end; the `shutdown` call, the end of the session, then patience, SIGTERM and SIGKILL as
    /// far as it takes them. `None` when it does not run; of several processes, the report of the one that was least willing.
    pub fn shutdown(&self) -> Option<ShutdownReport> {
        let _in_transition = self.0.in_transition.lock();
        self.shut_down()
    }

    fn shut_down(&self) -> Option<ShutdownReport> {
        let reports = self.0.seats().into_iter().filter_map(|seat| self.0.stop(&seat, false));
        reports.max_by_key(|report| match report.ending {
            Ending::Exited => u8::from(report.acknowledged.is_err()),
            Ending::Terminated => 2,
            Ending::Killed => 3,
        })
    }

    /// Kills its processes at once with SIGKILL, and says how the first ended; `None` when it does not run.
    pub fn kill(&self) -> Option<ExitStatus> {
        let kill = |(seat, instance): (Arc<Seat>, Arc<Instance>)| {
            tracing::warn!(plugin = %self.0.name, pid = instance.pid, "is killed, because somebody asked for it");
            let exit = instance.kill();
            self.0.died(&seat, &instance);
            exit
        };
        let exits: Vec<_> = self.0.instances().filter_map(kill).collect();
        exits.first().copied()
    }

    /// Starts it anew: other processes, other segments, nothing used again. If it runs, it is shut down first; calls wait
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// As [`PluginHost::load`](crate::PluginHost::load).
    pub fn restart(&self) -> Result<(), StartError> {
        let _in_transition = self.0.in_transition.lock();
        let held = self.0.hold_calls();
        self.shut_down();
        let seats = self.0.seats();
        seats.iter().for_each(|seat| seat.forget());
        let started = self.start(false);
        drop(held);
        started
    }
}

impl PluginHandle {
    /// Starts what of it does not run, by hand: past crashes are forgotten.
    pub(crate) fn start_anew(&self) -> Result<(), StartError> {
        let _in_transition = self.0.in_transition.lock();
        let seats = self.0.seats();
        seats.iter().filter(|seat| seat.instance().is_none()).for_each(|seat| seat.forget());
        self.start(false)
    }
}

impl Shared {
    /// Empty seats for a version of the plugin.
    pub(crate) fn new_seats(self: &Arc<Self>, spec: &Arc<PluginSpec>) -> Vec<Arc<Seat>> {
        let seat = |_| {
            let seat = Arc::new(Seat::new(self.numbers.fetch_add(1, Ordering::Relaxed), spec));
            let (plugin, instance) = (Arc::clone(&self.name), seat.number);
            self.changes.note(StateChange { plugin, instance, from: None, to: PluginState::Discovered });
            self.drive(&seat, PluginEvent::Verify, &mut Passage::default());
            seat
        };
        (0..spec.supervision.instances.get()).map(seat).collect()
    }

    pub(crate) fn spec(&self) -> Arc<PluginSpec> {
        Arc::clone(&self.seats.lock().spec)
    }

    /// Why it is never started again, if it is not.
    pub(crate) fn is_at_its_end(&self) -> Option<StartCause> {
        if self.is_unloaded.load(Ordering::SeqCst) {
            return Some(StartCause::Unloaded);
        }
        self.context.is_closed.load(Ordering::SeqCst).then_some(StartCause::HostShutDown)
    }

    /// Another version has taken the place of the one before: its rules hold for all clients, whenever they were made.
    pub(crate) fn note_interceptors(&self) {
        self.around.set(self.spec().calls.of_clients(&self.scope));
    }

    /// What the plugin says of a method.
    fn method(&self, id: u32) -> &'static MethodInfo {
        let known = || {
            let (_, instance) = self.instances().next()?;
            let registry = &instance.session.peer().registry;
            let (service, method) = registry.method(MethodId::explicit(id).ok()?)?;
            Some(MethodInfo::of_registry(service, method))
        };
        known().unwrap_or(&const { MethodInfo::UNKNOWN })
    }

    pub(crate) fn supervision(&self) -> Supervision {
        self.spec().supervision
    }

    pub(crate) fn seats(&self) -> Vec<Arc<Seat>> {
        self.seats.lock().seats.clone()
    }

    /// Those that run.
    pub(crate) fn instances(&self) -> impl Iterator<Item = (Arc<Seat>, Arc<Instance>)> {
        self.seats().into_iter().filter_map(|seat| seat.instance().map(|instance| (seat, instance)))
    }

    pub(crate) fn state(&self) -> PluginState {
        let nearness = |state: &PluginState| match state {
            PluginState::Running => 10,
            PluginState::Initializing => 9,
            PluginState::Connected => 8,
            PluginState::Draining => 7,
            PluginState::ShuttingDown => 6,
            PluginState::Backoff => 5,
            PluginState::Stopped => 4,
            PluginState::Verified => 3,
            PluginState::Crashed => 2,
            PluginState::Quarantined => 1,
            PluginState::Discovered => 0,
        };
        let seats = self.seats.lock();
        seats.seats.iter().map(|seat| seat.state()).max_by_key(nearness).unwrap_or(PluginState::Discovered)
    }

    /// Notices who has ended: whoever has seen a call fail by that finds the plugin in the state that tells why.
    fn notice_ends(self: &Arc<Self>) {
        for (seat, instance) in self.instances() {
            if instance.session.end().is_some() {
                self.died(&seat, &instance);
            }
        }
    }

    /// Tells the observer what there is to tell.
    pub(crate) fn tell(&self) {
        self.changes.tell(&|change| self.context.observe(change));
    }
}

impl fmt::Debug for PluginHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginHandle")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("process_id", &self.process_id())
            .finish()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Who looks after it learns that it is gone.
        self.gate.wake();
    }
}
