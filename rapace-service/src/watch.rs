//! What watches a call of this side: its interceptors and its span.

use std::sync::Arc;
use std::time::Duration;

use rapace_session::{CallError, Metadata, Status};
use tracing::level_filters::LevelFilter;

use crate::intercept::{CallGuard, CallStart, Interceptors};
use crate::method_info::MethodInfo;
use crate::trace::{self, CallSpan, Outcome};

/// Watches one call. Dropped before its end, it says that the call was cancelled.
///
/// Boxed, because most calls are watched by nobody, and are moved all the same.
#[derive(Debug)]
pub(crate) struct Watch(Option<Box<Watching>>);

#[derive(Debug)]
struct Watching {
    guard: CallGuard,
    outcome: Outcome,
    span: CallSpan,
}

impl Watch {
    /// Whether anybody but interceptors wants to know of calls. If not, [`Watch::none`] does.
    #[inline]
    pub(crate) fn is_wanted() -> bool {
        // One load; whether somebody listens to this very span takes the peer's name to find out.
        LevelFilter::current() >= LevelFilter::DEBUG || trace::is_within()
    }

    /// Nobody watches.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// A call begins. The metadata are added to.
    pub(crate) fn begin(
        interceptors: &Interceptors,
        method: &'static MethodInfo,
        peer: &Arc<str>,
        metadata: &mut Metadata,
        time_left: Option<Duration>,
        request_bytes: usize,
    ) -> Result<Self, Status> {
        let span = trace::client_span(method, peer, metadata);
        let outcome = span.outcome();
        let begun =
            span.run(|| interceptors.begin(|| CallStart::caller(method, peer, metadata, time_left, request_bytes)));
        match begun {
            Ok(guard) => Ok(Self(Some(Box::new(Watching { guard, outcome, span })))),
            Err(status) => {
                outcome.end(Some(status.code));
                Err(status)
            }
        }
    }

    /// Runs a step of the call in its span.
    pub(crate) fn within<T>(&self, step: impl FnOnce() -> T) -> T {
        match &self.0 {
            None => step(),
            Some(watching) => watching.span.run(step),
        }
    }

    pub(crate) fn add_request_bytes(&mut self, bytes: usize) {
        if let Some(watching) = &mut self.0 {
            watching.guard.add_request_bytes(bytes);
        }
    }

    pub(crate) fn add_response_bytes(&mut self, bytes: usize) {
        if let Some(watching) = &mut self.0 {
            watching.guard.add_response_bytes(bytes);
        }
    }

    /// The call has ended: well, or like this.
    pub(crate) fn end(self, error: Option<&CallError>) {
        if let Some(watching) = self.0 {
            let Watching { guard, outcome, span } = *watching;
            let code = error.map(CallError::code);
            span.run(|| guard.end(code));
            outcome.end(code);
        }
    }
}
