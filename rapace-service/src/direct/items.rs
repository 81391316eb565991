//! A stream of the implementation's: an item is made when the caller asks for it.
//!
//! The stream may borrow from the implementation and from the arguments, which the caller does not keep. So it lives in a
//! future together with them, and hands its items out through a cell.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use parking_lot::Mutex;
use rapace_session::CallError;

use super::alarm::Alarm;
use super::call::DirectCall;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream with what it borrows from.
#[must_use = "a stream does nothing unless it is polled"]
pub struct DirectItems<T> {
    running: Running,
    cell: Arc<Mutex<Option<T>>>,
}

/// Where the stream's items go.
#[derive(Debug)]
pub struct Sink<T>(Arc<Mutex<Option<T>>>);

impl<T: Send + 'static> DirectItems<T> {
    /// Runs this, which sends a stream to the sink.
    pub fn new<F: Future<Output = ()> + Send + 'static>(make: impl FnOnce(Sink<T>) -> F) -> Self {
        let cell = Arc::new(Mutex::new(None));
        Self { running: Box::pin(make(Sink(Arc::clone(&cell)))), cell }
    }
}

impl<T> Sink<T> {
    /// Sends a stream to its end.
    pub async fn send(self, stream: impl Stream<Item = T>) {
        let mut stream = pin!(stream);
        poll_fn(|cx| match ready!(stream.as_mut().poll_next(cx)) {
            None => Poll::Ready(()),
            Some(item) => {
                // Whoever polls takes it, and polls again when it wants the next.
                *self.0.lock() = Some(item);
                Poll::Pending
            }
        })
        .await;
    }
}

/// The stream of a call, at its caller.
pub(crate) struct Produced<T> {
    call: DirectCall,
    items: DirectItems<T>,
    /// Moves the caller's stream.
    sending: Option<Running>,
    alarm: Option<Alarm>,
}

impl<T> Produced<T> {
    pub(super) fn new(call: DirectCall, items: DirectItems<T>, sending: Option<Running>) -> Self {
        Self { call, items, sending, alarm: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        let Self { call, items: DirectItems { running, cell }, sending, alarm } = self;
        if let Some(moving) = sending
            && moving.as_mut().poll(cx).is_ready()
        {
            *sending = None;
        }
        let next = call.poll(cx, alarm, |cx| match running.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => cell.lock().take().map_or(Poll::Pending, |item| Poll::Ready(Some(item))),
        });
        next.map(Result::transpose)
    }

    /// It has ended: well, or like this.
    pub(crate) fn end(self, error: Option<&CallError>) {
        let _ = self.call.end(error.map_or(Ok(()), |error| Err(error.clone())));
    }
}

impl<T> fmt::Debug for DirectItems<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectItems").finish_non_exhaustive()
    }
}
