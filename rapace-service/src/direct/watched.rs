//! Who watches a direct call: interceptors and spans of both its sides.

use std::time::Instant;

use rapace_session::{CallError, Code, Metadata};

use crate::built_in::Shared;
use crate::client::Client;
use crate::intercept::{CallGuard, CallStart};
use crate::method_info::MethodInfo;
use crate::trace::{self, CallSpan, Outcome, TraceContext};
use crate::watch::Watch;

/// Watches one call for both sides. Dropped before its end, it says that the call was cancelled.
#[derive(Debug)]
pub(super) struct Watched {
    // Dropped in this order: the callee's side hears of the end first.
    guard: CallGuard,
    outcome: Outcome,
    span: CallSpan,
    watch: Watch,
    metadata: Metadata,
}

impl Watched {
    /// Whether anybody wants to know of the call.
    #[inline]
    pub(super) fn is_wanted(built_in: &Shared, client: &Client) -> bool {
        client.is_watched()
            || !built_in.services.interceptors().is_empty()
            || !client.options().get_metadata().is_empty()
    }

    /// The call begins, at the caller and then at the callee.
    pub(super) fn begin(
        built_in: &Shared,
        client: &Client,
        method: &'static MethodInfo,
        deadline: Option<Instant>,
    ) -> Result<Self, CallError> {
        let mut metadata = client.options().get_metadata().clone();
        let watch = client.watch(method, built_in.name(), &mut metadata)?;
        let begun = watch.within(|| {
            let span = trace::server_span(method, built_in.host_name(), &metadata);
            let start = || CallStart::callee(method, built_in.host_name(), &metadata, deadline, 0);
            let outcome = span.outcome();
            match span.run(|| built_in.services.interceptors().begin(start)) {
                Ok(guard) => Ok((guard, outcome, span)),
                Err(status) => {
                    outcome.end(Some(status.code));
                    Err(status)
                }
            }
        });
        match begun {
            Ok((guard, outcome, span)) => Ok(Self { guard, outcome, span, watch, metadata }),
            Err(status) => {
                let error = CallError::Status(status);
                watch.end(Some(&error));
                Err(error)
            }
        }
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(super) fn trace(&self) -> Option<TraceContext> {
        self.span.context()
    }

    /// Runs a step of the handler.
    pub(super) fn within<T>(&self, step: impl FnOnce() -> T) -> T {
        self.watch.within(|| self.span.run(step))
    }

    /// The call has ended: well, or like this.
    pub(super) fn end(self, error: Option<&CallError>) {
        let Self { guard, outcome, span, watch, .. } = self;
        let code = match error {
            None => None,
            Some(CallError::Status(status)) => Some(status.code),
            // To the callee that is a cancel, whatever the caller makes of it.
            Some(_) => Some(Code::Cancelled),
        };
        span.run(|| guard.end(code));
        outcome.end(code);
        watch.end(error);
    }
}
