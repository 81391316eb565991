//! Interceptors around any handler.

use std::fmt;
use std::sync::Arc;

use rapace_registry::{Registry, Service};
use rapace_session::{Handler, IncomingCall, Status};

use super::{CallStart, Interceptors};
use crate::method_info::MethodInfo;

/// A handler with interceptors around all its calls, those included that it refuses or does not know.
///
/// Methods have the names that its registry gives them; one that is not there is [`MethodInfo::UNKNOWN`]. Of bytes, those of
/// the request and of the reply are counted, and not the items of streams. A call of a typed service passes these interceptors
/// first, and then its own.
pub struct Intercepted<H> {
    handler: H,
    interceptors: Interceptors,
    /// The caller, in the interceptors' eyes.
    peer: Arc<str>,
    /// In the order of the ids.
    methods: Vec<&'static MethodInfo>,
}

impl<H: Handler> Intercepted<H> {
    /// Puts interceptors around a handler, whose methods are described like this, and which a peer of that name calls.
    pub fn new(handler: H, described: &Registry, interceptors: Interceptors, peer: impl Into<Arc<str>>) -> Self {
        let of_service = |service: &'_ Service| {
            service.methods().iter().map(|method| MethodInfo::of_registry(service, method)).collect::<Vec<_>>()
        };
        let mut methods: Vec<_> = described.services().iter().flat_map(of_service).collect();
        methods.sort_by_key(|method| method.id);
        Self { handler, interceptors, peer: peer.into(), methods }
    }

    fn method(&self, id: u32) -> &'static MethodInfo {
        let found = self.methods.binary_search_by_key(&id, |method| method.id);
        found.ok().and_then(|at| self.methods.get(at)).copied().unwrap_or(&const { MethodInfo::UNKNOWN })
    }
}

impl<H: Handler> Handler for Intercepted<H> {
    fn handle(&self, mut call: IncomingCall) {
        let method = self.method(call.method());
        let start = || CallStart::callee(method, &self.peer, call.metadata(), call.deadline(), call.body().len());
        match self.interceptors.begin(start) {
            Err(status) => call.fail(status),
            Ok(mut guard) => {
                call.on_end(move |code, reply_bytes| {
                    guard.add_response_bytes(reply_bytes);
                    guard.end(code);
                });
                self.handler.handle(call);
            }
        }
    }

    fn registry(&self) -> Result<Registry, Status> {
        self.handler.registry()
    }
}

impl<H: fmt::Debug> fmt::Debug for Intercepted<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intercepted")
            .field("handler", &self.handler)
            .field("interceptors", &self.interceptors)
            .finish_non_exhaustive()
    }
}
