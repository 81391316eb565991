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
//! context that came with a call, `tracestate` included, goes on with the calls that its handler makes. A `traceparent` that is
//! malformed is ignored. One that the user has put into the metadata stays, and the caller's span has its ids.
//!
//! | field | |
//! |---|---|
//! | `rpc.system`, `rpc.service`, `rpc.method` | `rapace`; what is called |
//! | `peer` | the name of the other side |
//! | `trace_id`, `span_id`, `parent_span_id` | as in `traceparent`; the last for a call of the peer that has one |
//! | `rpc.response.status_code` | when the call has ended: `Ok`, or the [`Code`](rapace_session::Code) that it failed with |
//! | `error.type` | the same code, of a call that failed |
//!
//! # OpenTelemetry
//!
//! With the feature `opentelemetry`, the ids are those that the layer of `tracing-opentelemetry` gives to the spans, so that what
//! each process exports by itself makes one trace. The spans have the kinds `client` and `server` then, a name such as
//! `demo.Kv/get`, and the status `Error` if the call failed (at the callee, if that is not its caller's doing). Whether a trace
//! is sampled is decided where it begins. A program sets its exporter up as it likes; a plugin does the same in its `main`:
//!
#![cfg_attr(feature = "opentelemetry", doc = "```no_run")]
#![cfg_attr(not(feature = "opentelemetry"), doc = "```text")]
//! use opentelemetry::trace::TracerProvider as _;
//! use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
//! use tracing_subscriber::filter::{LevelFilter, Targets};
//! use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! /// With an exporter such as that of `opentelemetry-otlp`.
//! fn init(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
//!     let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
//!     let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("my-host"));
//!     // Calls are spans at debug level.
//!     let filter = Targets::new().with_default(LevelFilter::INFO).with_target("rapace::trace", LevelFilter::DEBUG);
//!     tracing_subscriber::registry().with(spans.with_filter(filter)).init();
//!     provider // Its `shutdown` exports what is left, when the program ends.
//! }
//! ```
//!
//! Where the layer does not see the spans of calls, a call goes on from the span that its caller was in.

mod context;
#[cfg_attr(not(feature = "opentelemetry"), path = "trace/no_export.rs")]
mod export;
mod id;
mod outcome;
mod place;
#[cfg(test)]
pub(crate) mod recorder;
mod traced;

use rapace_session::Metadata;
use tracing::Span;
use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;

pub use context::{TraceContext, TraceparentError};
pub use id::{SpanId, TraceId};
pub(crate) use outcome::Outcome;
pub use traced::Traced;

use crate::intercept::CallSide;
use crate::method_info::MethodInfo;
use place::{Entry, Place};

/// The target of the spans.
const TARGET: &str = "rapace::trace";

/// The trace context of the handler or the call that this thread runs now, if it is part of a trace.
#[must_use]
pub fn current() -> Option<TraceContext> {
    place::current()
}

/// Whether this thread is part of a trace that its calls go on with.
pub(crate) fn is_within() -> bool {
    current().is_some() || export::is_within()
}

/// A call's span, and the trace context of what runs in it.
#[derive(Clone, Debug)]
#[must_use = "a span says something of what runs in it"]
pub struct CallSpan {
    span: Span,
    entry: Entry,
    side: CallSide,
}

impl CallSpan {
    fn new(span: Span, place: Option<Place>, remote: export::Remote, side: CallSide) -> Self {
        if let Some(Place { context, .. }) = &place {
            // A span to which nothing listens takes no fields.
            span.record("trace_id", display(context.trace_id));
            span.record("span_id", display(context.span_id));
        }
        Self { span, entry: Entry { place, remote }, side }
    }

    /// The span; disabled if nothing listens to it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// What [`current`] says within.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        self.entry.place.as_ref().map(|place| place.context)
    }

    /// A future that runs in the span, on whatever threads it is polled.
    pub fn wrap<F>(self, future: F) -> Traced<F> {
        Traced::new(self, future)
    }

    /// Runs something in the span on this thread.
    pub fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        let _entered = self.entry.enter();
        self.span.in_scope(run)
    }

    /// Says in the span how the call ends.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::of(&self.span, self.side)
    }
}

/// The span of a call of this side: part of the trace that this thread is in, or of a new one.
///
/// It adds `traceparent` to the metadata, unless that is there. Where nothing listens to the span, the context of this thread
/// goes on, if there is one.
pub fn client_span(method: &'static MethodInfo, peer: &str, metadata: &mut Metadata) -> CallSpan {
    let span = tracing::debug_span!(
        target: TARGET,
        "rapace.call",
        otel.name = Empty,
        otel.kind = Empty,
        rpc.system = "rapace",
        rpc.service = method.service,
        rpc.method = method.name,
        peer,
        trace_id = Empty,
        span_id = Empty,
        rpc.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    );
    let place = if span.is_disabled() {
        export::current().or_else(Place::current)
    } else {
        export::describe(&span, CallSide::Caller, method);
        let given = Place::received(metadata);
        if given.is_some() {
            let _ = export::go_on_from(&span, given.as_ref());
        }
        let exported = || export::of(&span).or_else(export::current);
        Some(given.or_else(exported).unwrap_or_else(|| Place::within(Place::current().as_ref())))
    };
    if let Some(Err(error)) = place.as_ref().map(|place| place.send(metadata)) {
        tracing::error!(%error, "no traceparent was sent");
    }
    CallSpan::new(span, place, export::Remote::none(), CallSide::Caller)
}

/// Whether a call with these metadata has anything to do with a trace.
#[inline]
pub(crate) fn is_server_span_wanted(metadata: &Metadata) -> bool {
    // One load; the filters of a subscriber may take more.
    LevelFilter::current() >= LevelFilter::DEBUG || !metadata.is_empty()
}

/// The span of a call of the peer: part of the caller's trace, if the metadata tell of one, or of a new one.
///
/// It is the child of no span of this process, because a thread that waits for something else may be what serves the call.
pub fn server_span(method: &'static MethodInfo, peer: &str, metadata: &Metadata) -> CallSpan {
    let parent = Place::received(metadata);
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "rapace.serve",
        otel.name = Empty,
        otel.kind = Empty,
        rpc.system = "rapace",
        rpc.service = method.service,
        rpc.method = method.name,
        peer,
        trace_id = Empty,
        span_id = Empty,
        parent_span_id = parent.as_ref().map(|parent| display(parent.context.span_id)),
        rpc.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    );
    export::describe(&span, CallSide::Callee, method);
    let remote = export::go_on_from(&span, parent.as_ref());
    let place = if span.is_disabled() {
        parent
    } else {
        Some(export::of(&span).unwrap_or_else(|| Place::within(parent.as_ref())))
    };
    CallSpan::new(span, place, remote, CallSide::Callee)
}

#[cfg(test)]
mod tests;
