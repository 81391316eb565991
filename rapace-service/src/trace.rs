//! Traces that go on across calls: a span on each side, and W3C trace context in between.
//!
//! ```text
//!   caller                                       callee
//!   span rapace.call  -- traceparent in metadata -->  span rapace.serve
//!   span_id = 1f..                               parent_span_id = 1f.., span_id = c4..
//!                                                     '-- its own calls go on from c4..
//! ```
//!
//! Both spans have the target `rapace::trace` and debug level. Where nothing listens to them, no ids are made, and the
//! context that came with a call goes on with the calls that its handler makes. A `traceparent` that is malformed is ignored.
//! One that the user has put into the metadata stays, and the caller's span has its ids.

mod context;
mod id;
#[cfg(test)]
pub(crate) mod recorder;
mod traced;

use std::cell::{Cell, OnceCell};

use rapace_session::Metadata;
use tracing::Span;

pub use context::{TraceContext, TraceparentError};
pub use id::{SpanId, TraceId};
pub use traced::Traced;

use crate::method_info::MethodInfo;

/// The key of the metadata that carry a trace context.
const TRACEPARENT: &str = "traceparent";

/// The target of the spans.
const TARGET: &str = "rapace::trace";

thread_local!(static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) });

/// The trace context of the handler or the call that this thread runs now, if it is part of a trace.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.get()
}

/// A call's span, and the trace context of what runs in it.
#[derive(Clone, Debug)]
#[must_use = "a span says something of what runs in it"]
pub struct CallSpan {
    span: Span,
    context: Option<TraceContext>,
}

impl CallSpan {
    /// The span; disabled if nothing listens to it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// What [`current`] says within.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// A future that runs in the span, on whatever threads it is polled.
    pub fn wrap<F>(self, future: F) -> Traced<F> {
        Traced::new(self, future)
    }

    /// Runs something in the span on this thread.
    pub fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        let _entered = Entered::new(self.context);
        self.span.in_scope(run)
    }
}

/// The span of a call of this side: part of the trace that this thread is in, or of a new one.
///
/// It adds `traceparent` to the metadata, unless that is there. Where nothing listens to the span, the context of this thread
/// goes on, if there is one.
pub fn client_span(method: &'static MethodInfo, peer: &str, metadata: &mut Metadata) -> CallSpan {
    let outer = current();
    let own = OnceCell::new();
    // Fields of a span to which nothing listens are not looked at.
    let ids = || *own.get_or_init(|| received(metadata).unwrap_or_else(|| TraceContext::within(outer)));
    let span = tracing::debug_span!(
        target: TARGET,
        "rapace.call",
        rpc.service = method.service,
        rpc.method = method.name,
        peer,
        trace_id = %ids().trace_id,
        span_id = %ids().span_id,
    );
    let context = if span.is_disabled() { outer } else { Some(ids()) };
    if let Some(context) = context
        && metadata.get(TRACEPARENT).is_none()
        && let Err(error) = metadata.insert(TRACEPARENT, context.to_string())
    {
        tracing::error!(%error, "no traceparent was sent");
    }
    CallSpan { span, context }
}

/// The span of a call of the peer: part of the caller's trace, if the metadata tell of one, or of a new one.
///
/// It is the child of no span of this process, because a thread that waits for something else may be what serves the call.
pub fn server_span(method: &'static MethodInfo, peer: &str, metadata: &Metadata) -> CallSpan {
    let parent = received(metadata);
    let own = OnceCell::new();
    let ids = || *own.get_or_init(|| TraceContext::within(parent));
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "rapace.serve",
        rpc.service = method.service,
        rpc.method = method.name,
        peer,
        trace_id = %ids().trace_id,
        span_id = %ids().span_id,
        parent_span_id = parent.map(|parent| tracing::field::display(parent.span_id)),
    );
    let context = if span.is_disabled() { parent } else { Some(ids()) };
    CallSpan { span, context }
}

/// The trace context in metadata, if there is one that is well formed.
fn received(metadata: &Metadata) -> Option<TraceContext> {
    metadata.get(TRACEPARENT).and_then(|text| TraceContext::parse(text).ok())
}

/// While this lives, the thread runs something with this context.
struct Entered {
    outer: Option<TraceContext>,
}

impl Entered {
    fn new(context: Option<TraceContext>) -> Self {
        Self { outer: CURRENT.replace(context) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

#[cfg(test)]
mod tests;
