//! Streams of a call that is served, and its cancellation.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_core::Stream;
use rapace_session::{CallError, Code, Draft, IncomingCall, Scratch, Status, Streams};

use super::{Context, Origin, Received};
use crate::codec::{Decoder, Encoder, unsendable};
use crate::incoming::Incoming;
use crate::method_info::MethodInfo;

/// Items that are sent before other work gets a turn.
const ITEMS_PER_POLL: usize = 64;

/// A call has the streams that its method has.
pub(crate) fn check_streams(call: &IncomingCall, method: &MethodInfo) -> Result<(), Status> {
    let (found, kind) = (call.streams(), method.kind);
    let expected = Streams { sends: kind.streams_arguments(), receives: kind.streams_results() };
    if found == expected {
        return Ok(());
    }
    let shown = |streams: bool| if streams { "a stream" } else { "no stream" };
    let message = format!(
        "{} is {kind}: the caller sends {} and takes {}, but the call has {} and {}",
        method.full_name(),
        shown(expected.sends),
        shown(expected.receives),
        shown(found.sends),
        shown(found.receives),
    );
    Err(Status::new(Code::InvalidArgument, message))
}

impl Context {
    /// Waits until nobody waits for the answer any more: the caller has cancelled, its time is over, or the session has ended.
    pub async fn cancelled(&self) {
        match &self.origin {
            Origin::Session(received) => received.call.cancelled().await,
            // With the call, this is dropped.
            Origin::ThisProcess(_) => pending().await,
        }
    }

    /// The caller's stream.
    #[doc(hidden)]
    pub fn incoming<T>(&self, decode: Decoder<T>) -> Incoming<T> {
        match &self.origin {
            Origin::Session(Received { call, items, unreadable_item, .. }) => {
                let unreadable = Arc::clone(unreadable_item.get_or_init(Arc::default));
                Incoming::of_caller(call.items(), self.method, decode, items.as_ref().map(Arc::clone), unreadable)
            }
            Origin::ThisProcess(_) => Incoming::none(self.method),
        }
    }

    /// Sends a stream to the caller.
    ///
    /// # Errors
    ///
    /// What is answered when the stream does not come to its end.
    #[doc(hidden)]
    pub async fn send<S: Stream>(&self, stream: S, encode: Encoder<S::Item>) -> Result<Draft, Status> {
        let received = self.received()?;
        let mut stream = pin!(stream);
        let mut item: Option<Scratch> = None;
        poll_fn(|cx| {
            for _ in 0..ITEMS_PER_POLL {
                if let Some(bytes) = &item {
                    match received.call.poll_send(cx, bytes) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(unsent(error))),
                        Poll::Ready(Ok(())) => item = None,
                    }
                }
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(value)) => match encode(&value) {
                        Ok(bytes) => {
                            received.count(bytes.len());
                            item = Some(bytes);
                        }
                        Err(error) => return Poll::Ready(Err(unsendable(self.method, "an item", &error))),
                    },
                    Poll::Ready(None) => return Poll::Ready(Ok(Scratch::empty().into())),
                    // Once nobody takes the items any more, the executor drops all this.
                    Poll::Pending => return Poll::Pending,
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}

impl Received {
    fn count(&self, bytes: usize) {
        if let Some(items) = &self.items {
            items.add_response(bytes);
        }
    }
}

/// What is answered, if anybody still listens, when an item could not be sent.
fn unsent(error: CallError) -> Status {
    match error {
        CallError::Status(status) => status,
        error => Status::new(error.code(), error.to_string()),
    }
}
