//! A call on its way to a method of an implementation.

use std::cell::OnceCell;
use std::sync::Arc;

use rapace_session::{IncomingCall, Status};

use crate::context::Context;
use crate::intercept::{CallStart, Interceptors};
use crate::method_info::MethodInfo;
use crate::trace;

/// A call of the peer, for the service that has its method.
#[derive(Debug)]
#[must_use = "a call that is dropped is answered with an error"]
pub struct Call {
    incoming: IncomingCall,
    interceptors: Interceptors,
}

impl Call {
    pub(crate) fn new(incoming: IncomingCall, interceptors: Interceptors) -> Self {
        Self { incoming, interceptors }
    }

    /// The id of its method.
    #[must_use]
    pub fn method(&self) -> u32 {
        self.incoming.method()
    }

    /// Answers that there is no such method.
    pub fn unimplemented(self) {
        self.incoming.unimplemented();
    }

    pub(crate) fn fail(self, status: Status) {
        self.incoming.fail(status);
    }

    /// Runs a handler: at once and in place, and later elsewhere if it is not ready.
    pub fn run<F, Fut>(self, method: &'static MethodInfo, handle: F)
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { incoming, interceptors } = self;
        if let Err(status) = crate::context::check_streams(&incoming, method) {
            return incoming.fail(status);
        }
        let span = trace::server_span(method, incoming.peer(), incoming.metadata());
        let outcome = span.outcome();
        let peer: OnceCell<Arc<str>> = OnceCell::new();
        let start = || {
            let peer = peer.get_or_init(|| incoming.peer().into());
            CallStart::callee(method, peer, incoming.metadata(), incoming.deadline(), incoming.body().len())
        };
        let guard = match span.run(|| interceptors.begin(start)) {
            Ok(guard) => guard,
            Err(status) => {
                outcome.end(Some(status.code));
                return incoming.fail(status);
            }
        };
        let counts = !interceptors.is_empty();
        let trace = span.context();
        let context = move |incoming| Context::new(incoming, method, guard, outcome, counts, trace);
        if trace.is_none() && span.span().is_disabled() {
            incoming.run_async(move |incoming| handle(context(incoming)));
        } else {
            incoming.run_async(move |incoming| span.wrap(handle(context(incoming))));
        }
    }
}
