//! Plugins in words.

use std::time::Duration;

use rapace_host_api::admin::{
    CrashSummary, HealthState, InstanceBounds, InstanceSummary, MethodSummary, PluginDescription, PluginSummary,
    ServiceSummary,
};
use rapace_registry::{Method, Provider, Registry, Service};
use serde::Serialize;

use crate::breaker::BreakerState;
use crate::crash::CrashReport;
use crate::ending::beginning;
use crate::health::Health;
use crate::log_tail::unix_ms;
use crate::plugin::{InstanceInfo, PluginHandle};

/// Characters of a method's signature, which is the plugin's word.
const SIGNATURE_CHARS_MAX: usize = 500;

pub(super) fn health_state(health: Health) -> HealthState {
    match health {
        Health::Healthy => HealthState::Healthy,
        Health::Degraded => HealthState::Degraded,
        Health::Unhealthy => HealthState::Unhealthy,
    }
}

pub(super) fn summary(plugin: &PluginHandle) -> PluginSummary {
    let instance = |instance: InstanceInfo| InstanceSummary {
        number: instance.number,
        state: instance.state.to_string(),
        process_id: instance.process_id,
        uptime_ms: millis(instance.uptime),
        calls_in_flight: wide(instance.calls_in_flight),
    };
    PluginSummary {
        name: plugin.name().to_owned(),
        state: plugin.state().to_string(),
        health: health_state(plugin.health()),
        instances: plugin.instances().into_iter().map(instance).collect(),
        restarts: plugin.restarts(),
        crashes: plugin.0.history.crash_count(),
    }
}

pub(super) fn description(plugin: &PluginHandle) -> PluginDescription {
    let spec = plugin.0.spec();
    let session = plugin.session();
    let registry = session.as_ref().map(|session| &session.peer().registry);
    let breaker = |state| match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half open",
    };
    PluginDescription {
        summary: summary(plugin),
        program: spec.kind.describe(),
        services: registry.map(services).unwrap_or_default(),
        registry: registry.map(Registry::to_bytes).unwrap_or_default(),
        permissions: spec.permissions.as_deref().map(json),
        limits: json(&*spec.limits),
        supervision: format!("{:?}", spec.supervision),
        breaker: plugin.breaker().map(|state| breaker(state).to_owned()),
        crashes: plugin.crashes().iter().map(crash).collect(),
        bounds: plugin.instances().into_iter().filter_map(bounds).collect(),
    }
}

fn services(registry: &Registry) -> Vec<ServiceSummary> {
    let method = |method: &Method| MethodSummary {
        id: method.id().get(),
        name: method.name().to_owned(),
        signature: beginning(&method.signature(), SIGNATURE_CHARS_MAX),
    };
    let service = |service: &Service| ServiceSummary {
        name: service.name().to_owned(),
        version: service.version().to_string(),
        methods: service.methods().iter().map(method).collect(),
    };
    registry.services().iter().filter(|service| service.provider() != Provider::Host).map(service).collect()
}

/// What one that runs is held by.
fn bounds(instance: InstanceInfo) -> Option<InstanceBounds> {
    let enforcement = instance.enforcement?.to_string();
    Some(InstanceBounds {
        number: instance.number,
        sandbox: instance.sandbox.map(|sandbox| sandbox.to_string()),
        enforcement: (!enforcement.is_empty()).then_some(enforcement),
    })
}

fn crash(report: &CrashReport) -> CrashSummary {
    CrashSummary { unix_ms: unix_ms(report.time), process_id: report.process_id, report: report.to_string() }
}

fn json(value: &impl Serialize) -> String {
    // They are structs of texts and numbers.
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
