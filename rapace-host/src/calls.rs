//! What is put around the calls between the host and a plugin: a log, counts, a rate, a token.

mod limited;
mod logged;

use std::sync::Arc;

use rapace_registry::Registry;
use rapace_service::intercept::{CallSide, Intercepted, Interceptors, RateLimit};
use rapace_session::{Handler, IncomingCall, Status};

use crate::builder::BoxedHandler;
use crate::config::{CallLogging, CallRate, CallRules, CallsConfig, Switch, Token};
use crate::scope::PluginScope;
use limited::{Limited, Limits};
use logged::Logged;

/// By which a plugin that ends by itself asks whether its host has heard of that.
const PING: u32 = 2006;

/// What holds for the calls of a version of a plugin; all its processes share the rates.
#[derive(Default)]
pub(crate) struct PluginCalls {
    incoming: Parts,
    outgoing: Parts,
}

/// What is put around calls in one direction.
#[derive(Default)]
struct Parts {
    log: CallLogging,
    is_counted: bool,
    limits: Option<Arc<Limits>>,
    token: Option<Token>,
}

impl PluginCalls {
    pub(crate) fn new(rules: &CallsConfig) -> Self {
        Self { incoming: Parts::new(&rules.incoming), outgoing: Parts::new(&rules.outgoing) }
    }

    /// Around the calls of the plugin: the same handler, if there is nothing to be put around it.
    pub(crate) fn around(&self, services: BoxedHandler, described: &Registry, scope: &PluginScope) -> BoxedHandler {
        let interceptors = self.incoming.interceptors(scope, CallSide::Callee);
        if interceptors.is_empty() {
            return services;
        }
        BoxedHandler::of(Around(Intercepted::new(services, described, interceptors, scope.name())))
    }

    /// Around the host's calls to the plugin.
    pub(crate) fn of_clients(&self, scope: &PluginScope) -> Interceptors {
        self.outgoing.interceptors(scope, CallSide::Caller)
    }

    /// Whether calls are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.incoming.is_counted || self.outgoing.is_counted
    }
}

/// Services with interceptors around them.
struct Around(Intercepted<BoxedHandler>);

impl Handler for Around {
    fn handle(&self, call: IncomingCall) {
        match call.method() {
            // It is no news of the plugin's work, and any answer will do.
            PING => call.reply(b""),
            _ => self.0.handle(call),
        }
    }

    fn registry(&self) -> Result<Registry, Status> {
        self.0.registry()
    }
}

impl Parts {
    fn new(rules: &CallRules) -> Self {
        let on = |rate: &Switch<_>| match rate {
            Switch::Off => None,
            Switch::On(rate) => Some(*rate),
        };
        // What has been checked is a rate.
        let all = rules.rate.as_ref().and_then(on).and_then(|rate| rate.with_burst(rules.burst).ok());
        let of_method = |(name, rate): (&String, &CallRate)| {
            rate.with_burst(None).ok().map(|rate| (name.clone(), RateLimit::per_method(rate)))
        };
        let methods: Vec<_> = rules.methods.iter().filter_map(of_method).collect();
        let is_limited = all.is_some() || !methods.is_empty();
        Self {
            log: rules.log.unwrap_or_default(),
            is_counted: rules.metrics == Some(true),
            limits: is_limited.then(|| Arc::new(Limits { all: all.map(RateLimit::for_all), methods })),
            token: match &rules.token {
                Some(Switch::On(token)) => Some(token.clone()),
                Some(Switch::Off) | None => None,
            },
        }
    }

    /// In the order in which calls pass them: what is refused is logged and counted too.
    fn interceptors(&self, scope: &PluginScope, side: CallSide) -> Interceptors {
        let mut all = Interceptors::none();
        if self.log != CallLogging::None {
            all = all.with(Logged::new(scope.name(), self.log));
        }
        if self.is_counted {
            all = all.with(scope.call_metrics().clone());
        }
        if let Some(limits) = &self.limits {
            all = all.with(Limited::new(Arc::clone(limits), scope));
        }
        match (&self.token, side) {
            (None, _) => all,
            (Some(token), CallSide::Callee) => all.with(token.required()),
            (Some(token), CallSide::Caller) => all.with(token.sent()),
        }
    }
}
