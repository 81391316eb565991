//! A dynamic call with streams.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use rapace_registry::json;
use rapace_session::{Caller, StreamingCall};
use serde_json::Value;

use super::{DynamicError, Part, Prepared};

/// An open call of a method with streams. Dropped before its end, it is cancelled.
///
/// Items go both ways as they come: who only sends to a method that also answers with items will wait for it one day, since it
/// waits to be read.
#[must_use = "a call that is dropped is cancelled"]
pub struct DynamicCall {
    caller: Caller,
    /// None when the call has ended.
    call: Option<StreamingCall>,
    prepared: Prepared,
}

impl DynamicCall {
    pub(super) fn new(call: StreamingCall, prepared: Prepared) -> Self {
        // Its own session, whichever one others are called at by now.
        Self { caller: call.caller(), call: Some(call), prepared }
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
        let Some(call) = &self.call else { return Err(self.ended()) };
        Ok(poll_fn(|cx| call.poll_send(cx, &bytes)).await?)
    }

    /// Says that there are no more items of the caller's.
    pub fn finish(&mut self) {
        if let Some(call) = &self.call {
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
        let Some(call) = self.call.take() else { return Err(self.ended()) };
        call.finish();
        // Items that nobody takes would hold up the callee.
        while poll_fn(|cx| call.poll_item(cx)).await.is_some() {}
        let reply = poll_fn(|cx| call.poll_reply(cx)).await?;
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
        let Some(call) = self.call.as_ref().filter(|_| self.prepared.streams_results) else {
            return Poll::Ready(None);
        };
        let item = match ready!(call.poll_item(cx)) {
            Some(body) => Some(self.prepared.result(&body)),
            None => ready!(call.poll_reply(cx)).err().map(|error| Err(error.into())),
        };
        if !matches!(item, Some(Ok(_))) {
            self.call = None;
        }
        Poll::Ready(item)
    }

    fn ended(&self) -> DynamicError {
        DynamicError::Ended { method: self.prepared.name.clone() }
    }
}

impl fmt::Debug for DynamicCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicCall")
            .field("method", &self.prepared.name)
            .field("ended", &self.call.is_none())
            .finish_non_exhaustive()
    }
}
