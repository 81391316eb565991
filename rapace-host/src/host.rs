//! A host and its plugins.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rapace_session::Config;

use crate::builder::{Context, PluginHostBuilder};
use crate::config::Binding;
use crate::ending::ShutdownReport;
use crate::health::Health;
use crate::plugin::PluginHandle;
use crate::reload::ReloadError;
use crate::spec::PluginSpec;
use crate::start::{StartCause, StartError};

/// Starts plugins and keeps them.
///
/// Dropped, with all its handles, it kills what still runs, at once or as soon as none of its threads looks at the plugin
/// any more; [`PluginHost::shutdown`] is the orderly way, and waits.
pub struct PluginHost {
    pub(crate) context: Arc<Context>,
    pub(crate) plugins: Arc<Mutex<Plugins>>,
}

/// A host that may be gone.
#[derive(Clone)]
pub(crate) struct WeakHost {
    context: Weak<Context>,
    plugins: Weak<Mutex<Plugins>>,
}

impl WeakHost {
    pub(crate) fn upgrade(&self) -> Option<PluginHost> {
        Some(PluginHost { context: self.context.upgrade()?, plugins: self.plugins.upgrade()? })
    }
}

#[derive(Default)]
pub(crate) struct Plugins {
    loaded: Vec<PluginHandle>,
    /// What is being loaded, or has only just been.
    claims: Vec<Arc<Claim>>,
}

/// What a plugin is the only one to have.
#[derive(Debug)]
struct Claim {
    name: Arc<str>,
    contracts: Vec<(String, String)>,
}

impl Plugins {
    pub(crate) fn loaded(&self) -> Vec<PluginHandle> {
        self.loaded.clone()
    }
}

impl PluginHost {
    /// A host whose sessions have this configuration: its name, its registry, its memory, its limits.
    pub fn builder(config: Config) -> PluginHostBuilder {
        PluginHostBuilder::new(config)
    }

    pub(crate) fn new(context: Context) -> Self {
        Self { context: Arc::new(context), plugins: Arc::default() }
    }

    pub(crate) fn downgrade(&self) -> WeakHost {
        WeakHost { context: Arc::downgrade(&self.context), plugins: Arc::downgrade(&self.plugins) }
    }

    /// Starts a plugin: its process, its session, its `initialize` call. A plugin that does not serve `initialize` has
    /// nothing to initialise. One that does not start is forgotten, whatever its restart policy.
    ///
    /// # Errors
    ///
    /// See [`StartCause`]. All of it together takes no longer than the start timeout of the host's configuration, for each
    /// process, and before that the time in which its program is verified.
    pub fn load(&self, spec: PluginSpec) -> Result<PluginHandle, StartError> {
        let loading = self.claim(&spec)?;
        let plugin = PluginHandle::new(&self.context, spec);
        if let Err(error) = plugin.start(true) {
            // Of several processes, some may have started.
            plugin.shutdown();
            return Err(error);
        }
        if !loading.keep(&plugin) {
            plugin.shutdown();
            return Err(StartError::new(&plugin.0.spec(), StartCause::HostShutDown));
        }
        Ok(plugin)
    }

    /// Keeps a plugin whether or not it starts: what follows is its restart policy's affair.
    ///
    /// # Errors
    ///
    /// When its name, or a type of a contract that it has, is taken.
    pub fn keep(&self, spec: PluginSpec) -> Result<PluginHandle, StartError> {
        let plugin = self.enrol(spec)?;
        plugin.start_kept();
        Ok(plugin)
    }

    /// Keeps a plugin that has yet to be started.
    pub(crate) fn enrol(&self, spec: PluginSpec) -> Result<PluginHandle, StartError> {
        let loading = self.claim(&spec)?;
        let plugin = PluginHandle::new(&self.context, spec);
        if !loading.keep(&plugin) {
            return Err(StartError::new(&plugin.0.spec(), StartCause::HostShutDown));
        }
        Ok(plugin)
    }

    /// Starts plugins that are kept, all at once, and waits until each has started or has failed to.
    pub(crate) fn start_kept(&self, plugins: Vec<PluginHandle>) {
        let (done, pending) = channel::<()>();
        for plugin in plugins {
            let done = done.clone();
            self.context.attendance.soon(move || {
                let _done = done;
                plugin.start_kept();
            });
        }
        drop(done);
        // Nobody sends anything: it ends with the last of them.
        let _ = pending.recv();
    }

    /// Puts another version in the place of a plugin, as [`PluginHandle::reload`] does, and with it the contracts of that.
    ///
    /// # Errors
    ///
    /// As [`PluginHandle::reload`], and when another plugin has one of its contracts.
    pub fn reload(&self, plugin: &PluginHandle, spec: PluginSpec) -> Result<(), ReloadError> {
        // Its claim changes with it.
        let _in_transition = plugin.0.in_transition.lock();
        let claim = Arc::new(Claim { name: Arc::clone(&spec.name), contracts: spec.contracts.clone() });
        let before = {
            let mut plugins = self.plugins.lock();
            let refused = |cause| {
                let error = StartError::new(&spec, cause);
                tracing::warn!(plugin = %spec.name, %error, "is not reloaded: the old version goes on");
                error
            };
            self.check_contracts(&claim, &plugins).map_err(refused)?;
            // One that was unloaded has no claim any more, though another of its name may.
            let is_loaded = plugins.loaded.iter().any(|loaded| Arc::ptr_eq(&loaded.0, &plugin.0));
            let own = plugins.claims.iter_mut().find(|other| is_loaded && *other.name == *plugin.name());
            let Some(own) = own else {
                drop(plugins);
                return plugin.reload(spec);
            };
            // Both are its own meanwhile.
            let both = own.contracts.iter().chain(&claim.contracts).cloned().collect();
            std::mem::replace(own, Arc::new(Claim { name: Arc::clone(&own.name), contracts: both }))
        };
        let reloaded = plugin.reload(spec);
        let after = if reloaded.is_ok() { claim } else { before };
        let mut plugins = self.plugins.lock();
        if let Some(own) = plugins.claims.iter_mut().find(|other| *other.name == *plugin.name()) {
            *own = after;
        }
        reloaded
    }

    /// Shuts a plugin down and forgets it; `None` when there is none of that name.
    pub fn unload(&self, name: &str) -> Option<PluginHandle> {
        let plugin = self.plugin(name)?;
        plugin.0.is_unloaded.store(true, Ordering::SeqCst);
        plugin.shutdown();
        tracing::info!(plugin = name, "is unloaded");
        let mut plugins = self.plugins.lock();
        // Another unload may have been faster, and have made room for another plugin of this name.
        if let Some(at) = plugins.loaded.iter().position(|loaded| Arc::ptr_eq(&loaded.0, &plugin.0)) {
            plugins.loaded.remove(at);
            plugins.claims.retain(|claim| &*claim.name != name);
        }
        Some(plugin)
    }

    fn claim(&self, spec: &PluginSpec) -> Result<Loading<'_>, StartError> {
        let claim = Claim { name: Arc::clone(&spec.name), contracts: spec.contracts.clone() };
        let mut plugins = self.plugins.lock();
        let taken = |cause| Err::<(), _>(StartError::new(spec, cause));
        if self.context.is_closed.load(Ordering::SeqCst) {
            taken(StartCause::HostShutDown)?;
        }
        if plugins.claims.iter().any(|other| other.name == claim.name) {
            taken(StartCause::NameTaken)?;
        }
        self.check_contracts(&claim, &plugins).or_else(taken)?;
        let claim = Arc::new(claim);
        plugins.claims.push(Arc::clone(&claim));
        drop(plugins);
        Ok(Loading { host: self, claim, kept: false })
    }

    /// Whether a plugin may have these contracts beside those that others have.
    fn check_contracts(&self, claim: &Claim, plugins: &Plugins) -> Result<(), StartCause> {
        let others = || plugins.claims.iter().filter(|other| other.name != claim.name);
        for (index, contract) in claim.contracts.iter().enumerate() {
            let by = others().find(|other| other.contracts.contains(contract)).map(|other| &other.name);
            let bound = self.context.contracts.get(&contract.0).map(|config| config.binding);
            let has_it = |other: &&Arc<Claim>| other.contracts.iter().any(|(name, _)| *name == contract.0);
            if bound == Some(Binding::Exclusive)
                && let Some(other) = others().find(has_it)
            {
                let (contract, by) = (contract.0.clone(), other.name.to_string());
                return Err(StartCause::ContractExclusive { contract, by });
            }
            let twice = claim.contracts[..index].contains(contract).then_some(&claim.name);
            if let Some(by) = by.or(twice) {
                let ((contract, of_type), by) = (contract.clone(), by.to_string());
                return Err(StartCause::ContractTaken { contract, of_type, by });
            }
        }
        Ok(())
    }

    /// The plugins, in the order in which they were loaded.
    pub fn plugins(&self) -> Vec<PluginHandle> {
        self.plugins.lock().loaded()
    }

    /// The plugin of that name.
    pub fn plugin(&self, name: &str) -> Option<PluginHandle> {
        self.plugins.lock().loaded.iter().find(|plugin| plugin.name() == name).cloned()
    }

    /// The plugins that say they serve a service of this name, in the order in which they were loaded. One that does not
    /// run says nothing.
    pub fn serving(&self, service: &str) -> Vec<PluginHandle> {
        let serves = |plugin: &PluginHandle| {
            let session = plugin.session();
            session.is_some_and(|session| session.peer().registry.service(service).is_some())
        };
        self.plugins().into_iter().filter(serves).collect()
    }

    /// The plugin that is this type of a contract, such as `json-processor` of `dataProcessor`.
    pub fn get(&self, contract: &str, of_type: &str) -> Option<PluginHandle> {
        let plugins = self.plugins.lock();
        let has =
            |claim: &&Arc<Claim>| claim.contracts.iter().any(|(c, t)| (c.as_str(), t.as_str()) == (contract, of_type));
        let name = &plugins.claims.iter().find(has)?.name;
        plugins.loaded.iter().find(|plugin| plugin.name() == &**name).cloned()
    }

    /// All plugins of a contract, with their types of it, in the order in which they were loaded.
    pub fn of_contract(&self, contract: &str) -> Vec<(String, PluginHandle)> {
        let plugins = self.plugins.lock();
        let mut found = Vec::new();
        for plugin in &plugins.loaded {
            let claim = plugins.claims.iter().find(|claim| *claim.name == *plugin.name());
            let contracts = claim.into_iter().flat_map(|claim| &claim.contracts);
            found.extend(
                contracts.filter(|(name, _)| name == contract).map(|(_, of_type)| (of_type.clone(), plugin.clone())),
            );
        }
        found
    }

    /// How well it does its work.
    pub fn health(&self) -> Health {
        Health::of_host(self.plugins().iter().map(|plugin| (plugin.health(), plugin.0.supervision().critical)))
    }

    /// Looks after all plugins once, without waiting, and notices who has ended. Their calls are served without it, by a
    /// thread of the host or by whoever waits for a reply.
    pub fn poll(&self) {
        self.plugins().iter().for_each(PluginHandle::poll);
    }

    /// Shuts all plugins down, the one that was loaded last first, and says how each of them ended that ran. From now on
    /// none is loaded.
    pub fn shutdown(&self) -> Vec<(Arc<str>, ShutdownReport)> {
        let plugins = self.plugins.lock();
        let is_first = !self.context.is_closed.swap(true, Ordering::SeqCst);
        let count = plugins.loaded.len();
        drop(plugins);
        if let Some(events) = &self.context.events {
            events.shut_down();
        }
        if is_first {
            tracing::info!(plugins = count, "the host shuts down");
        }
        let ended = |plugin: PluginHandle| Some((plugin.shared_name(), plugin.shutdown()?));
        let reports = self.plugins().into_iter().rev().filter_map(ended).collect();
        if is_first {
            tracing::info!("the host has shut down");
        }
        reports
    }
}

/// What a plugin has claimed while it is loaded.
struct Loading<'a> {
    host: &'a PluginHost,
    claim: Arc<Claim>,
    kept: bool,
}

impl Loading<'_> {
    /// The host has it from now on, unless it has shut down meanwhile; says which.
    fn keep(mut self, plugin: &PluginHandle) -> bool {
        let mut plugins = self.host.plugins.lock();
        if !self.host.context.is_closed.load(Ordering::SeqCst) {
            plugins.loaded.push(plugin.clone());
            self.kept = true;
        }
        drop(plugins);
        self.kept
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        // Also when an observer panics.
        if !self.kept {
            self.host.plugins.lock().claims.retain(|claim| !Arc::ptr_eq(claim, &self.claim));
        }
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.plugins()).finish()
    }
}
