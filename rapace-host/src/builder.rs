//! What a host is made with.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rapace_core::{Geometry, GeometryError};
use rapace_registry::Registry;
use rapace_service::Service;
use rapace_session::{Config, Handler, IncomingCall, LimitError, NoService, Observe, Status};
use thiserror::Error;
use tokio::sync::Notify;

use crate::attendance::Attendance;
use crate::changes::Observer;
use crate::config::{CallsConfig, ContractConfig, EventsConfig};
use crate::host::PluginHost;
use crate::lifecycle::StateChange;
use crate::limits::Cgroups;
use crate::offers::Offers;
use crate::output::{Listener, OutputLine, OutputThread};
use crate::permitted::Permitted;
use crate::plugin_log::{LogEntry, LogListener};
use crate::scope::PluginScope;
#[cfg(feature = "storage")]
use crate::services::storage::Storage;
use crate::services::{Events, HostEvents};
use crate::starts::Starts;

/// How long a shutdown waits for each of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownTimes {
    /// For the calls in flight, before it. Default 5 s.
    pub drain: Duration,
    /// For the answer to the `shutdown` call. Default 5 s.
    pub acknowledge: Duration,
    /// For the end of the process, once its session is closed. Default 2 s.
    pub exit: Duration,
    /// For the end of the process behind SIGTERM; then comes SIGKILL. Default 2 s.
    pub terminate: Duration,
    /// At a reload with state to hand over, for the old version to give it, and for each process of the new one to take it. Calls
    /// wait meanwhile. Default 10 s.
    pub hand_over: Duration,
}

impl Default for ShutdownTimes {
    fn default() -> Self {
        let [drain, acknowledge, exit, terminate, hand_over] = [5, 5, 2, 2, 10].map(Duration::from_secs);
        Self { drain, acknowledge, exit, terminate, hand_over }
    }
}

/// Why a host could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A figure of the memory is out of bounds.
    #[error("configuration: {0}")]
    Geometry(#[from] GeometryError),
    /// A limit is out of bounds.
    #[error("configuration: {0}")]
    Limit(#[from] LimitError),
    /// A thread of the host could not be started.
    #[error("cannot start the thread that {purpose}: {error}")]
    Thread {
        /// What it is there for.
        purpose: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Any handler.
pub(crate) struct BoxedHandler(Box<dyn Handler>);

impl BoxedHandler {
    pub(crate) fn of(handler: impl Handler) -> Self {
        Self(Box::new(handler))
    }
}

impl Handler for BoxedHandler {
    fn handle(&self, call: IncomingCall) {
        self.0.handle(call);
    }

    fn registry(&self) -> Result<Registry, Status> {
        self.0.registry()
    }
}

/// Makes the handler for a plugin.
type Services = dyn Fn(&PluginScope) -> BoxedHandler + Send + Sync;

/// What all plugins of a host have in common.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) observe: Observe,
    services: Box<Services>,
    offers: Offers,
    observer: Box<Observer>,
    /// Who is told what happens, by the service of events.
    pub(crate) events: Option<HostEvents>,
    pub(crate) shutdown_times: ShutdownTimes,
    pub(crate) output: OutputThread,
    pub(crate) attendance: Attendance,
    pub(crate) contracts: BTreeMap<String, ContractConfig>,
    /// What is done around the calls of all plugins, and to them.
    pub(crate) calls: CallsConfig,
    pub(crate) cgroups: Cgroups,
    #[cfg(feature = "storage")]
    pub(crate) storage: Option<Storage>,
    /// Rung at each line of any plugin's log.
    pub(crate) log_bell: Arc<Notify>,
    pub(crate) starts: Starts,
    /// The host shuts down: nothing is started any more.
    pub(crate) is_closed: AtomicBool,
}

impl Context {
    /// Tells of a plugin's state.
    pub(crate) fn observe(&self, change: &StateChange) {
        if let Some(events) = &self.events {
            events.changed(change);
        }
        (self.observer)(change);
    }

    /// What serves a plugin, as far as it may call it, and what that is: what the host's configuration says or, if that says
    /// nothing, all that serves it; and what is offered beside that.
    ///
    /// # Errors
    ///
    /// When what serves it cannot be described.
    pub(crate) fn services_of(&self, scope: &PluginScope) -> Result<(BoxedHandler, Registry), Status> {
        let services = (self.services)(scope);
        let configured = &self.config.registry;
        let described = if configured.services().is_empty() { services.registry()? } else { configured.clone() };
        let (services, described) = self.offers.behind(services, described, scope);
        let permitted = Permitted::of(services, &described, scope);
        Ok((scope.calls.around(permitted, &described, scope), described))
    }
}

/// A host to be.
#[must_use]
pub struct PluginHostBuilder {
    config: Config,
    observe: Observe,
    services: Box<Services>,
    offers: Offers,
    observer: Box<Observer>,
    events: Option<Events>,
    listener: Box<Listener>,
    log_listener: Box<LogListener>,
    shutdown_times: ShutdownTimes,
    contracts: BTreeMap<String, ContractConfig>,
    calls: CallsConfig,
    cgroups: Cgroups,
    #[cfg(feature = "storage")]
    storage: Option<Storage>,
}

impl PluginHostBuilder {
    pub(crate) fn new(config: Config) -> Self {
        let (observer, listener) = (Box::new(|_: &StateChange| {}), Box::new(|_: &OutputLine<'_>| {}));
        let log_listener = Box::new(|_: &LogEntry<'_>| {});
        let shutdown_times = ShutdownTimes::default();
        let services = Box::new(|_: &PluginScope| BoxedHandler::of(NoService));
        let (offers, events, contracts, calls) = Default::default();
        let cgroups = Cgroups::own();
        Self {
            config,
            observe: Observe::Calls,
            services,
            offers,
            observer,
            events,
            listener,
            log_listener,
            shutdown_times,
            contracts,
            calls,
            cgroups,
            #[cfg(feature = "storage")]
            storage: None,
        }
    }

    /// What serves the calls of a plugin. It is asked anew for each process. By default nothing is served.
    ///
    /// Handlers run on whatever thread waits for that plugin, and else on one thread that attends to all plugins: one that
    /// has to wait does so in a future ([`IncomingCall::run_async`]), or on a thread of its own.
    pub fn services<H: Handler>(mut self, services: impl Fn(&PluginScope) -> H + Send + Sync + 'static) -> Self {
        self.services = Box::new(move |plugin: &PluginScope| BoxedHandler::of(services(plugin)));
        self
    }

    /// Offers plugins another service, beside those of [`services`](Self::services): one of the host's own, for example. It is
    /// made anew for each process. One of the same name, or with a method of its, takes its place if those services have it, or
    /// if it was offered before.
    pub fn offer<S: Service>(mut self, service: impl Fn(&PluginScope) -> S + Send + Sync + 'static) -> Self {
        self.offers.push(service);
        self
    }

    /// Offers plugins this storage, as [`offer`](Self::offer) does. The host's operator sees who has stored how much, and may
    /// have it removed.
    #[cfg(feature = "storage")]
    pub fn storage(mut self, storage: &Storage) -> Self {
        let offered = storage.clone();
        self.storage = Some(storage.clone());
        self.offer(move |plugin| offered.server(plugin))
    }

    /// Who is told of each state change, in their order, on the thread that makes it: a caller's, or one of the host's. It may use the plugin; one that
    /// restarts what has crashed sees the changes of that when it has returned.
    pub fn on_state(mut self, observer: impl Fn(&StateChange) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Publishes what happens in the host: plugins that are loaded, that end and that are configured anew, and the shutdown,
    /// which ends all subscriptions. These events are one host's alone.
    pub fn events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// The host's events, made by this configuration if there are none yet.
    pub(crate) fn events_or(&mut self, config: &EventsConfig) -> Events {
        self.events.get_or_insert_with(|| Events::new(config.clone())).clone()
    }

    /// Who is given each line that a plugin prints, beside the log. While it is busy, no plugin's output is read.
    pub fn on_output(mut self, listener: impl Fn(&OutputLine<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Box::new(listener);
        self
    }

    /// Who is given each record that a plugin writes to the [log's service](crate::Logger), beside the log, on the thread
    /// that serves the plugin; and, on that of the output, each word of the host's that so many lines of it were dropped.
    pub fn on_log(mut self, listener: impl Fn(&LogEntry<'_>) + Send + Sync + 'static) -> Self {
        self.log_listener = Box::new(listener);
        self
    }

    /// What is counted of calls, whatever the configuration of the sessions says. By default they are counted: who looks for what
    /// went wrong needs the counts from before, and they cost less than 3 % of a call. Without, a
    /// [snapshot](PluginHost::snapshot) has no methods.
    pub fn observe(mut self, observe: Observe) -> Self {
        self.observe = observe;
        self
    }

    /// How long a shutdown waits.
    pub fn shutdown_times(mut self, times: ShutdownTimes) -> Self {
        self.shutdown_times = times;
        self
    }

    /// How the plugins of contracts share their calls, by contract. Of one that is [exclusive](crate::Binding::Exclusive) a
    /// second plugin is refused.
    pub fn contracts(mut self, contracts: BTreeMap<String, ContractConfig>) -> Self {
        self.contracts = contracts;
        self
    }

    /// What is done around the calls of plugins, and around those to them: a log, a rate, a token, counts. What a plugin's
    /// [own](crate::PluginSpec::calls) say of it wins.
    pub fn calls(mut self, calls: CallsConfig) -> Self {
        self.calls = calls;
        self
    }

    /// Makes no cgroups. Of what limits a plugin's processes there remain those limits that each process has for itself: see
    /// [`Enforcement`](crate::Enforcement). By default the host divides its own cgroups where it can.
    pub fn without_cgroups(mut self) -> Self {
        self.cgroups = Cgroups::none();
        self
    }

    /// Checks the configuration and makes the host.
    ///
    /// # Errors
    ///
    /// A configuration out of bounds, before anything is made; or no threads.
    pub fn build(self) -> Result<PluginHost, BuildError> {
        Geometry::new(self.config.geometry)?;
        self.config.limits.check()?;
        let thread = |purpose| move |error| BuildError::Thread { purpose, error };
        let output =
            OutputThread::start(self.listener, self.log_listener).map_err(thread("reads what plugins print"))?;
        let attendance = Attendance::start().map_err(thread("attends to plugins"))?;
        let Self { config, observe, services, offers, observer, shutdown_times, .. } = self;
        let (contracts, calls, cgroups) = (self.contracts, self.calls, self.cgroups);
        let events = self.events.map(HostEvents::new);
        let is_closed = AtomicBool::new(false);
        Ok(PluginHost::new(Context {
            config,
            observe,
            services,
            offers,
            observer,
            events,
            shutdown_times,
            output,
            attendance,
            contracts,
            calls,
            cgroups,
            #[cfg(feature = "storage")]
            storage: self.storage,
            log_bell: Arc::default(),
            starts: Starts::default(),
            is_closed,
        }))
    }
}
