//! What the parts of a plugin are given.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rapace_session::{AsCaller, Caller};

use crate::host::HostHandle;
use crate::life::Life;
use crate::stop::Stopped;

/// A plugin's way to its host, its configuration, and the word that it is to stop. Cheap to clone.
pub struct PluginContext<C = ()> {
    pub(crate) life: Arc<Life>,
    pub(crate) config: Arc<C>,
}

impl<C> PluginContext<C> {
    /// The host. Typed clients are made of it, or of the context itself.
    #[must_use]
    pub fn host(&self) -> &HostHandle {
        &self.life.host
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &C {
        &self.config
    }

    /// Whether the plugin is to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.life.stop.is_said()
    }

    /// Ready when the plugin is to stop, on any executor.
    pub fn stopped(&self) -> Stopped {
        Stopped::new(Arc::clone(&self.life))
    }

    /// Blocks until the plugin is to stop.
    pub fn wait_stopped(&self) {
        self.life.stop.wait(None);
    }

    /// Blocks until the plugin is to stop, or the time is over; says whether it is to stop.
    #[must_use]
    pub fn wait_stopped_for(&self, time: Duration) -> bool {
        self.life.stop.wait(Some(time))
    }

    /// Says that work is in progress until the guard is dropped: the plugin is not idle, and a shutdown waits for it.
    pub fn work(&self) -> Work {
        self.life.activity.begin_work();
        Work { life: Arc::clone(&self.life) }
    }

    /// A layer of `tracing` that sends what the program tells to the host's log: `rapace.Logger`, which the host has to
    /// serve. It never waits for the host: what does not fit into its queue is dropped, and the host is told how much.
    ///
    /// ```no_run
    /// use rapace_plugin::PluginMain;
    /// use tracing_subscriber::filter::LevelFilter;
    /// use tracing_subscriber::layer::SubscriberExt as _;
    ///
    /// let main = PluginMain::new("told", "1.0.0").setup(|ctx| {
    ///     let subscriber = tracing_subscriber::registry().with(LevelFilter::INFO).with(ctx.log_layer()?);
    ///     tracing::subscriber::set_global_default(subscriber)?;
    ///     Ok(())
    /// });
    /// # drop(main);
    /// ```
    ///
    /// # Errors
    ///
    /// When the thread that sends cannot be started.
    #[cfg(feature = "tracing")]
    pub fn log_layer(&self) -> std::io::Result<crate::log::LogLayer> {
        self.life.log.layer(self.host())
    }

    pub(crate) fn without_config(&self) -> PluginContext {
        PluginContext { life: Arc::clone(&self.life), config: Arc::default() }
    }
}

impl<C> Clone for PluginContext<C> {
    fn clone(&self) -> Self {
        Self { life: Arc::clone(&self.life), config: Arc::clone(&self.config) }
    }
}

impl<C> AsCaller for PluginContext<C> {
    /// Calls the host.
    fn as_caller(&self) -> Caller {
        self.host().as_caller()
    }
}

impl<C> fmt::Debug for PluginContext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginContext").field("life", &self.life).finish_non_exhaustive()
    }
}

/// Work in progress, until it is dropped.
#[must_use = "the work ends when this is dropped"]
#[derive(Debug)]
pub struct Work {
    life: Arc<Life>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.life.activity.end_work();
    }
}
