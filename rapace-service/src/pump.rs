//! Moves a stream of this side into a call, while somebody waits for the call.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rapace_session::{CallError, Scratch, StreamingCall};

use crate::codec::{Encoder, unsendable};
use crate::method_info::MethodInfo;

/// Items that are sent before other work gets a turn.
const ITEMS_PER_POLL: usize = 64;

/// The items that a caller still has to send.
pub(crate) struct Pump<S: Stream + Unpin> {
    method: &'static MethodInfo,
    /// Dropped at its end, or when the call takes no more.
    stream: Option<S>,
    encode: Encoder<S::Item>,
    item: Option<Scratch>,
}

/// A pump whose stream has any type.
pub(crate) trait Pumped {
    /// Goes on; counts the bytes that were sent. Ready when there is nothing left to do.
    fn poll(&mut self, cx: &mut Context<'_>, call: &StreamingCall, sent: &mut usize) -> Poll<Result<(), CallError>>;
}

impl<S: Stream + Unpin> Pump<S> {
    pub(crate) fn new(method: &'static MethodInfo, stream: S, encode: Encoder<S::Item>) -> Self {
        Self { method, stream: Some(stream), encode, item: None }
    }
}

impl<S: Stream + Unpin> Pumped for Pump<S> {
    fn poll(&mut self, cx: &mut Context<'_>, call: &StreamingCall, sent: &mut usize) -> Poll<Result<(), CallError>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        for _ in 0..ITEMS_PER_POLL {
            if let Some(bytes) = &self.item {
                match call.poll_send(cx, bytes) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {
                        *sent += bytes.len();
                        self.item = None;
                    }
                    // The call has ended: its reply says how.
                    Poll::Ready(Err(_)) => {
                        (self.stream, self.item) = (None, None);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            match Pin::new(&mut *stream).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    call.finish();
                    self.stream = None;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(value)) => match (self.encode)(&value) {
                    Ok(bytes) => self.item = Some(bytes),
                    Err(error) => {
                        self.stream = None;
                        let status = unsendable(self.method, "an item", &error);
                        return Poll::Ready(Err(CallError::Status(status)));
                    }
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// An iterator as a stream that is always ready.
pub(crate) struct Iter<I>(pub(crate) I);

impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}
