//! A future that runs in a call's span.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use super::CallSpan;
use super::place::Entry;

pin_project! {
    /// A future that enters its span and trace context on each poll, so that what runs in it is part of the trace on whatever
    /// thread that is. Made by [`CallSpan::wrap`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Traced<F> {
        entry: Entry,
        // It also drops the future in the span.
        #[pin]
        future: Instrumented<F>,
    }
}

impl<F> Traced<F> {
    pub(super) fn new(span: CallSpan, future: F) -> Self {
        Self { entry: span.entry, future: future.instrument(span.span) }
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.entry.enter();
        this.future.poll(cx)
    }
}
