//! Refuses a plugin the services of its host that it has no permission to call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rapace_registry::{Provider, Registry};
use rapace_session::{Code, Handler, IncomingCall, Status};

use crate::builder::BoxedHandler;
use crate::scope::PluginScope;

/// By which a plugin asks whether its host is there.
const PING: u32 = 2006;

/// The services of a plugin that is not trusted.
pub(crate) struct Permitted {
    services: BoxedHandler,
    /// By number, in their order.
    methods: Vec<(u32, Verdict)>,
    plugin: Arc<str>,
    refusals: AtomicU64,
}

enum Verdict {
    Allowed,
    /// The name of the method, with that of its service.
    Refused(String),
}

impl Permitted {
    /// What is left of services that are described like this; all, if the plugin is trusted.
    pub(crate) fn of(services: BoxedHandler, offered: &Registry, scope: &PluginScope) -> BoxedHandler {
        let Some(permissions) = scope.permissions() else { return services };
        let offered = offered.services().iter().filter(|service| service.provider() != Provider::Plugin);
        let of_service = |service: &rapace_registry::Service| {
            let is_allowed = permissions.allows_service(service.name());
            let verdict = |method: &rapace_registry::Method| {
                let name = || format!("{}.{}", service.name(), method.name());
                (method.id().get(), if is_allowed { Verdict::Allowed } else { Verdict::Refused(name()) })
            };
            service.methods().iter().map(verdict).collect::<Vec<_>>()
        };
        let mut methods: Vec<_> = offered.flat_map(of_service).collect();
        methods.sort_by_key(|(id, _)| *id);
        let (plugin, refusals) = (scope.name().into(), AtomicU64::new(0));
        BoxedHandler::of(Self { services, methods, plugin, refusals })
    }
}

impl Handler for Permitted {
    fn handle(&self, call: IncomingCall) {
        let found = self.methods.binary_search_by_key(&call.method(), |(id, _)| *id);
        let refused = match found.ok().and_then(|index| self.methods.get(index)) {
            Some((_, Verdict::Allowed)) => return self.services.handle(call),
            Some((_, Verdict::Refused(name))) => format!("{name} is not among what this plugin may call"),
            // Whether anybody is there may be asked by everybody.
            None if call.method() == PING => return self.services.handle(call),
            None => format!("no service that this plugin may call has a method {}", call.method()),
        };
        // A count that orders nothing; the more often it happens, the less often it is logged.
        let times = self.refusals.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if times.is_power_of_two() {
            tracing::warn!(plugin = %self.plugin, times, reason = refused, "a call is refused");
        }
        call.fail(Status::new(Code::PermissionDenied, refused));
    }

    fn registry(&self) -> Result<Registry, Status> {
        self.services.registry()
    }
}
