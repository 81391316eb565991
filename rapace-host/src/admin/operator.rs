//! What an operator is told and what is done for him: the service of the admin socket.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rapace_core::socket::PeerCredentials;
use rapace_host_api::admin::{
    Admin, AdminError, CallReply, CallRequest, HealthReport, LogItem, LogQuery, PluginDescription, PluginHealth,
    PluginStats, PluginSummary, RemoveRequest, StoredSummary,
};
use rapace_service::Stream;
use tokio::sync::{Semaphore, oneshot};

use super::Reload;
use super::call::call;
use super::describe::{description, health_state, summary};
use super::figures::stats;
use super::logs::LogStream;
use super::stored::{remove_stored, stored};
use crate::host::{PluginHost, WeakHost};
use crate::plugin::PluginHandle;

/// Actions that are done at once, for all operators; others wait. They share the threads that start and end plugins.
const ACTIONS_MAX: usize = 4;

/// What the operators of a host have in common.
pub(super) struct Operated {
    host: WeakHost,
    reload: Arc<Reload>,
    actions: Arc<Semaphore>,
}

impl Operated {
    pub(super) fn new(host: &PluginHost, reload: Box<Reload>) -> Self {
        Self { host: host.downgrade(), reload: reload.into(), actions: Arc::new(Semaphore::new(ACTIONS_MAX)) }
    }
}

/// One of them.
pub(super) struct Operator {
    operated: Arc<Operated>,
    who: PeerCredentials,
}

impl Operator {
    pub(super) fn new(operated: Arc<Operated>, who: PeerCredentials) -> Self {
        Self { operated, who }
    }

    fn host(&self) -> Result<PluginHost, AdminError> {
        let host = self.operated.host.upgrade();
        host.filter(|host| !host.context.is_closed.load(Ordering::SeqCst)).ok_or(AdminError::ShuttingDown)
    }

    fn plugin(&self, name: &str) -> Result<PluginHandle, AdminError> {
        self.host()?.plugin(name).ok_or_else(|| AdminError::UnknownPlugin { name: name.to_owned() })
    }

    /// Does something with a plugin that is there.
    async fn act<T: Send + 'static>(
        &self,
        action: &'static str,
        plugin: &str,
        act: impl FnOnce(&PluginHost, &PluginHandle) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let handle = self.plugin(plugin)?;
        self.act_on(action, plugin, move |host| act(host, &handle)).await
    }

    /// Does something with what is a plugin's on a thread that may block, to its end whoever still waits for that.
    async fn act_on<T: Send + 'static>(
        &self,
        action: &'static str,
        plugin: &str,
        act: impl FnOnce(&PluginHost) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let PeerCredentials { process_id, user_id } = self.who;
        let plugin = plugin.to_owned();
        tracing::info!(plugin, action, process_id, user_id, "an operator acts");
        let logged = move |host: &PluginHost| {
            let done = act(host);
            let error = done.as_ref().err().map(tracing::field::display);
            tracing::info!(plugin, action, process_id, user_id, error, "an operator has acted");
            done
        };
        self.on_a_thread(logged).await
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        act: impl FnOnce(&PluginHost) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let (ended, end) = oneshot::channel();
        let (weak, actions) = (self.operated.host.clone(), Arc::clone(&self.operated.actions));
        let task = async move {
            // It is never closed.
            let Ok(permit) = actions.acquire_owned().await else { return };
            let Some(host) = weak.upgrade() else { return };
            let context = Arc::clone(&host.context);
            context.attendance.soon(move || {
                let done = act(&host);
                drop(permit);
                // Nobody may wait for it any more.
                let _ = ended.send(done);
            });
        };
        self.host()?.context.attendance.spawn(task);
        end.await.unwrap_or(Err(AdminError::ShuttingDown))
    }
}

impl Admin for Operator {
    async fn list(&self) -> Vec<PluginSummary> {
        let plugins = self.host().map(|host| host.plugins()).unwrap_or_default();
        plugins.iter().map(summary).collect()
    }

    async fn about(&self, plugin: &str) -> Result<PluginDescription, AdminError> {
        Ok(description(&self.plugin(plugin)?))
    }

    async fn stats(&self, plugin: Option<String>) -> Result<Vec<PluginStats>, AdminError> {
        let plugins = match plugin {
            Some(name) => vec![self.plugin(&name)?],
            None => self.host()?.plugins(),
        };
        Ok(plugins.iter().map(stats).collect())
    }

    fn logs(&self, query: LogQuery) -> impl Stream<Item = Result<LogItem, AdminError>> {
        LogStream::new(&self.operated.host, query)
    }

    async fn call(&self, request: CallRequest) -> Result<CallReply, AdminError> {
        let PeerCredentials { process_id, user_id } = self.who;
        let plugin = self.plugin(&request.plugin)?;
        let (name, method) = (plugin.name().to_owned(), request.method.clone());
        tracing::info!(plugin = name, method, process_id, user_id, "an operator calls");
        let reply = call(&plugin, request).await;
        let error = reply.as_ref().err().map(tracing::field::display);
        tracing::info!(plugin = name, method, process_id, user_id, error, "an operator has called");
        reply
    }

    async fn stop(&self, plugin: &str) -> Result<String, AdminError> {
        let stop = |_: &PluginHost, plugin: &PluginHandle| {
            Ok(plugin.shutdown().map_or_else(|| "it did not run".to_owned(), |report| report.to_string()))
        };
        self.act("stop", plugin, stop).await
    }

    async fn start(&self, plugin: &str) -> Result<(), AdminError> {
        self.act("start", plugin, |_, plugin| plugin.start_anew().map_err(not_started)).await
    }

    async fn restart(&self, plugin: &str) -> Result<(), AdminError> {
        self.act("restart", plugin, |_, plugin| plugin.restart().map_err(not_started)).await
    }

    async fn reload(&self, plugin: &str) -> Result<(), AdminError> {
        let reload = Arc::clone(&self.operated.reload);
        let reload = move |host: &PluginHost, plugin: &PluginHandle| {
            reload(host, plugin).map_err(|problem| AdminError::NotReloaded { problem })
        };
        self.act("reload", plugin, reload).await
    }

    async fn health(&self) -> HealthReport {
        let host = self.host().ok();
        let plugins = host.as_ref().map(PluginHost::plugins).unwrap_or_default();
        let of_plugin = |plugin: &PluginHandle| PluginHealth {
            plugin: plugin.name().to_owned(),
            health: health_state(plugin.health()),
            is_ready: plugin.is_ready(),
            is_critical: plugin.0.supervision().critical,
        };
        let of_host = host.map_or(crate::health::Health::Unhealthy, |host| host.health());
        HealthReport { host: health_state(of_host), plugins: plugins.iter().map(of_plugin).collect() }
    }

    async fn stored(&self) -> Result<Vec<StoredSummary>, AdminError> {
        // It reads the disk.
        self.on_a_thread(stored).await
    }

    async fn remove_stored(&self, request: RemoveRequest) -> Result<StoredSummary, AdminError> {
        let plugin = request.plugin.clone();
        self.act_on("remove_stored", &plugin, move |host| remove_stored(host, &request)).await
    }
}

fn not_started(error: impl fmt::Display) -> AdminError {
    AdminError::NotStarted { problem: error.to_string() }
}
