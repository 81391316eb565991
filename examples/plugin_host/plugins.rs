//! The two plugins. Each runs in a process of its own; in a program of their own, they would look the same.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use rapace::prelude::*;

use crate::contract::{
    AnalyticsConfig, GetRequest, GetResponse, INITIALIZE, LOG, LogLevel, LogRequest, PROCESS, PluginConfig,
    ProcessRequest, ProcessResponse, SHUTDOWN, STORAGE_GET, STORAGE_SET, SetRequest, TransformConfig, answer, decode,
    encode, registry, result,
};

/// How the program is run; whoever starts a plugin by hand is told so.
const HINT: &str = "cargo run --example plugin_host";
/// Where a plugin keeps its last result.
const CACHE_KEY: &str = "cache_key";

/// What a plugin does once it is configured: the result of an operation on some data.
trait Work: Send + Sync {
    fn process(&self, host: &Host<'_>, request: &ProcessRequest) -> Result<Vec<u8>, Status>;
}

/// Makes a plugin's work from its configuration, and says how it is configured.
type Configure = fn(&[u8]) -> Result<(Box<dyn Work>, String), Status>;

/// Runs the plugin of that name, if there is one.
pub(crate) fn run(name: &str) -> Option<ExitCode> {
    let configure: Configure = match name {
        "analytics" => Analytics::configure,
        "transform" => Transform::configure,
        _ => return None,
    };
    let code = rapace::plugin::run(|| {
        let config = Config { registry: registry()?, ..Config::new(name, env!("CARGO_PKG_VERSION")) };
        let plugin = Plugin::attach_with(config, HINT, |host| services(host, configure))?;
        Ok(plugin.serve()?)
    });
    Some(code)
}

fn services(host: HostHandle, configure: Configure) -> Router {
    let work: Arc<OnceLock<Box<dyn Work>>> = Arc::default();
    let configured = Arc::clone(&work);
    Router::new()
        .method(INITIALIZE, move |call| {
            answer(call, |call, config: PluginConfig| {
                check_registry(&host, call)?;
                let (work, summary) = configure(&config.config_data)?;
                Host(call).log(LogLevel::Info, format!("Configured as plugin {}: {summary}", config.plugin_id))?;
                let again = |_| Status::new(Code::FailedPrecondition, "initialize is called once");
                configured.set(work).map_err(again)
            })
        })
        .method(PROCESS, move |call| {
            answer(call, |call, request: ProcessRequest| {
                let host = Host(call);
                let unconfigured = || Status::new(Code::FailedPrecondition, "process comes behind initialize");
                let work = work.get().ok_or_else(unconfigured)?;
                host.log(LogLevel::Info, "Processing started".to_owned())?;
                let result = match &*request.operation {
                    "slow" => slow(&host)?,
                    _ => work.process(&host, &request)?,
                };
                Ok(ProcessResponse { request_id: request.request_id, success: true, result })
            })
        })
        .method(SHUTDOWN, |call| answer(call, |call, ()| Host(call).log(LogLevel::Info, "Cleaned up".to_owned())))
}

/// The handshake has found no contradiction; this says that the two registries are the same.
fn check_registry(host: &HostHandle, call: &IncomingCall) -> Result<(), Status> {
    let no_host = || Status::new(Code::Unavailable, "the host is gone");
    let theirs = host.session().ok_or_else(no_host)?.peer().registry.digest();
    let ours = registry().map_err(|error| Status::new(Code::Internal, error.to_string()))?.digest();
    if theirs != ours {
        return Err(Status::new(
            Code::FailedPrecondition,
            format!("the registry is {theirs}, but {ours} is known here"),
        ));
    }
    Host(call).log(LogLevel::Info, format!("Registry agrees, digest {ours}"))
}

/// Work that does not come to an end.
fn slow(host: &Host<'_>) -> Result<Vec<u8>, Status> {
    host.log(LogLevel::Warn, "Slow operation started".to_owned())?;
    loop {
        std::thread::park();
    }
}

/// The mean of the last numbers.
struct Analytics(AnalyticsConfig);

impl Analytics {
    fn configure(config: &[u8]) -> Result<(Box<dyn Work>, String), Status> {
        let config: AnalyticsConfig = decode(config)?;
        let summary = format!("mean of the last {} numbers", config.window);
        Ok((Box::new(Self(config)), summary))
    }
}

impl Work for Analytics {
    fn process(&self, host: &Host<'_>, request: &ProcessRequest) -> Result<Vec<u8>, Status> {
        if let Some(cached) = host.get(CACHE_KEY)? {
            host.log(LogLevel::Debug, "Answered from the cache".to_owned())?;
            return Ok(cached);
        }
        let numbers: Vec<u32> = decode(&request.data)?;
        let last = &numbers[numbers.len().saturating_sub(self.0.window)..];
        let mean = last.iter().copied().map(f64::from).sum::<f64>() / last.len() as f64;
        let result = mean.to_le_bytes().to_vec();
        host.set(CACHE_KEY, &result)?;
        Ok(result)
    }
}

/// A text, changed.
struct Transform(TransformConfig);

impl Transform {
    fn configure(config: &[u8]) -> Result<(Box<dyn Work>, String), Status> {
        let config: TransformConfig = decode(config)?;
        let summary = format!("prefix {:?}, uppercase {}", config.prefix, config.uppercase);
        Ok((Box::new(Self(config)), summary))
    }
}

impl Work for Transform {
    fn process(&self, host: &Host<'_>, request: &ProcessRequest) -> Result<Vec<u8>, Status> {
        // Not what analytics has put there: a namespace belongs to one plugin.
        host.get(CACHE_KEY)?;
        let text = String::from_utf8_lossy(&request.data);
        let text = if self.0.uppercase { text.to_uppercase() } else { text.into_owned() };
        let result = format!("{}{text}", self.0.prefix).into_bytes();
        host.set(CACHE_KEY, &result)?;
        Ok(result)
    }
}

/// The host's services, as called from within a call of the host.
struct Host<'a>(&'a IncomingCall);

impl Host<'_> {
    fn log(&self, level: LogLevel, message: String) -> Result<(), Status> {
        self.call(LOG, &LogRequest { level, message })
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Status> {
        let response: GetResponse = self.call(STORAGE_GET, &GetRequest { key: key.to_owned() })?;
        Ok(response.value)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Status> {
        self.call(STORAGE_SET, &SetRequest { key: key.to_owned(), value: value.to_owned() })
    }

    fn call<A: serde::Serialize, R: serde::de::DeserializeOwned>(
        &self,
        method: u32,
        argument: &A,
    ) -> Result<R, Status> {
        let reply = self.0.call_back(method, &encode(argument)?, &CallOptions::new());
        result(reply).map_err(|error| Status::new(error.code(), error.to_string()))
    }
}
