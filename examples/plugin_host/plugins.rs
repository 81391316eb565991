//! The two plugins. Each runs in a process of its own; in a program of their own, they would look the same.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rapace::prelude::*;

use crate::contract::{
    AnalyticsConfig, GetRequest, HostEvent, HostServicesClient, LogLevel, LogRequest, PluginApi, PluginApiServer,
    PluginConfig, ProcessRequest, ProcessResponse, SetRequest, TransformConfig, registry,
};

/// How the program is run; whoever starts a plugin by hand is told so.
const HINT: &str = "cargo run --example plugin_host";
/// Where a plugin keeps its last result.
const CACHE_KEY: &str = "cache_key";

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What a plugin does once it is configured: the result of an operation on some data.
trait Work: Sized + Send + Sync + 'static {
    /// Makes it from its configuration, and says how it is configured.
    fn configure(config: &[u8]) -> Result<(Self, String)>;

    fn process(&self, host: &Host, request: &ProcessRequest) -> impl Future<Output = Result<Vec<u8>>> + Send;
}

/// Runs the plugin of that name, if there is one.
pub(crate) fn run(name: &str) -> Option<ExitCode> {
    match name {
        "analytics" => Some(run_worker::<Analytics>(name)),
        "transform" => Some(run_worker::<Transform>(name)),
        _ => None,
    }
}

fn run_worker<W: Work>(name: &str) -> ExitCode {
    rapace::plugin::run(|| {
        let config = Config { registry: registry()?, ..Config::new(name, env!("CARGO_PKG_VERSION")) };
        let plugin = Plugin::attach_with(config, HINT, |host| {
            Services::new().add(PluginApiServer::new(Worker::<W> { host: Host(host), work: Arc::default() }))
        })?;
        Ok(plugin.serve()?)
    })
}

struct Worker<W> {
    host: Host,
    /// Replaced when the host changes the configuration; calls finish with the one that they have begun with.
    work: Arc<Mutex<Option<Arc<W>>>>,
}

impl<W: Work> PluginApi for Worker<W> {
    async fn initialize(&self, config: PluginConfig) -> Result<(), String> {
        self.begin(config).await.map_err(|error| error.to_string())
    }

    async fn process(&self, ctx: &Context, request: ProcessRequest) -> ProcessResponse {
        let outcome = match &*request.operation {
            "slow" => self.slow(ctx).await,
            _ => self.work(&request).await,
        };
        let success = outcome.is_ok();
        let result = outcome.unwrap_or_else(|error| error.to_string().into_bytes());
        ProcessResponse { request_id: request.request_id, success, result }
    }

    async fn shutdown(&self) {
        // The host shuts down, whether or not it takes this line.
        let _ = self.host.log(LogLevel::Info, "Cleaned up").await;
    }
}

impl<W: Work> Worker<W> {
    async fn begin(&self, config: PluginConfig) -> Result<()> {
        self.host.check_registry().await?;
        self.configure(&config).await?;
        let mut events = self.host.services().subscribe().await?;
        // Ready means that nothing is missed from now on.
        events.next().await.ok_or("the host has no events")??;
        let worker = Self { host: self.host.clone(), work: Arc::clone(&self.work) };
        thread::spawn(move || worker.watch(config.plugin_id, events));
        Ok(())
    }

    async fn configure(&self, config: &PluginConfig) -> Result<()> {
        let (work, summary) = W::configure(&config.config_data)?;
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(work));
        self.host.log(LogLevel::Info, format!("Configured as plugin {}: {summary}", config.plugin_id)).await
    }

    /// Logs what happens in the host, and takes new configurations, until the host is gone.
    fn watch(&self, plugin_id: u32, mut events: Incoming<HostEvent>) -> Result<()> {
        self.host.0.as_caller().block_on(async {
            while let Some(event) = events.next().await {
                let event = event?;
                let line = format!("Event: {event}");
                if let HostEvent::ConfigUpdated { plugin_id: of, config_data } = event
                    && of == plugin_id
                    && let Err(error) = self.configure(&PluginConfig { plugin_id, config_data }).await
                {
                    self.host.log(LogLevel::Error, format!("Configured as before: {error}")).await?;
                }
                self.host.log(LogLevel::Info, line).await?;
            }
            Ok(())
        })?
    }

    async fn work(&self, request: &ProcessRequest) -> Result<Vec<u8>> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let work = work.ok_or("process comes behind initialize")?;
        self.host.log(LogLevel::Info, "Processing started").await?;
        work.process(&self.host, request).await
    }

    /// Work that does not come to an end by itself.
    async fn slow(&self, ctx: &Context) -> Result<Vec<u8>> {
        self.host.log(LogLevel::Info, "Processing started").await?;
        self.host.log(LogLevel::Warn, "Slow operation started").await?;
        ctx.cancelled().await;
        Err("nobody waits for the slow operation any more".into())
    }
}

/// The mean of the last numbers.
struct Analytics(AnalyticsConfig);

impl Work for Analytics {
    fn configure(config: &[u8]) -> Result<(Self, String)> {
        let config: AnalyticsConfig = postcard::from_bytes(config)?;
        let summary = format!("mean of the last {} numbers", config.window);
        Ok((Self(config), summary))
    }

    async fn process(&self, host: &Host, request: &ProcessRequest) -> Result<Vec<u8>> {
        if let Some(cached) = host.get(CACHE_KEY).await? {
            host.log(LogLevel::Debug, "Answered from the cache").await?;
            return Ok(cached);
        }
        let numbers: Vec<u32> = postcard::from_bytes(&request.data)?;
        let last = &numbers[numbers.len().saturating_sub(self.0.window)..];
        let mean = last.iter().copied().map(f64::from).sum::<f64>() / last.len() as f64;
        let result = mean.to_le_bytes().to_vec();
        host.set(CACHE_KEY, &result).await?;
        Ok(result)
    }
}

/// A text, changed.
struct Transform(TransformConfig);

impl Work for Transform {
    fn configure(config: &[u8]) -> Result<(Self, String)> {
        let config: TransformConfig = postcard::from_bytes(config)?;
        let summary = format!("prefix {:?}, uppercase {}", config.prefix, config.uppercase);
        Ok((Self(config), summary))
    }

    async fn process(&self, host: &Host, request: &ProcessRequest) -> Result<Vec<u8>> {
        // Not what analytics has put there: a namespace belongs to one plugin.
        host.get(CACHE_KEY).await?;
        let text = String::from_utf8_lossy(&request.data);
        let text = if self.0.uppercase { text.to_uppercase() } else { text.into_owned() };
        let result = format!("{}{text}", self.0.prefix).into_bytes();
        host.set(CACHE_KEY, &result).await?;
        Ok(result)
    }
}

/// The host and its services.
#[derive(Clone)]
struct Host(HostHandle);

impl Host {
    fn services(&self) -> HostServicesClient {
        HostServicesClient::new(&self.0)
    }

    async fn log(&self, level: LogLevel, message: impl Into<String>) -> Result<()> {
        let request = LogRequest { level, message: message.into() };
        Ok(self.services().log(request).await?)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.services().get(GetRequest { key: key.to_owned() }).await?.value)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let request = SetRequest { key: key.to_owned(), value: value.to_owned() };
        Ok(self.services().set(request).await?)
    }

    /// A method that differs would be refused when it is called; here the two registries have to be the same.
    async fn check_registry(&self) -> Result<()> {
        let theirs = self.0.session().ok_or("the host is gone")?.peer().registry.digest();
        let ours = registry()?.digest();
        if theirs != ours {
            return Err(format!("the registry is {theirs}, but {ours} is known here").into());
        }
        self.log(LogLevel::Info, format!("Registry agrees, digest {ours}")).await
    }
}
