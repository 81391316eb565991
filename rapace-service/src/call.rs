//! A call on its way to a method of an implementation.

use std::cell::OnceCell;
use std::sync::Arc;

use rapace_session::{IncomingCall, Status};

use crate::context::Context;
use crate::intercept::{CallGuard, CallStart, Interceptors};
use crate::method_info::MethodInfo;
use crate::trace::{self, CallSpan, Outcome};

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
        let (guard, outcome, span) = if interceptors.is_empty() && !trace::is_server_span_wanted(incoming.metadata()) {
            (CallGuard::idle(), Outcome::unknown(), None)
        } else {
            match watched(&incoming, method, &interceptors) {
                Ok(watched) => watched,
                Err(status) => return incoming.fail(status),
            }
        };
        let counts = !interceptors.is_empty();
        let trace = span.as_ref().and_then(CallSpan::context);
        let context = move |incoming| Context::new(incoming, method, guard, outcome, counts, trace);
        match span {
            None => incoming.run_async(move |incoming| handle(context(incoming))),
            Some(span) => incoming.run_async(move |incoming| span.wrap(handle(context(incoming)))),
        }
    }
}

/// A call begins of which somebody wants to know; its span, if it has one or is part of a trace.
fn watched(
    incoming: &IncomingCall,
    method: &'static MethodInfo,
    interceptors: &Interceptors,
) -> Result<(CallGuard, Outcome, Option<CallSpan>), Status> {
    let span = trace::server_span(method, incoming.peer(), incoming.metadata());
    let outcome = span.outcome();
    let peer: OnceCell<Arc<str>> = OnceCell::new();
    let start = || {
        let peer = peer.get_or_init(|| incoming.peer().into());
        CallStart::callee(method, peer, incoming.metadata(), incoming.deadline(), incoming.body().len())
    };
    match span.run(|| interceptors.begin(start)) {
        Ok(guard) => {
            let matters = span.context().is_some() || !span.span().is_disabled();
            Ok((guard, outcome, matters.then_some(span)))
        }
        Err(status) => {
            outcome.end(Some(status.code));
            Err(status)
        }
    }
}
