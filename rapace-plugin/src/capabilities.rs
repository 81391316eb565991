//! What a program says of itself, to whoever wants to know before it runs.

use std::collections::{BTreeMap, BTreeSet};

use rapace_core::layout::PROTOCOL_MAJOR;
use rapace_registry::{Provider, Registry};
use serde::Serialize;
use serde_json::Value;

/// The answer to `PROGRAM capabilities`.
#[derive(Debug, Serialize)]
pub(crate) struct Capabilities<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) protocol: u16,
    pub(crate) services: Vec<Service<'a>>,
    /// The types of the plugin for each type of contract.
    pub(crate) contracts: &'a BTreeMap<String, Vec<String>>,
    pub(crate) config_schema: Option<Value>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Service<'a> {
    name: &'a str,
    version: String,
    provider: &'static str,
    methods: Vec<Method<'a>>,
}

#[derive(Debug, Serialize)]
struct Method<'a> {
    name: &'a str,
    id: u32,
    kind: String,
}

/// All services of a registry. Which side provides one is a matter of what this program serves, where either may.
pub(crate) fn services<'a>(registry: &'a Registry, served: &BTreeSet<&str>) -> Vec<Service<'a>> {
    let services = registry.services().iter().map(|service| Service {
        name: service.name(),
        version: service.version().to_string(),
        provider: match service.provider() {
            Provider::Plugin => "plugin",
            Provider::Either if served.contains(service.name()) => "plugin",
            Provider::Host | Provider::Either => "host",
        },
        methods: service
            .methods()
            .iter()
            .map(|method| Method { name: method.name(), id: method.id().get(), kind: method.kind().to_string() })
            .collect(),
    });
    services.collect()
}

impl Capabilities<'_> {
    /// The protocol that this crate speaks.
    pub(crate) const PROTOCOL: u16 = PROTOCOL_MAJOR;
}
