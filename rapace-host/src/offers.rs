//! Services that a host offers its plugins beside those of its user: each is made for each process of a plugin.

use std::collections::BTreeSet;

use rapace_registry::{BuildError, MethodId, Registry};
use rapace_service::{MethodInfo, Service, Services};
use rapace_session::{Handler, IncomingCall, Status};

use crate::builder::BoxedHandler;
use crate::scope::PluginScope;

/// Adds a service for a plugin, unless one of its name is there, or one with a method of its.
type Offer = dyn Fn(&PluginScope, &Registry, Services) -> Services + Send + Sync;

/// All that is offered.
#[derive(Default)]
pub(crate) struct Offers(Vec<Box<Offer>>);

impl Offers {
    /// Offers this service, too.
    pub(crate) fn push<S: Service>(&mut self, service: impl Fn(&PluginScope) -> S + Send + Sync + 'static) {
        self.0.push(Box::new(move |scope, own, services| {
            let is_replaced = |method: &MethodInfo| {
                let is_offered = services.methods().any(|other| other.id == method.id);
                if own.service(method.service).is_some() || is_offered {
                    return true;
                }
                let other = MethodId::explicit(method.id).ok().and_then(|id| own.method(id));
                if let Some((service, _)) = other {
                    let (plugin, by) = (scope.name(), service.name());
                    let (method, id) = (method.full_name(), method.id);
                    tracing::warn!(plugin, %method, id, by, "a method is not offered: another one has its id");
                }
                other.is_some()
            };
            if S::METHODS.iter().any(is_replaced) { services } else { services.add(service(scope)) }
        }));
    }

    /// A user's services, described like this, and behind them those that they leave to be offered; with what describes all of
    /// them.
    pub(crate) fn behind(
        &self,
        own: BoxedHandler,
        described: Registry,
        scope: &PluginScope,
    ) -> (BoxedHandler, Registry) {
        let offered = self.0.iter().fold(Services::new(), |services, offer| offer(scope, &described, services));
        if offered.methods().next().is_none() {
            return (own, described);
        }
        let both = offered.registry().and_then(|more| joined(&[&described, &more]));
        match both {
            Ok(both) => {
                let methods = offered.methods().map(|method| method.id).collect();
                (BoxedHandler::of(Behind { own, offered, methods, described: both.clone() }), both)
            }
            Err(error) => {
                tracing::error!(plugin = scope.name(), %error, "the host's own services are not offered beside its user's");
                (own, described)
            }
        }
    }
}

/// A user's services, and behind them those that are offered.
struct Behind {
    own: BoxedHandler,
    offered: Services,
    methods: BTreeSet<u32>,
    described: Registry,
}

impl Handler for Behind {
    fn handle(&self, call: IncomingCall) {
        if self.methods.contains(&call.method()) { self.offered.handle(call) } else { self.own.handle(call) }
    }

    fn registry(&self) -> Result<Registry, Status> {
        Ok(self.described.clone())
    }
}

/// One registry of all these.
fn joined(registries: &[&Registry]) -> Result<Registry, BuildError> {
    let services = registries.iter().flat_map(|registry| registry.services());
    services.fold(Registry::builder(), |builder, service| builder.service(service.to_builder())).build()
}
