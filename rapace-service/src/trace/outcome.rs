//! Says in a call's span how the call has ended.

use rapace_session::Code;
use tracing::Span;

use super::export;
use crate::intercept::CallSide;

/// A call whose span is to say how it ended. Dropped before that, it was cancelled, or a handler's panic has failed it.
#[derive(Debug)]
#[must_use = "a call ends when this is dropped"]
pub(crate) struct Outcome {
    /// None, which costs a call nothing, if nothing listens to its span.
    awaited: Option<Box<Awaited>>,
}

#[derive(Debug)]
struct Awaited {
    span: Span,
    side: CallSide,
}

impl Outcome {
    pub(super) fn of(span: &Span, side: CallSide) -> Self {
        let awaited = if span.is_disabled() { None } else { Some(Box::new(Awaited { span: span.clone(), side })) };
        Self { awaited }
    }

    /// Nothing listens.
    pub(crate) const fn unknown() -> Self {
        Self { awaited: None }
    }

    /// The call has ended: well (`None`), or with a code.
    pub(crate) fn end(mut self, code: Option<Code>) {
        if let Some(awaited) = self.awaited.take() {
            awaited.end(code);
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if let Some(awaited) = self.awaited.take() {
            let panicked = awaited.side == CallSide::Callee && std::thread::panicking();
            awaited.end(Some(if panicked { Code::Internal } else { Code::Cancelled }));
        }
    }
}

impl Awaited {
    fn end(&self, code: Option<Code>) {
        let Self { span, side } = self;
        let Some(code) = code else {
            span.record("rpc.response.status_code", "Ok");
            return;
        };
        let name = tracing::field::display(code);
        span.record("rpc.response.status_code", &name);
        span.record("error.type", &name);
        export::failed(span, *side, code);
    }
}
