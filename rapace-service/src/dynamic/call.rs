//! A dynamic call with streams.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use rapace_registry::json;
use rapace_session::{Caller, StreamingCall};
use serde_json::Value;

use super::{DynamicError, Part, Prepared};
use crate::watch::Watch;

/// An open call of a method with streams. Dropped before its end, it is cancelled.
///
/// Items go both ways as they come: who only sends to a method that also answers with items will wait for it one day, since it
/// waits to be read.
#[must_use = "a call that is dropped is cancelled"]
pub struct DynamicCall {
    caller: Caller,
    /// None when the call has ended.
    open: Option<Open>,
    prepared: Prepared,
}

struct Open {
    call: StreamingCall,
    watch: Watch,
}

impl DynamicCall {
    pub(super) fn new(call: StreamingCall, watch: Watch, prepared: Prepared) -> Self {
        // Its own session, whichever one others are called at by now.
        Self { caller: call.caller(), open: Some(Open { call, watch }), prepared }
    }

    /// Sends an item as soon as there is room.
    ///
    /// # Errors
    ///
    /// When the method takes no items or not this one, or the call has ended: [`next`](Self::next) or
    /// [`reply`](Self::reply) says how.
    pub async fn send(&mut self, item: &Value) -> Result<(), DynamicError> {
        let Some(schema) = &self.prepared.item else {
            return Err(DynamicError::NoItems { method: self.prepared.name.clone() });
        };
        let bytes = json::encode(schema, item).map_err(|error| self.prepared.wrong(Part::Item, error))?;
        let Some(Open { call, watch }) = &mut self.open else { return Err(self.ended()) };
        poll_fn(|cx| watch.within(|| call.poll_send(cx, &bytes))).await?;
        watch.add_request_bytes(bytes.len());
        Ok(())
    }

    /// Says that there are no more items of the caller's.
    pub fn finish(&mut self) {
        if let Some(Open { call, .. }) = &self.open {
            call.finish();
        }
    }

    /// The next item of the callee's; `None` at the end. An error is the end.
    pub async fn next(&mut self) -> Option<Result<Value, DynamicError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Ends the items of the caller's and waits for the reply: the result, or null of a method whose results are a stream,
    /// of which the rest is passed over.
    ///
    /// # Errors
    ///
    /// When the call fails, or has ended before, or the reply is not what the method gives.
    pub async fn reply(mut self) -> Result<Value, DynamicError> {
        let Some(Open { call, mut watch }) = self.open.take() else { return Err(self.ended()) };
        call.finish();
        // Items that nobody takes would hold up the callee.
        while let Some(item) = poll_fn(|cx| watch.within(|| call.poll_item(cx))).await {
            watch.add_response_bytes(item.len());
        }
        let reply = poll_fn(|cx| watch.within(|| call.poll_reply(cx))).await;
        if let Ok(reply) = &reply {
            watch.add_response_bytes(reply.body.len());
        }
        watch.end(reply.as_ref().err());
        let reply = reply?;
        if self.prepared.streams_results { Ok(Value::Null) } else { self.prepared.result(&reply.body) }
    }

    /// [`send`](Self::send), blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_blocking(&mut self, item: &Value) -> Result<(), DynamicError> {
        self.caller.clone().block_on(self.send(item))?
    }

    /// [`next`](Self::next), blocking this thread.
    pub fn next_blocking(&mut self) -> Option<Result<Value, DynamicError>> {
        self.caller.clone().block_on(self.next()).unwrap_or_else(|error| Some(Err(error.into())))
    }

    /// [`reply`](Self::reply), blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn reply_blocking(self) -> Result<Value, DynamicError> {
        self.caller.clone().block_on(self.reply())?
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Value, DynamicError>>> {
        // The reply of a method without a stream of results is for `reply`.
        let Some(Open { call, watch }) = self.open.as_mut().filter(|_| self.prepared.streams_results) else {
            return Poll::Ready(None);
        };
        let end = match ready!(watch.within(|| call.poll_item(cx))) {
            Some(body) => {
                watch.add_response_bytes(body.len());
                match self.prepared.result(&body) {
                    Ok(item) => return Poll::Ready(Some(Ok(item))),
                    // Dropped, the call is cancelled.
                    Err(error) => Some(error),
                }
            }
            None => {
                let error = ready!(watch.within(|| call.poll_reply(cx))).err();
                if let Some(Open { watch, .. }) = self.open.take() {
                    watch.end(error.as_ref());
                }
                error.map(DynamicError::from)
            }
        };
        self.open = None;
        Poll::Ready(end.map(Err))
    }

    fn ended(&self) -> DynamicError {
        DynamicError::Ended { method: self.prepared.name.clone() }
    }
}

impl fmt::Debug for DynamicCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicCall")
            .field("method", &self.prepared.name)
            .field("ended", &self.open.is_none())
            .finish_non_exhaustive()
    }
}
