//! The registry of a plugin host: the services of the host and of its plugins.
#![allow(dead_code, reason = "only the schemas of these types are looked at")]

use postcard_schema::Schema;
use rapace_registry::{Provider, Registry, Service, ServiceBuilder, Version};

#[derive(Schema)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Schema)]
pub(crate) struct LogRequest {
    level: LogLevel,
    message: String,
}

#[derive(Schema)]
pub(crate) struct GetRequest {
    key: String,
}

#[derive(Schema)]
pub(crate) struct GetResponse {
    value: Option<Vec<u8>>,
}

#[derive(Schema)]
pub(crate) struct SetRequest {
    key: String,
    value: Vec<u8>,
}

#[derive(Schema)]
pub(crate) struct HostEvent {
    topic: String,
    data: Vec<u8>,
}

#[derive(Schema)]
pub(crate) struct PluginConfig {
    plugin_id: u32,
    config_data: Vec<u8>,
}

#[derive(Schema)]
pub(crate) struct ProcessRequest {
    request_id: u64,
    operation: String,
    data: Vec<u8>,
}

#[derive(Schema)]
pub(crate) struct ProcessResponse {
    request_id: u64,
    success: bool,
    result: Vec<u8>,
}

pub(crate) fn host_services() -> ServiceBuilder {
    Service::builder("rapace.HostServices", Version::new(1, 0), Provider::Host)
        .unary::<LogRequest, ()>("Logger.log", 1000)
        .unary::<GetRequest, GetResponse>("Storage.get", 1001)
        .unary::<SetRequest, ()>("Storage.set", 1002)
        .server_streaming::<(), HostEvent>("Events.subscribe", 1003)
}

pub(crate) fn plugin() -> ServiceBuilder {
    Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin)
        .unary::<PluginConfig, ()>("initialize", 2000)
        .unary::<ProcessRequest, ProcessResponse>("process", 2001)
        .unary::<(), ()>("shutdown", 2002)
}

pub(crate) fn registry() -> Registry {
    Registry::builder().service(host_services()).service(plugin()).build().unwrap()
}
