//! What generated clients are made of.

mod bytes;
mod streams;
mod unary;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rapace_session::{AsCaller, CallError, CallOptions, Caller, Code, Draft, Metadata, Reply, Status};
use serde::Serialize;

use crate::codec::{Decoder, EncodeError, encode, encode_in, unexpected, unsendable};
use crate::intercept::{Interceptor, Interceptors, SharedInterceptors};
use crate::method_info::MethodInfo;
use crate::watch::Watch;

pub use unary::Unary;

/// Calls methods of a peer by their entries in a table of methods. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    caller: Caller,
    options: CallOptions,
    /// Its own, behind those that it was given with its peer.
    interceptors: Interceptors,
    given: Option<SharedInterceptors>,
}

impl Client {
    /// Calls this peer.
    #[must_use]
    pub fn new(peer: &impl AsCaller) -> Self {
        Self::with_caller(peer, peer.as_caller())
    }

    /// The same by another way to the peer.
    pub(crate) fn with_caller(peer: &impl AsCaller, caller: Caller) -> Self {
        let (options, interceptors, given) = (CallOptions::new(), Interceptors::none(), SharedInterceptors::of(peer));
        Self { caller, options, interceptors, given }
    }

    #[cfg(feature = "json")]
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn options(&self) -> &CallOptions {
        &self.options
    }

    /// Whether anybody on this side wants to know of a call.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        let is_intercepted =
            !self.interceptors.is_empty() || self.given.as_ref().is_some_and(|given| !given.is_empty());
        is_intercepted || Watch::is_wanted()
    }

    /// Those that a call which begins now has to pass.
    fn all_interceptors(&self) -> Cow<'_, Interceptors> {
        match &self.given {
            Some(given) => Cow::Owned(given.get().followed_by(&self.interceptors)),
            None => Cow::Borrowed(&self.interceptors),
        }
    }

    /// A direct call begins; the metadata are added to.
    pub(crate) fn watch(
        &self,
        method: &'static MethodInfo,
        peer: &Arc<str>,
        metadata: &mut Metadata,
    ) -> Result<Watch, CallError> {
        if !self.is_watched() {
            return Ok(Watch::none());
        }
        let deadline = self.options.get_deadline();
        Watch::begin(&self.all_interceptors(), method, peer, metadata, deadline, 0).map_err(CallError::Status)
    }

    /// The same client, which makes each call with these options.
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { options, ..self.clone() }
    }

    /// The same client, which waits so long for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        self.with_options(self.options.clone().deadline(deadline))
    }

    /// The same client, which sends these pairs beside each request.
    #[must_use]
    pub fn with_metadata(&self, metadata: Metadata) -> Self {
        self.with_options(self.options.clone().metadata(metadata))
    }

    /// The same client, whose calls may be run twice: one whose session ends is made again if the peer has come back.
    #[must_use]
    pub fn idempotent(&self) -> Self {
        self.with_options(self.options.clone().idempotent())
    }

    /// The same client, with one more interceptor around each call.
    #[must_use]
    pub fn intercepted_by(&self, interceptor: impl Interceptor) -> Self {
        Self { interceptors: self.interceptors.with(interceptor), ..self.clone() }
    }

    /// Calls a method with one request and one reply.
    ///
    /// # Errors
    ///
    /// When there is no reply, or one that is no `R`.
    pub fn unary<A: Serialize + ?Sized, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        decode: Decoder<R>,
    ) -> Unary<'_, R> {
        // Before the first poll, so that the future does not hold the arguments.
        Unary::new(self, method, encode(arguments), decode)
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`Client::unary`].
    pub fn unary_blocking<A: Serialize + ?Sized, R>(
        &self,
        method: &'static MethodInfo,
        arguments: &A,
        decode: Decoder<R>,
    ) -> Result<R, CallError> {
        let request = if self.is_watched() {
            // Whoever watches may refuse the call, and nothing of it lies where the peer can read it then; or add to its
            // metadata, so that it would not lie well.
            encode(arguments).map(Draft::from)
        } else {
            encode_in(self.caller.draft(&self.options), arguments)
        };
        let request = sendable(method, request)?;
        let (watch, options) = self.begin(method, request.len())?;
        let reply = watch.within(|| self.caller.call_draft(method.id, request, &options));
        finish(method, watch, reply, decode)
    }

    /// A call begins: who watches it, and with what options it is made.
    fn begin(
        &self,
        method: &'static MethodInfo,
        request_bytes: usize,
    ) -> Result<(Watch, Cow<'_, CallOptions>), CallError> {
        if !self.is_watched() {
            return Ok((Watch::none(), Cow::Borrowed(&self.options)));
        }
        let mut metadata = self.options.get_metadata().clone();
        let deadline = self.options.get_deadline();
        let peer: Arc<str> = self.caller.peer_name().unwrap_or_default().into();
        let watch = Watch::begin(&self.all_interceptors(), method, &peer, &mut metadata, deadline, request_bytes);
        Ok((watch.map_err(CallError::Status)?, Cow::Owned(self.options.clone().metadata(metadata))))
    }
}

fn sendable<B>(method: &MethodInfo, request: Result<B, EncodeError>) -> Result<B, CallError> {
    request.map_err(|error| CallError::Status(unsendable(method, "the request", &error)))
}

/// A session knows methods by their ids alone.
pub(crate) fn named(method: &MethodInfo, error: CallError) -> CallError {
    match error {
        CallError::Status(status) if matches!(status.code, Code::Unimplemented | Code::Internal) => {
            let mut message = status.message.replace(&format!("method {}", method.id), &method.full_name().to_string());
            if status.code == Code::Unimplemented {
                message.push_str(": is its service added to the callee's?");
            }
            CallError::Status(Status { message, ..status })
        }
        other => other,
    }
}

/// A call has ended: its reply is read.
fn finish<R>(
    method: &MethodInfo,
    mut watch: Watch,
    reply: Result<Reply, CallError>,
    decode: Decoder<R>,
) -> Result<R, CallError> {
    let result = reply.map_err(|error| named(method, error)).and_then(|reply| {
        watch.add_response_bytes(reply.body.len());
        decode(&reply.body).map_err(|error| unexpected::<R>(method, "the reply", &reply.body, &error))
    });
    watch.end(result.as_ref().err());
    result
}
