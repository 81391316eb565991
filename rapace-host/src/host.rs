//! A host and its plugins.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rapace_session::Config;

use crate::builder::{Context, PluginHostBuilder};
use crate::ending::ShutdownReport;
use crate::plugin::PluginHandle;
use crate::spec::PluginSpec;
use crate::start::{StartCause, StartError};

/// Starts plugins and keeps them.
///
/// Dropped, with all its handles, it kills what still runs; [`PluginHost::shutdown`] is the orderly way.
pub struct PluginHost {
    context: Arc<Context>,
    plugins: Mutex<Plugins>,
}

#[derive(Default)]
struct Plugins {
    loaded: Vec<PluginHandle>,
    /// The names of those that are being loaded.
    loading: Vec<Arc<str>>,
}

impl PluginHost {
    /// A host whose sessions have this configuration: its name, its registry, its memory, its limits.
    pub fn builder(config: Config) -> PluginHostBuilder {
        PluginHostBuilder::new(config)
    }

    pub(crate) fn new(context: Context) -> Self {
        Self { context: Arc::new(context), plugins: Mutex::default() }
    }

    /// Starts a plugin: its process, its session, its `initialize` call. A plugin that does not serve `initialize` has
    /// nothing to initialise.
    ///
    /// # Errors
    ///
    /// See [`StartCause`]. All of it together takes no longer than the start timeout of the host's configuration.
    pub fn load(&self, spec: PluginSpec) -> Result<PluginHandle, StartError> {
        let name = Arc::clone(&spec.name);
        let mut plugins = self.plugins.lock();
        if plugins.loading.contains(&name) || plugins.loaded.iter().any(|plugin| plugin.name() == &*name) {
            return Err(StartError::new(&spec, StartCause::NameTaken));
        }
        plugins.loading.push(Arc::clone(&name));
        drop(plugins);
        // An observer that panics leaves the name free.
        let loading = Loading { host: self, name };
        let loaded = PluginHandle::load(&self.context, spec);
        if let Ok(plugin) = &loaded {
            self.plugins.lock().loaded.push(plugin.clone());
        }
        drop(loading);
        loaded
    }

    /// The plugins, in the order in which they were loaded.
    pub fn plugins(&self) -> Vec<PluginHandle> {
        self.plugins.lock().loaded.clone()
    }

    /// The plugin of that name.
    pub fn plugin(&self, name: &str) -> Option<PluginHandle> {
        self.plugins.lock().loaded.iter().find(|plugin| plugin.name() == name).cloned()
    }

    /// Looks after all plugins once, without waiting, and notices who has ended. Their calls are served without it, by a
    /// thread of the host or by whoever waits for a reply.
    pub fn poll(&self) {
        self.plugins().iter().for_each(PluginHandle::poll);
    }

    /// Shuts all plugins down, the one that was loaded last first, and says how each of them ended that ran.
    pub fn shutdown(&self) -> Vec<(Arc<str>, ShutdownReport)> {
        let ended = |plugin: PluginHandle| Some((plugin.shared_name(), plugin.shutdown()?));
        self.plugins().into_iter().rev().filter_map(ended).collect()
    }
}

/// A name that is taken while its plugin is loaded.
struct Loading<'a> {
    host: &'a PluginHost,
    name: Arc<str>,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.host.plugins.lock().loading.retain(|loading| *loading != self.name);
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.plugins()).finish()
    }
}
