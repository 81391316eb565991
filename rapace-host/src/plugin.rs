//! A plugin over all its lives.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use parking_lot::{Mutex, ReentrantMutex};
use rapace_session::{
    AsCaller, CallError, CallOptions, Caller, CallerSlot, Code, PeerA, PeerState, Reply, Session, SessionEnd, Status,
};

use crate::builder::Context;
use crate::changes::Changes;
use crate::ending::{CrashReport, Ending, ShutdownReport};
use crate::instance::Instance;
use crate::spec::PluginSpec;
use crate::start::StartError;
use crate::state::{PluginEvent, PluginState, StateChange};

/// A plugin of a host. Cheap to clone; all its methods may be called from many threads at once.
#[derive(Clone)]
pub struct PluginHandle(Arc<Shared>);

struct Shared {
    context: Arc<Context>,
    spec: PluginSpec,
    life: Mutex<Life>,
    /// Leads to the session of the present life.
    caller: CallerSlot,
    changes: Changes,
    /// Held by whoever starts the plugin or shuts it down, and by an observer who does so when it is told of that.
    in_transition: ReentrantMutex<()>,
}

struct Life {
    state: PluginState,
    /// What runs; none once it has stopped or crashed.
    instance: Option<Arc<Instance>>,
    crash: Option<CrashReport>,
}

impl AsCaller for PluginHandle {
    /// Calls whichever process of the plugin runs when a call is made.
    fn as_caller(&self) -> Caller {
        self.0.caller.caller()
    }
}

impl PluginHandle {
    pub(crate) fn load(context: &Arc<Context>, spec: PluginSpec) -> Result<Self, StartError> {
        let instance = Arc::new(Instance::start(context, &spec)?);
        let state = PluginState::Connected;
        let change = StateChange { plugin: Arc::clone(&spec.name), from: None, to: state };
        let life = Mutex::new(Life { state, instance: Some(Arc::clone(&instance)), crash: None });
        let (context, changes, in_transition) = (Arc::clone(context), Changes::default(), ReentrantMutex::default());
        let caller = CallerSlot::new(format!("plugin {} does not run", spec.name));
        caller.set(&instance.session);
        let plugin = Self(Arc::new(Shared { context, spec, life, caller, changes, in_transition }));
        plugin.0.changes.note(change);
        plugin.0.changes.tell(&*plugin.0.context.observer);
        plugin.watch(&instance);
        plugin.initialize(&instance)?;
        Ok(plugin)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.spec.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.spec.name)
    }

    /// Where it is in its life, as far as anybody has noticed.
    pub fn state(&self) -> PluginState {
        self.0.life.lock().state
    }

    /// The id of its process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.instance().map(|instance| instance.pid)
    }

    /// Its session, while it runs. A clone of it that is kept keeps the process too.
    pub fn session(&self) -> Option<Session<PeerA>> {
        self.instance().map(|instance| instance.session.clone())
    }

    /// What is known of its last crash, until it is restarted.
    pub fn crash(&self) -> Option<CrashReport> {
        self.0.life.lock().crash.clone()
    }

    /// How it is: whether it makes progress, or is gone.
    pub fn peer_state(&self) -> PeerState {
        let Some(instance) = self.instance() else {
            let exit = self.crash().and_then(|crash| crash.exit);
            return PeerState::Gone { exit };
        };
        let state = instance.session.peer_state();
        if let PeerState::Gone { .. } = state {
            self.died(&instance);
        }
        state
    }

    /// Calls it and waits for its reply, serving its calls meanwhile. Its death ends the call at once.
    ///
    /// # Errors
    ///
    /// As [`Session::call`]; [`CallError::Refused`] when it does not run.
    pub fn call(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        let Some(instance) = self.instance() else {
            let text = format!("plugin {} is {}", self.name(), self.state());
            return Err(CallError::Refused { reason: Status::new(Code::Unavailable, text) });
        };
        let result = instance.session.call(method, body, options);
        if let Err(CallError::SessionEnded { end, .. }) = &result
            && **end != SessionEnd::Closed
        {
            self.died(&instance);
        }
        result
    }

    pub(crate) fn poll(&self) {
        self.peer_state();
    }

    /// Shuts it down: the `shutdown` call, the end of the session, then patience, SIGTERM and SIGKILL as far as it takes
    /// them. `None` when it does not run.
    pub fn shutdown(&self) -> Option<ShutdownReport> {
        let _in_transition = self.0.in_transition.lock();
        self.shut_down()
    }

    /// Kills its process at once with SIGKILL, and says how it ended; `None` when it does not run.
    pub fn kill(&self) -> Option<ExitStatus> {
        let instance = self.instance()?;
        let exit = instance.kill();
        self.died(&instance);
        exit
    }

    /// Starts it anew: another process, another segment, nothing used again. If it runs, it is shut down first.
    ///
    /// # Errors
    ///
    /// As [`PluginHost::load`](crate::PluginHost::load).
    pub fn restart(&self) -> Result<(), StartError> {
        let _in_transition = self.0.in_transition.lock();
        self.shut_down();
        let instance = Arc::new(Instance::start(&self.0.context, &self.0.spec)?);
        let fresh = Arc::clone(&instance);
        self.0.caller.set(&instance.session);
        self.apply(PluginEvent::Reconnected, |life| {
            life.instance = Some(fresh);
            life.crash = None;
        });
        self.watch(&instance);
        self.initialize(&instance)
    }

    /// Has the end of this life noticed when it comes, whoever waits for the plugin then.
    fn watch(&self, instance: &Arc<Instance>) {
        let (plugin, life) = (Arc::downgrade(&self.0), Arc::downgrade(instance));
        self.0.context.attendance.watch(&instance.session, move || {
            if let (Some(plugin), Some(life)) = (plugin.upgrade(), life.upgrade()) {
                Self(plugin).died(&life);
            }
        });
    }

    fn instance(&self) -> Option<Arc<Instance>> {
        self.0.life.lock().instance.clone()
    }

    fn initialize(&self, instance: &Arc<Instance>) -> Result<(), StartError> {
        self.apply(PluginEvent::Initialize, |_| {});
        instance.initialize(&self.0.context, &self.0.spec).inspect_err(|_| self.died(instance))?;
        self.apply(PluginEvent::Initialized, |_| {});
        Ok(())
    }

    fn shut_down(&self) -> Option<ShutdownReport> {
        let instance = self.instance()?;
        if !self.apply(PluginEvent::ShutDown, |_| {}) {
            return None;
        }
        let times = self.0.context.shutdown_times;
        let acknowledged = instance.call_shutdown(times.acknowledge);
        if let Err(error) = &acknowledged {
            tracing::warn!(plugin = self.name(), %error, "shutdown is not acknowledged");
        }
        instance.session.close(&Status::new(Code::Unavailable, "the host has shut the plugin down"));
        let (ending, exit) = instance.end(self.name(), times.exit, times.terminate);
        let report = ShutdownReport { acknowledged, ending, exit };
        tracing::info!(plugin = self.name(), %report, "shut down");
        if ending == Ending::Exited && !exit.is_some_and(|exit| exit.success()) {
            let crash = instance.crash_report();
            self.apply(PluginEvent::Died, |life| (life.instance, life.crash) = (None, Some(crash)));
        } else {
            self.apply(PluginEvent::Exited, |life| life.instance = None);
        }
        Some(report)
    }

    /// Somebody has noticed the end of this life.
    fn died(&self, instance: &Arc<Instance>) {
        // Whoever shuts it down gives it time, and says how it ended.
        let crashed = |life: &Life| {
            let is_current = life.instance.as_ref().is_some_and(|current| Arc::ptr_eq(current, instance));
            is_current && life.state != PluginState::ShuttingDown
        };
        if !crashed(&self.0.life.lock()) {
            return;
        }
        let report = instance.crash_report();
        let mut life = self.0.life.lock();
        if crashed(&life) && self.0.step(&mut life, PluginEvent::Died) {
            tracing::warn!(plugin = self.name(), pid = instance.pid, %report, "crashed");
            (life.instance, life.crash) = (None, Some(report));
        }
        drop(life);
        self.0.changes.tell(&*self.0.context.observer);
    }

    /// Makes a transition, with what it changes beside the state; says whether there is one.
    fn apply(&self, event: PluginEvent, change: impl FnOnce(&mut Life)) -> bool {
        let mut life = self.0.life.lock();
        let stepped = self.0.step(&mut life, event);
        if stepped {
            change(&mut life);
        }
        drop(life);
        self.0.changes.tell(&*self.0.context.observer);
        stepped
    }
}

impl Shared {
    fn step(&self, life: &mut Life, event: PluginEvent) -> bool {
        let Some(to) = life.state.after(event) else { return false };
        let from = Some(std::mem::replace(&mut life.state, to));
        self.changes.note(StateChange { plugin: Arc::clone(&self.spec.name), from, to });
        true
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
