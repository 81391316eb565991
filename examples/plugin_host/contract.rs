//! What the host and its plugins agree on: the methods, their types, and the registry that describes them.
//!
//! With plugins in repositories of their own, this is the crate that they share with the host.

use postcard_schema::Schema;
use rapace::prelude::{Provider, Registry, Service, Version};
use rapace::registry::BuildError;
use rapace::{CallError, Code, IncomingCall, Reply, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Logger.log, of the host.
pub(crate) const LOG: u32 = 1000;
/// Storage.get, of the host.
pub(crate) const STORAGE_GET: u32 = 1001;
/// Storage.set, of the host.
pub(crate) const STORAGE_SET: u32 = 1002;
/// Events.subscribe, of the host; described, but not served yet.
pub(crate) const EVENTS_SUBSCRIBE: u32 = 1003;
/// The first call that a plugin gets.
pub(crate) const INITIALIZE: u32 = 2000;
/// The work of a plugin.
pub(crate) const PROCESS: u32 = 2001;
/// The last call that a plugin gets.
pub(crate) const SHUTDOWN: u32 = 2002;

#[derive(Clone, Copy, Debug, Serialize, Deserialize, Schema)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct LogRequest {
    pub(crate) level: LogLevel,
    pub(crate) message: String,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct GetRequest {
    pub(crate) key: String,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct GetResponse {
    pub(crate) value: Option<Vec<u8>>,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct SetRequest {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct HostEvent {
    pub(crate) topic: String,
    pub(crate) data: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct PluginConfig {
    pub(crate) plugin_id: u32,
    /// An [`AnalyticsConfig`] or a [`TransformConfig`].
    pub(crate) config_data: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AnalyticsConfig {
    pub(crate) window: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransformConfig {
    pub(crate) prefix: String,
    pub(crate) uppercase: bool,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct ProcessRequest {
    pub(crate) request_id: u64,
    pub(crate) operation: String,
    pub(crate) data: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize, Schema)]
pub(crate) struct ProcessResponse {
    pub(crate) request_id: u64,
    pub(crate) success: bool,
    pub(crate) result: Vec<u8>,
}

/// All services of both sides. Each side sends it in its hello, and refuses a peer whose registry contradicts it.
pub(crate) fn registry() -> Result<Registry, BuildError> {
    let host = Service::builder("rapace.HostServices", Version::new(1, 0), Provider::Host)
        .unary::<LogRequest, ()>("Logger.log", LOG)
        .unary::<GetRequest, GetResponse>("Storage.get", STORAGE_GET)
        .unary::<SetRequest, ()>("Storage.set", STORAGE_SET)
        .server_streaming::<(), HostEvent>("Events.subscribe", EVENTS_SUBSCRIBE);
    let plugin = Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin)
        .unary::<PluginConfig, ()>("initialize", INITIALIZE)
        .unary::<ProcessRequest, ProcessResponse>("process", PROCESS)
        .unary::<(), ()>("shutdown", SHUTDOWN);
    Registry::builder().service(host).service(plugin).build()
}

/// The bytes of a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Status> {
    postcard::to_stdvec(value).map_err(|error| Status::new(Code::Internal, error.to_string()))
}

/// The value in some bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Status> {
    let error = |error| Status::new(Code::InvalidArgument, format!("{} bytes do not decode: {error}", bytes.len()));
    postcard::from_bytes(bytes).map_err(error)
}

/// Answers a call with what `serve` makes of its argument.
pub(crate) fn answer<A: DeserializeOwned, R: Serialize>(
    call: IncomingCall,
    serve: impl FnOnce(&IncomingCall, A) -> Result<R, Status>,
) {
    let result = decode(call.body()).and_then(|argument| serve(&call, argument)).and_then(|result| encode(&result));
    match result {
        Ok(body) => call.reply(&body),
        Err(status) => call.fail(status),
    }
}

/// What came back from a call.
pub(crate) fn result<R: DeserializeOwned>(reply: Result<Reply, CallError>) -> Result<R, CallError> {
    decode(&reply?.body).map_err(CallError::Status)
}
