//! A plugin that is part of this program: the same services and the same clients, without a process.
//!
//! ```text
//!   ShoutClient --- direct.rs ----------------------> the implementation      typed: nothing is encoded
//!   Caller, DynamicClient --- session pair.rs ------> the implementation      bytes: as with a process
//! ```

mod pair;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rapace_core::socket::Socket;
use rapace_registry::{BuildError, Registry};
use rapace_session::{
    AsCaller, CallError, Caller, CallerSlot, Code, Config, Handler, Handshake, HandshakeError, IncomingCall, NoService,
    PeerB, Session, Status,
};

use crate::services::Services;
use pair::Pair;

/// A plugin that is part of this program. Cheap to clone.
///
/// Typed clients of it call the implementation itself: a call is a call of a function, nothing is encoded, and no thread is
/// changed. Whatever calls by bytes has a session with it, made when it is first asked for. The rest is as with a process:
/// interceptors, metadata, deadlines and cancellation; a handler that panics fails its call alone. In this a direct call
/// differs:
///
/// - It has no deadline but one that it was given, and what is ready when it is first polled is in time.
/// - A handler is polled by its caller's thread or task, and is within a tokio runtime if that is. When its call is
///   cancelled it is dropped where it stands, also one that asks for that.
/// - Items are made when they are asked for. Interceptors count no bytes.
#[derive(Clone)]
pub struct BuiltIn(Arc<Shared>);

/// What its clients have of it.
pub(crate) struct Shared {
    name: Arc<str>,
    version: String,
    registry: Registry,
    pub(crate) services: Arc<Services>,
    host: Host,
    closed: OnceLock<Status>,
    /// Leads to the session, as soon as there is one.
    slot: CallerSlot,
    pair: Mutex<Option<Pair>>,
}

/// The host's side.
struct Host {
    config: Config,
    name: Arc<str>,
    handler: Arc<dyn Handler>,
}

impl BuiltIn {
    /// A plugin of this name, with these services.
    ///
    /// # Errors
    ///
    /// When the services contradict each other, as [`Services::registry`] says.
    pub fn new(name: &str, version: impl Into<String>, services: Services) -> Result<Self, BuildError> {
        let registry = services.registry()?;
        let host = Host { config: Config::new("host", ""), name: "host".into(), handler: Arc::new(NoService) };
        Ok(Self::with(name.into(), version.into(), registry, Arc::new(services), host))
    }

    /// The same plugin, of this host: with the host's configuration, from which it has its name, and with what serves the
    /// plugin's calls. Clients of the plugin as it was before do not know of it.
    #[must_use]
    pub fn hosted_by(&self, config: Config, handler: impl Handler) -> Self {
        let Shared { name, version, registry, services, .. } = &*self.0;
        let host = Host { name: config.name.as_str().into(), config, handler: Arc::new(handler) };
        Self::with(Arc::clone(name), version.clone(), registry.clone(), Arc::clone(services), host)
    }

    fn with(name: Arc<str>, version: String, registry: Registry, services: Arc<Services>, host: Host) -> Self {
        let slot = CallerSlot::new(format!("the built-in plugin {name} has no session"));
        let (closed, pair) = Default::default();
        Self(Arc::new(Shared { name, version, registry, services, host, closed, slot, pair }))
    }

    /// Takes up a session with a host that offers one over this socket, served by the same services. Whoever has it attends
    /// to it.
    ///
    /// # Errors
    ///
    /// As [`Handshake::finish`].
    pub fn join(&self, socket: Socket) -> Result<Session<PeerB>, HandshakeError> {
        let services = Shareable(Arc::clone(&self.0.services) as Arc<dyn Handler>);
        Handshake::<PeerB>::accept(socket, self.0.config())?.finish(services)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// What it serves, and what it expects of its host.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// From now on every new call is refused with this reason, and its session ends. The first reason stays.
    pub fn close(&self, reason: &Status) {
        let _ = self.0.closed.set(reason.clone());
        if let Some(pair) = self.0.pair.lock().take() {
            pair.close(reason);
        }
    }

    /// Why it takes no more calls, if that is so.
    #[must_use]
    pub fn closed(&self) -> Option<&Status> {
        self.0.closed.get()
    }

    /// The plugin behind a handle, if it is built in.
    pub(crate) fn behind(peer: &impl AsCaller) -> Option<Arc<Shared>> {
        peer.built_in()?.downcast().ok()
    }
}

impl AsCaller for BuiltIn {
    /// Calls it by bytes, through a session that is there from now on. The caller does not keep it.
    fn as_caller(&self) -> Caller {
        self.0.connected();
        self.0.slot.caller()
    }

    fn built_in(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::clone(&self.0) as Arc<dyn Any + Send + Sync>)
    }

    /// None, and no session is made to find that out.
    fn interceptors(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}

impl Shared {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn host_name(&self) -> &Arc<str> {
        &self.host.name
    }

    /// Of its side of a session.
    fn config(&self) -> Config {
        Config { registry: self.registry.clone(), ..Config::new(&*self.name, &self.version) }
    }

    /// Refuses calls once it is closed.
    pub(crate) fn check_open(&self) -> Result<(), CallError> {
        match self.closed.get() {
            None => Ok(()),
            Some(reason) => Err(CallError::Refused { reason: reason.clone() }),
        }
    }

    /// The way to call it by bytes, if anybody has asked for that yet.
    pub(crate) fn slot(&self) -> Caller {
        self.slot.caller()
    }

    /// The way to call its host.
    pub(crate) fn host(&self) -> Caller {
        self.connected().unwrap_or_else(|| CallerSlot::new("the built-in plugin has no host").caller())
    }

    /// Sees to it that there is a session; gives the way from the plugin to its host.
    fn connected(&self) -> Option<Caller> {
        let mut pair = self.pair.lock();
        if pair.is_none() && self.closed.get().is_none() {
            let services = Shareable(Arc::clone(&self.services) as Arc<dyn Handler>);
            match Pair::open(
                self.host.config.clone(),
                Shareable(Arc::clone(&self.host.handler)),
                self.config(),
                services,
            ) {
                Ok(made) => {
                    self.slot.set(&made.host);
                    *pair = Some(made);
                }
                Err(error) => tracing::error!(plugin = &*self.name, %error, "a built-in plugin has no session"),
            }
        }
        pair.as_ref().map(|pair| pair.plugin.caller())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(pair) = self.pair.get_mut().take() {
            pair.close(&Status::new(Code::Unavailable, "the built-in plugin is gone"));
        }
    }
}

/// A handler that others have, too.
struct Shareable(Arc<dyn Handler>);

impl Handler for Shareable {
    fn handle(&self, call: IncomingCall) {
        self.0.handle(call);
    }

    fn registry(&self) -> Result<Registry, Status> {
        self.0.registry()
    }
}

impl fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltIn")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("services", &self.services)
            .field("closed", &self.closed.get())
            .finish_non_exhaustive()
    }
}
