//! Spans that OpenTelemetry exports: a call's ids are those that its layer gives to the span.
//!
//! The layer makes the ids when a span begins, so they are asked for rather than made. Where the layer does not see the
//! spans of calls (they are at debug level), a call goes on from the span that it does see, on this side or on the other.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, ContextGuard};
use rapace_session::Code;
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};

use super::context::TraceContext;
use super::id;
use super::place::Place;
use crate::intercept::CallSide;
use crate::method_info::MethodInfo;

/// Whether this thread is in a span of OpenTelemetry's.
pub(super) fn is_within() -> bool {
    Context::map_current(Context::has_active_span)
}

/// The span of OpenTelemetry's that this thread is in.
pub(super) fn current() -> Option<Place> {
    Context::map_current(place)
}

/// What the layer makes of a span, if it sees it. The span begins by that.
pub(super) fn of(span: &Span) -> Option<Place> {
    place(&span.context())
}

/// Says what the layer asks for, before the span begins.
pub(super) fn describe(span: &Span, side: CallSide, method: &MethodInfo) {
    let kind = match side {
        CallSide::Caller => "client",
        CallSide::Callee => "server",
    };
    span.record("otel.name", tracing::field::display(format_args!("{}/{}", method.service, method.name)));
    span.record("otel.kind", kind);
}

/// A span goes on from a place in another process, or begins a trace. If the layer does not see the span, what runs in it is
/// to go on from there itself.
pub(super) fn go_on_from(span: &Span, place: Option<&Place>) -> Remote {
    let Some(remote) = place.map(remote) else { return Remote(None) };
    match span.set_parent(remote.clone()) {
        // Nobody exports, so the ids are rapace's own.
        Err(SetParentError::LayerNotFound) => Remote(None),
        _ if of(span).is_some() => Remote(None),
        _ => Remote(Some(remote)),
    }
}

/// A call has failed. A callee has not failed if its caller is to blame.
pub(super) fn failed(span: &Span, side: CallSide, code: Code) {
    let is_ours = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if side == CallSide::Caller || is_ours {
        span.record("otel.status_code", "ERROR");
    }
}

/// What is entered beside a span that the layer does not see.
#[derive(Clone, Debug)]
pub(super) struct Remote(Option<Context>);

pub(super) struct Attached {
    _guard: Option<ContextGuard>,
}

impl Remote {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) fn enter(&self) -> Attached {
        Attached { _guard: self.0.clone().map(Context::attach) }
    }
}

fn place(context: &Context) -> Option<Place> {
    let span = context.span();
    let context = span.span_context();
    let trace_id = id::TraceId::new(u128::from_be_bytes(context.trace_id().to_bytes()))?;
    let span_id = id::SpanId::new(u64::from_be_bytes(context.span_id().to_bytes()))?;
    let state = context.trace_state().header();
    let state = (!state.is_empty()).then(|| state.into());
    Some(Place { context: TraceContext { trace_id, span_id, sampled: context.is_sampled() }, state })
}

fn remote(place: &Place) -> Context {
    let TraceContext { trace_id, span_id, sampled } = place.context;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    // One that OpenTelemetry does not understand is left out.
    let state: TraceState = place.state.as_deref().and_then(|state| state.parse().ok()).unwrap_or_default();
    let (trace_id, span_id) = (trace_id.get().to_be_bytes(), span_id.get().to_be_bytes());
    let (trace_id, span_id) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
    Context::new().with_remote_span_context(SpanContext::new(trace_id, span_id, flags, true, state))
}
