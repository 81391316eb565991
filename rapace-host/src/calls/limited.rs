//! Refuses calls that come too often, and has that counted.

use std::sync::Arc;

use rapace_service::intercept::{CallSide, CallStart, Interceptor, RateLimit};
use rapace_session::Status;

use crate::scope::{Limit, PluginScope};

/// How often a plugin may be called, or may call.
pub(super) struct Limits {
    /// All methods together.
    pub(super) all: Option<RateLimit>,
    /// Single ones, by their full names.
    pub(super) methods: Vec<(String, RateLimit)>,
}

pub(super) struct Limited {
    limits: Arc<Limits>,
    scope: PluginScope,
}

impl Limited {
    pub(super) fn new(limits: Arc<Limits>, scope: &PluginScope) -> Self {
        Self { limits, scope: scope.clone() }
    }
}

impl Interceptor for Limited {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        let Limits { all, methods } = &*self.limits;
        let name = call.method().full_name();
        let of_method = methods.iter().find(|(method, _)| name.is(method)).map(|(_, limit)| limit);
        let refused = of_method.into_iter().chain(all).try_for_each(|limit| limit.begin(call));
        refused.inspect_err(|status| {
            // What the host does too often is no matter of the plugin's.
            if call.side() == CallSide::Callee {
                self.scope.overrun(Limit::CallRate, &status.message);
            }
        })
    }
}
