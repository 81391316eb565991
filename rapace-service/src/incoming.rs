//! A stream from the peer.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use rapace_session::{Body, CallError, Caller, Items, Status, StreamingCall};

use crate::client::named;
use crate::codec::{Decoder, unexpected, unreadable};
use crate::direct::{Produced, QueueReader};
use crate::items::ItemBytes;
use crate::method_info::MethodInfo;
use crate::pump::Pumped;
use crate::watch::Watch;

/// A stream of values from the peer: the caller's in a handler, the callee's at a client.
///
/// It ends after its first error. At a client, dropping it before its end cancels the call. In a handler, an item that cannot
/// be read fails the call, whatever the handler answers.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Incoming<T> {
    method: &'static MethodInfo,
    /// None when it has ended.
    source: Option<Source<T>>,
}

enum Source<T> {
    /// Items of the caller, in a handler.
    Caller { items: Items, decode: Decoder<T>, counts: Option<Arc<ItemBytes>>, unreadable: Arc<OnceLock<Status>> },
    /// Items of the callee, at a client.
    Callee(Box<Callee>, Decoder<T>),
    /// Items of a caller in this process.
    Queue(QueueReader<T>),
    /// Items of a callee in this process.
    Produced(Box<Produced<T>>),
}

/// A call of this side whose results are a stream.
pub(crate) struct Callee {
    pub(crate) call: StreamingCall,
    pub(crate) watch: Watch,
    /// What this side has to send meanwhile.
    pub(crate) pump: Option<Box<dyn Pumped + Send>>,
}

impl<T> Incoming<T> {
    pub(crate) fn of_caller(
        items: Items,
        method: &'static MethodInfo,
        decode: Decoder<T>,
        counts: Option<Arc<ItemBytes>>,
        unreadable: Arc<OnceLock<Status>>,
    ) -> Self {
        Self { method, source: Some(Source::Caller { items, decode, counts, unreadable }) }
    }

    pub(crate) fn of_callee(callee: Callee, method: &'static MethodInfo, decode: Decoder<T>) -> Self {
        Self { method, source: Some(Source::Callee(Box::new(callee), decode)) }
    }

    /// Nothing comes.
    pub(crate) fn none(method: &'static MethodInfo) -> Self {
        Self { method, source: None }
    }

    pub(crate) fn of_queue(items: QueueReader<T>, method: &'static MethodInfo) -> Self {
        Self { method, source: Some(Source::Queue(items)) }
    }

    pub(crate) fn of_direct(items: Produced<T>, method: &'static MethodInfo) -> Self {
        Self { method, source: Some(Source::Produced(Box::new(items))) }
    }

    /// The next value; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<T, CallError>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let item = match source {
            Source::Caller { items, decode, counts, unreadable } => {
                ready!(items.poll_next(cx)).map(|next| read_of_caller(next?, self.method, *decode, counts, unreadable))
            }
            Source::Callee(callee, decode) => ready!(callee.poll(cx)).map(|next| {
                let body = next.map_err(|error| named(self.method, error))?;
                decode(&body).map_err(|error| unexpected::<T>(self.method, "an item", &body, &error))
            }),
            Source::Queue(items) => ready!(items.poll_next(cx)),
            Source::Produced(items) => ready!(items.poll(cx)),
        };
        if !matches!(item, Some(Ok(_))) {
            self.end(item.as_ref().and_then(|item| item.as_ref().err()));
        }
        Poll::Ready(item)
    }

    /// The way to call the callee whose items these are, until their end; none if it is in this process.
    pub(crate) fn caller(&self) -> Option<Caller> {
        match &self.source {
            Some(Source::Callee(callee, _)) => Some(callee.call.caller()),
            Some(Source::Caller { .. } | Source::Queue(_) | Source::Produced(_)) | None => None,
        }
    }

    fn end(&mut self, error: Option<&CallError>) {
        match self.source.take() {
            Some(Source::Callee(callee, _)) => callee.watch.end(error),
            Some(Source::Produced(items)) => items.end(error),
            Some(Source::Caller { .. } | Source::Queue(_)) | None => {}
        }
    }
}

fn read_of_caller<T>(
    body: Body,
    method: &MethodInfo,
    decode: Decoder<T>,
    counts: &Option<Arc<ItemBytes>>,
    noted: &OnceLock<Status>,
) -> Result<T, CallError> {
    if let Some(counts) = counts {
        counts.add_request(body.len());
    }
    decode(&body).map_err(|error| {
        let status = unreadable::<T>(method, "an item", &body, &error);
        CallError::Status(noted.get_or_init(|| status).clone())
    })
}

impl Callee {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Body, CallError>>> {
        let Self { call, watch, pump } = self;
        if let Some(pumped) = pump {
            let mut sent = 0;
            let outcome = watch.within(|| pumped.poll(cx, call, &mut sent));
            watch.add_request_bytes(sent);
            match outcome {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => *pump = None,
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
        }
        if let Some(body) = ready!(call.poll_item(cx)) {
            watch.add_response_bytes(body.len());
            return Poll::Ready(Some(Ok(body)));
        }
        ready!(call.poll_reply(cx)).map_or_else(|error| Poll::Ready(Some(Err(error))), |_| Poll::Ready(None))
    }
}

impl<T> Stream for Incoming<T> {
    type Item = Result<T, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Incoming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("method", self.method).field("ended", &self.source.is_none()).finish()
    }
}
