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
    decode: Decoder<T>,
    /// None when it has ended.
    source: Option<Source>,
}

enum Source {
    /// Items of the caller, in a handler.
    Caller { items: Items, counts: Option<Arc<ItemBytes>>, unreadable: Arc<OnceLock<Status>> },
    /// Items of the callee, at a client.
    Callee(Box<Callee>),
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
        Self { method, decode, source: Some(Source::Caller { items, counts, unreadable }) }
    }

    pub(crate) fn of_callee(callee: Callee, method: &'static MethodInfo, decode: Decoder<T>) -> Self {
        Self { method, decode, source: Some(Source::Callee(Box::new(callee))) }
    }

    /// The next value; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<T, CallError>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let next = match source {
            Source::Caller { items, counts, .. } => {
                let next = ready!(items.poll_next(cx));
                if let (Some(counts), Some(Ok(body))) = (counts, &next) {
                    counts.add_request(body.len());
                }
                next
            }
            Source::Callee(callee) => {
                ready!(callee.poll(cx)).map(|next| next.map_err(|error| named(self.method, error)))
            }
        };
        let item = next.map(|next| next.and_then(|body| self.read(&body)));
        if !matches!(item, Some(Ok(_))) {
            self.end(item.as_ref().and_then(|item| item.as_ref().err()));
        }
        Poll::Ready(item)
    }

    /// The way to call the callee whose items these are, until their end.
    pub(crate) fn caller(&self) -> Option<Caller> {
        match &self.source {
            Some(Source::Callee(callee)) => Some(callee.call.caller()),
            Some(Source::Caller { .. }) | None => None,
        }
    }

    fn read(&self, body: &Body) -> Result<T, CallError> {
        (self.decode)(body).map_err(|error| match &self.source {
            Some(Source::Caller { unreadable: noted, .. }) => {
                let status = unreadable::<T>(self.method, "an item", body, &error);
                CallError::Status(noted.get_or_init(|| status).clone())
            }
            _ => unexpected::<T>(self.method, "an item", body, &error),
        })
    }

    fn end(&mut self, error: Option<&CallError>) {
        if let Some(Source::Callee(callee)) = self.source.take() {
            callee.watch.end(error);
        }
    }
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
