//! A call with one request and one reply, as a future.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rapace_session::{CallError, Calling, Scratch};

use super::{Client, finish, sendable};
use crate::codec::{Decoder, EncodeError};
use crate::method_info::MethodInfo;
use crate::watch::Watch;

/// The future of [`Client::unary`]. Dropped before it is ready, it cancels the call.
#[must_use = "nothing is sent before the first poll"]
pub struct Unary<'a, R> {
    client: &'a Client,
    method: &'static MethodInfo,
    decode: Decoder<R>,
    stage: Stage<'a>,
}

enum Stage<'a> {
    New(Result<Scratch, EncodeError>),
    Calling(Watch, Calling<'a, Scratch>),
    Over,
}

impl<'a, R> Unary<'a, R> {
    pub(super) fn new(
        client: &'a Client,
        method: &'static MethodInfo,
        request: Result<Scratch, EncodeError>,
        decode: Decoder<R>,
    ) -> Self {
        Self { client, method, decode, stage: Stage::New(request) }
    }
}

impl<R> Future for Unary<'_, R> {
    type Output = Result<R, CallError>;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { client, method, decode, stage } = &mut *self;
        if let Stage::New(request) = stage {
            let request = std::mem::replace(request, Ok(Scratch::default()));
            *stage = Stage::Over;
            let request = sendable(method, request)?;
            let (watch, options) = client.begin(method, request.len())?;
            *stage = Stage::Calling(watch, client.caller.call_with(method.id, request, options));
        }
        let Stage::Calling(watch, calling) = stage else { panic!("a call that was ready is polled again") };
        let reply = ready!(watch.within(|| Pin::new(calling).poll(cx)));
        match std::mem::replace(stage, Stage::Over) {
            Stage::Calling(watch, _) => Poll::Ready(finish(method, watch, reply, *decode)),
            Stage::New(_) | Stage::Over => Poll::Pending,
        }
    }
}

impl<R> fmt::Debug for Unary<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unary").field("method", &self.method.full_name()).finish_non_exhaustive()
    }
}
