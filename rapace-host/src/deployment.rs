//! A host that runs what its configuration says: the plugins that it names, those that are found in its directories, and
//! those that come later.

mod errands;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use self::errands::Errands;
use crate::admin::{AdminPoint, AdminPointError};
use crate::attach::JoinPoint;
use crate::builder::{BuildError, PluginHostBuilder};
use crate::config::{HostConfig, PluginSettings, SettingsError};
use crate::discovery::{Description, Discovery, Found, PluginChange, Rejected, WatchError, Watcher};
use crate::escaped::Escaped;
use crate::host::PluginHost;
use crate::manifest::Manifest;
#[cfg(feature = "prometheus")]
use crate::metrics::MetricsEndpoint;
use crate::plugin::PluginHandle;
#[cfg(feature = "storage")]
use crate::services::storage::{Storage, StorageOpenError};
use crate::services::{Events, Logger};
use crate::socket_directory::{self, SocketDirectoryError};
use crate::spec::PluginSpec;

/// A running host that was made from a configuration. It is used as the [`PluginHost`] that it is.
pub struct Deployment {
    // Both are dropped before the host, so that nothing is loaded any more.
    admin: Option<AdminPoint>,
    watcher: Option<Watcher>,
    metrics: Option<Endpoint>,
    shared: Arc<Shared>,
    refused: Vec<Rejected>,
}

struct Shared {
    host: PluginHost,
    config: HostConfig,
    events: Events,
    join_points: Mutex<Vec<(String, JoinPoint)>>,
    errands: Errands<PluginChange>,
    #[cfg(feature = "storage")]
    storage: Option<Storage>,
}

/// Why a configuration does not make a host. A plugin that does not start is no such reason: it is logged, and its restart
/// policy is asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The host cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its directories cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The storage cannot be opened.
    #[cfg(feature = "storage")]
    #[error(transparent)]
    Storage(#[from] StorageOpenError),
    /// It has a section for what this host was built without.
    #[error("{section}: this host was built without the feature {section}")]
    NotBuilt {
        /// The section, which is the feature's name as well.
        section: &'static str,
    },
    /// No operator can connect.
    #[error("admin: {0}")]
    Admin(#[from] AdminPointError),
    /// Its metrics are not to be had where the configuration says.
    #[error("metrics: cannot listen at {listen}: {error}")]
    Metrics {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The directory of the sockets at which plugins join cannot be made, or others could replace them there.
    #[error("attach: {0}")]
    Attach(#[from] SocketDirectoryError),
}

#[cfg(feature = "prometheus")]
type Endpoint = MetricsEndpoint;
#[cfg(not(feature = "prometheus"))]
type Endpoint = std::convert::Infallible;

fn serve_metrics(host: &PluginHost, listen: SocketAddr) -> Result<Endpoint, DeployError> {
    #[cfg(feature = "prometheus")]
    let served = host.serve_metrics(listen);
    #[cfg(not(feature = "prometheus"))]
    let served = {
        let _ = host;
        Err(io::Error::new(io::ErrorKind::Unsupported, "this program was built without the feature `prometheus`"))
    };
    served.map_err(|error| DeployError::Metrics { listen, error })
}

/// Why one plugin is not there.
#[derive(Debug, Error)]
enum Absent {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Start(#[from] crate::start::StartError),
    #[error(transparent)]
    Reload(#[from] crate::reload::ReloadError),
}

impl PluginHostBuilder {
    /// Makes a host of this and what a configuration says, and runs its plugins: those that it names with a program, and
    /// those that are found. Plugins may use the host's log and its events ([`Logger`](crate::Logger), [`Events`]), where the
    /// builder's own services do not take their place. Its session configuration is not taken over: that is what the builder was made with, with
    /// [`HostConfig::session`] as a rule.
    ///
    /// ```no_run
    /// use rapace_host::{HostConfig, PluginHost};
    ///
    /// let config = HostConfig::from_file("host.toml")?;
    /// let host = PluginHost::builder(config.session()).deploy(config)?;
    /// let signals = host.end_signals()?;
    /// println!("{}: shutting down", signals.wait());
    /// host.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DeployError`].
    pub fn deploy(mut self, config: HostConfig) -> Result<Deployment, DeployError> {
        let events = self.events_or(&config.events);
        let (logger, served) = (Logger::new(), events.clone());
        let builder = self.offer(move |scope| logger.server(scope)).offer(move |scope| served.server(scope));
        #[cfg(not(feature = "storage"))]
        if config.storage.is_some() {
            return Err(DeployError::NotBuilt { section: "storage" });
        }
        #[cfg(feature = "storage")]
        let (builder, storage) = builder.with_storage(&config)?;
        let builder = builder.shutdown_times(config.shutdown).calls(config.calls.clone());
        let builder = builder.contracts(config.contracts.clone()).observe(config.metrics.observe());
        let host = builder.build()?;
        let metrics = config.metrics.listen.map(|listen| serve_metrics(&host, listen)).transpose()?;
        if let Some(path) = &config.attach {
            socket_directory::prepare(path)?;
        }
        let shared = Arc::new(Shared {
            host,
            config,
            events,
            join_points: Mutex::default(),
            errands: Errands::default(),
            #[cfg(feature = "storage")]
            storage,
        });
        let mut kept = Vec::new();
        for (name, plugin) in &shared.config.plugins {
            if let Some(program) = &plugin.program {
                kept.extend(shared.logged(name, shared.keep_named(name, PluginSpec::new(name, program))));
            }
        }
        let mut deployment = Deployment { admin: None, watcher: None, metrics, shared, refused: Vec::new() };
        kept.extend(deployment.discover()?);
        deployment.shared.host.start_kept(kept);
        deployment.open_to_operators()?;
        Ok(deployment)
    }
}

#[cfg(feature = "storage")]
impl PluginHostBuilder {
    /// Opens the storage, and offers it.
    fn with_storage(self, config: &HostConfig) -> Result<(Self, Option<Storage>), StorageOpenError> {
        let Some(config) = &config.storage else { return Ok((self, None)) };
        let storage = Storage::open(&config.path)?.shared_bytes(config.shared_bytes);
        Ok((self.storage(&storage), Some(storage)))
    }
}

impl Deployment {
    /// The configuration that it was made from.
    #[must_use]
    pub fn config(&self) -> &HostConfig {
        &self.shared.config
    }

    /// The host's events.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Where its metrics are to be had, if the configuration says that they are.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsEndpoint::address)
    }

    /// What is found in the directories and refused, with the reasons: at present, where they are watched, and else at the start.
    #[must_use]
    pub fn refused(&self) -> Vec<Rejected> {
        self.watcher.as_ref().map_or_else(|| self.refused.clone(), Watcher::refused)
    }

    /// Where plugins' values are kept, if that is configured.
    #[cfg(feature = "storage")]
    #[must_use]
    pub fn storage(&self) -> Option<&Storage> {
        self.shared.storage.as_ref()
    }

    fn open_to_operators(&mut self) -> Result<(), DeployError> {
        let Some(path) = &self.shared.config.admin.socket else { return Ok(()) };
        let shared = Arc::downgrade(&self.shared);
        let reload = move |_: &PluginHost, plugin: &PluginHandle| match shared.upgrade() {
            Some(shared) => shared.reload_from_file(plugin),
            None => Err("the host is gone".to_owned()),
        };
        self.admin = Some(self.shared.host.admin_with(path, Box::new(reload))?);
        Ok(())
    }

    /// Keeps what is found. Its order is that in which names and contracts are given away.
    fn discover(&mut self) -> Result<Vec<PluginHandle>, DeployError> {
        let Some(discovery) = self.shared.discovery() else { return Ok(Vec::new()) };
        let scan = if self.shared.config.discovery.watch {
            let shared = Arc::downgrade(&self.shared);
            let (watcher, scan) = Watcher::start(discovery, move |change| {
                if let Some(shared) = shared.upgrade() {
                    shared.follow(change);
                }
            })?;
            self.watcher = Some(watcher);
            scan
        } else {
            discovery.scan()
        };
        let keep = |found: &Found| self.shared.logged(&found.name, self.shared.keep_found(found));
        let kept = scan.found.iter().filter_map(keep).collect();
        // Misspelt, it would leave its plugin without the permissions and limits that it was meant to have.
        for (name, plugin) in &self.shared.config.plugins {
            if plugin.enabled && plugin.program.is_none() && !scan.found.iter().any(|found| found.name == *name) {
                tracing::warn!(plugin = name, "the configuration has a section for it, but no such plugin was found");
            }
        }
        // Of directories that are watched, the watcher knows.
        self.refused = scan.rejected;
        Ok(kept)
    }
}

impl Deref for Deployment {
    type Target = PluginHost;

    fn deref(&self) -> &PluginHost {
        &self.shared.host
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("host", &self.shared.host).field("refused", &self.refused()).finish()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        (self.admin, self.watcher, self.metrics) = (None, None, None);
        self.shared.join_points.lock().clear();
    }
}

impl Shared {
    /// What looks for plugins, if they are looked for.
    fn discovery(&self) -> Option<Discovery> {
        let config = &self.config.discovery;
        if !config.enabled || config.directories.is_empty() {
            return None;
        }
        let mut discovery = Discovery::new(&config.directories);
        discovery.recursive = config.recursive;
        Some(discovery)
    }

    /// Puts a plugin's program, as it is now, in the place of the one that runs: as it is found, or as the configuration names
    /// it; else as it was loaded.
    fn reload_from_file(&self, plugin: &PluginHandle) -> Result<(), String> {
        let name = plugin.name();
        let is_named = self.config.plugins.get(name).is_some_and(|plugin| plugin.program.is_some());
        let scan = self.discovery().filter(|_| !is_named).map(|discovery| discovery.scan());
        if let Some(found) = scan.iter().flat_map(|scan| &scan.found).find(|found| found.name == name) {
            return self.reload(found).map_err(|error| error.to_string());
        }
        let spec = (*plugin.0.spec()).clone();
        self.host.reload(plugin, spec).map_err(|error| error.to_string())
    }

    /// Something has changed in the directories.
    fn follow(self: &Arc<Self>, change: PluginChange) {
        let plugin = match &change {
            PluginChange::Added(found) | PluginChange::Changed(found) | PluginChange::Removed(found) => &found.name,
            // The watcher has logged it.
            PluginChange::Rejected(_) => return,
        };
        let plugin = plugin.clone();
        let (pending, is_first) = self.errands.push(&plugin, change);
        if is_first {
            let shared = Arc::clone(self);
            let see_to = move || shared.errands.see_to(&plugin, |change| shared.change(change));
            self.host.context.attendance.soon(see_to);
        }
        pending.wait();
    }

    fn change(&self, change: PluginChange) {
        match change {
            PluginChange::Added(found) => {
                if let Some(plugin) = self.logged(&found.name, self.keep_found(&found)) {
                    plugin.start_kept();
                }
            }
            PluginChange::Changed(found) => drop(self.logged(&found.name, self.reload(&found).map(Some))),
            PluginChange::Removed(found) => {
                tracing::info!(plugin = found.name, "its file is gone");
                self.join_points.lock().retain(|(name, _)| *name != found.name);
                self.host.unload(&found.name);
            }
            PluginChange::Rejected(_) => {}
        }
    }

    fn logged<T>(&self, plugin: &str, outcome: Result<Option<T>, Absent>) -> Option<T> {
        match outcome {
            Ok(outcome) => outcome,
            // Whoever reloads it has logged that.
            Err(Absent::Reload(_)) => None,
            Err(error) => {
                tracing::error!(plugin, %error, "is not loaded");
                None
            }
        }
    }

    fn keep_found(&self, found: &Found) -> Result<Option<PluginHandle>, Absent> {
        self.spec(found)?.map(|spec| self.keep(spec)).transpose()
    }

    fn reload(&self, found: &Found) -> Result<(), Absent> {
        let Some(spec) = self.spec(found)? else { return Ok(()) };
        match self.host.plugin(&found.name) {
            Some(plugin) => self.host.reload(&plugin, spec)?,
            None => self.keep(spec)?.start_kept(),
        }
        Ok(())
    }

    /// A plugin that the configuration names, with its program.
    fn keep_named(&self, name: &str, spec: PluginSpec) -> Result<Option<PluginHandle>, Absent> {
        let settings = self.settings(name, None)?;
        settings.enabled.then(|| self.keep(configured(spec, &settings))).transpose()
    }

    /// What was found, as it is loaded; none if it is not to be, or the configuration has another program for it.
    fn spec(&self, found: &Found) -> Result<Option<PluginSpec>, Absent> {
        let manifest = match &found.description {
            Description::Manifest(manifest) => Some(&**manifest),
            Description::Capabilities(_) => None,
        };
        let program = found.program.path().display().to_string();
        let program = Escaped(&program);
        tracing::info!(plugin = found.name, %program, manifest = manifest.is_some(), "found and verified");
        let settings = self.settings(&found.name, manifest)?;
        if !settings.enabled || settings.program.is_some() {
            tracing::info!(plugin = found.name, "is not loaded, by the configuration's word");
            return Ok(None);
        }
        let mut spec = configured(PluginSpec::verified(&found.name, found.program.clone()), &settings);
        let contracts = match &found.description {
            Description::Manifest(manifest) => {
                spec = manifest.provides.iter().fold(spec, |spec, (service, version)| spec.provides(service, *version));
                spec = manifest.requires.iter().fold(spec, |spec, (service, version)| spec.requires(service, *version));
                &manifest.contracts
            }
            Description::Capabilities(capabilities) => &capabilities.contracts,
        };
        for (contract, types) in contracts {
            spec = types.iter().fold(spec, |spec, of_type| spec.contract(contract, of_type));
        }
        Ok(Some(spec))
    }

    fn settings(&self, name: &str, manifest: Option<&Manifest>) -> Result<PluginSettings, SettingsError> {
        self.config.plugin(name, manifest, |variable| std::env::var(variable).ok())
    }

    /// A plugin that has yet to be started.
    fn keep(&self, spec: PluginSpec) -> Result<PluginHandle, Absent> {
        let plugin = self.host.enrol(spec)?;
        if let Some(directory) = &self.config.attach {
            let name = plugin.name().to_owned();
            match plugin.join_at(directory.join(format!("{name}.sock"))) {
                Ok(point) => self.join_points.lock().push((name, point)),
                Err(error) => tracing::error!(plugin = name, %error, "nobody can join it"),
            }
        }
        Ok(plugin)
    }
}

/// A plugin with what the configuration and its manifest come to.
fn configured(spec: PluginSpec, settings: &PluginSettings) -> PluginSpec {
    let spec = settings.args.iter().fold(spec, |spec, arg| spec.arg(arg));
    let spec = settings.env.iter().fold(spec, |spec, (name, value)| spec.env(name, value));
    let config = settings.config.as_ref().map(|config| config.to_string().into_bytes());
    let spec = spec.supervision(settings.supervision).config_data(config.unwrap_or_default());
    let spec = spec.limits(settings.limits.clone()).calls(settings.calls.clone());
    let spec = spec.require_sandbox(settings.require_sandbox);
    match &settings.permissions {
        Some(permissions) => spec.permissions(permissions.clone()),
        None => spec,
    }
}
