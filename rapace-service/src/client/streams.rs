//! Calls with streams.
//!
//! A call that gives a stream is opened by an `async fn`: it waits for room like any request, and what keeps it from being
//! opened at all is known before the first item is asked for.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_core::Stream;
use rapace_session::{CallError, Scratch, StreamingCall, Streams};
use serde::Serialize;

use super::{Client, finish, sendable};
use crate::blocking::BlockingIncoming;
use crate::codec::{Decoder, EncodeError, Encoder, encode};
use crate::incoming::{Callee, Incoming};
use crate::method_info::MethodInfo;
use crate::pump::{Iter, Pump, Pumped};
use crate::watch::Watch;

impl Client {
    /// Calls a method with a stream of the caller's and one reply.
    ///
    /// # Errors
    ///
    /// When there is no reply, or one that is no `R`.
    pub fn send<A: Serialize + ?Sized, S: Stream + Send, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        stream: S,
        encode_item: Encoder<S::Item>,
        decode: Decoder<R>,
    ) -> impl Future<Output = Result<R, CallError>> + Send + use<'_, A, S, R> {
        let request = encode(arguments);
        async move {
            let (call, watch) = self.open(method, request, Streams { sends: true, receives: false }).await?;
            send_all(method, &call, watch, stream, encode_item, decode).await
        }
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub fn send_blocking<A: Serialize + ?Sized, I: IntoIterator, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        items: I,
        encode_item: Encoder<I::Item>,
        decode: Decoder<R>,
    ) -> Result<R, CallError> {
        let streams = Streams { sends: true, receives: false };
        let (call, watch) = self.caller.block_on(self.open(method, encode(arguments), streams))??;
        let stream = Iter(items.into_iter());
        call.caller().block_on(send_all(method, &call, watch, stream, encode_item, decode))?
    }

    /// Calls a method with one request and a stream of the callee's.
    ///
    /// # Errors
    ///
    /// When the call cannot be made.
    pub fn receive<A: Serialize + ?Sized, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        decode: Decoder<R>,
    ) -> impl Future<Output = Result<Incoming<R>, CallError>> + Send + use<'_, A, R> {
        let request = encode(arguments);
        async move {
            let (call, watch) = self.open(method, request, Streams { sends: false, receives: true }).await?;
            Ok(Incoming::of_callee(Callee { call, watch, pump: None }, method, decode))
        }
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`Client::receive`].
    pub fn receive_blocking<A: Serialize + ?Sized, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        decode: Decoder<R>,
    ) -> Result<BlockingIncoming<R>, CallError> {
        let incoming = self.caller.block_on(self.receive(method, arguments, decode))??;
        Ok(BlockingIncoming::new(incoming))
    }

    /// Calls a method with a stream each way. The caller's is sent while the callee's is polled.
    ///
    /// # Errors
    ///
    /// When the call cannot be made.
    pub fn exchange<A: Serialize + ?Sized, S: Stream + Send + 'static, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        stream: S,
        encode_item: Encoder<S::Item>,
        decode: Decoder<R>,
    ) -> impl Future<Output = Result<Incoming<R>, CallError>> + Send + use<'_, A, S, R> {
        let request = encode(arguments);
        async move {
            let (call, watch) = self.open(method, request, Streams { sends: true, receives: true }).await?;
            let pump: Box<dyn Pumped + Send> = Box::new(Pump::new(method, Box::pin(stream), encode_item));
            Ok(Incoming::of_callee(Callee { call, watch, pump: Some(pump) }, method, decode))
        }
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`Client::exchange`].
    pub fn exchange_blocking<A: Serialize + ?Sized, I, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        items: I,
        encode_item: Encoder<I::Item>,
        decode: Decoder<R>,
    ) -> Result<BlockingIncoming<R>, CallError>
    where
        I: IntoIterator<IntoIter: Send + 'static>,
    {
        let stream = Iter(items.into_iter());
        let incoming = self.caller.block_on(self.exchange(method, arguments, stream, encode_item, decode))??;
        Ok(BlockingIncoming::new(incoming))
    }

    async fn open(
        &self,
        method: &'static MethodInfo,
        request: Result<Scratch, EncodeError>,
        streams: Streams,
    ) -> Result<(StreamingCall, Watch), CallError> {
        let request = sendable(method, request)?;
        self.open_bytes(method, method.id, &request, streams).await
    }
}

/// Sends a stream into a call and waits for the reply.
async fn send_all<S: Stream, R>(
    method: &'static MethodInfo,
    call: &StreamingCall,
    mut watch: Watch,
    stream: S,
    encode_item: Encoder<S::Item>,
    decode: Decoder<R>,
) -> Result<R, CallError> {
    let stream = pin!(stream);
    let mut pump = Pump::new(method, stream, encode_item);
    let mut sent = 0;
    let reply = poll_fn(|cx| {
        watch.within(|| match pump.poll(cx, call, &mut sent) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => call.poll_reply(cx),
        })
    })
    .await;
    watch.add_request_bytes(sent);
    finish(method, watch, reply, decode)
}
