//! Calls of methods that are known by their ids: what goes there and comes back are bytes.

use std::future::poll_fn;
use std::pin::pin;

use rapace_session::{CallError, CallOptions, Reply, StreamingCall, Streams};

use super::Client;
use crate::method_info::MethodInfo;
use crate::watch::Watch;

impl Client {
    /// Calls a method with a request of any bytes, with these options, and blocks this thread until the reply has come.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_bytes(
        &self,
        method: &'static MethodInfo,
        id: u32,
        request: &[u8],
        options: &CallOptions,
    ) -> Result<Reply, CallError> {
        self.with_options(options.clone()).request_blocking(method, id, request)
    }

    /// The same with the client's options.
    pub(crate) fn request_blocking(
        &self,
        method: &'static MethodInfo,
        id: u32,
        request: &[u8],
    ) -> Result<Reply, CallError> {
        let (watch, options) = self.begin(method, request.len())?;
        let reply = watch.within(|| self.caller.call_blocking(id, request, &options));
        ended(watch, reply)
    }

    /// The same as a future.
    #[cfg(feature = "json")]
    pub(crate) async fn request(
        &self,
        method: &'static MethodInfo,
        id: u32,
        request: &[u8],
    ) -> Result<Reply, CallError> {
        let (watch, options) = self.begin(method, request.len())?;
        let mut calling = pin!(self.caller.call_with(id, request, options));
        let reply = poll_fn(|cx| watch.within(|| calling.as_mut().poll(cx))).await;
        ended(watch, reply)
    }

    /// Opens a call with streams. Whoever has it ends the watch.
    pub(crate) async fn open_bytes(
        &self,
        method: &'static MethodInfo,
        id: u32,
        request: &[u8],
        streams: Streams,
    ) -> Result<(StreamingCall, Watch), CallError> {
        let (watch, options) = self.begin(method, request.len())?;
        let opened = {
            let mut open = pin!(self.caller.open(id, request, streams, &options));
            poll_fn(|cx| watch.within(|| open.as_mut().poll(cx))).await
        };
        match opened {
            Ok(call) => Ok((call, watch)),
            Err(error) => {
                watch.end(Some(&error));
                Err(error)
            }
        }
    }
}

fn ended(mut watch: Watch, reply: Result<Reply, CallError>) -> Result<Reply, CallError> {
    if let Ok(reply) = &reply {
        watch.add_response_bytes(reply.body.len());
    }
    watch.end(reply.as_ref().err());
    reply
}
