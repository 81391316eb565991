//! What a handler knows of the call that it serves.

mod streams;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rapace_session::{AsCaller, Caller, Code, Draft, IncomingCall, Metadata, Status};
use serde::{Deserialize, Serialize};

use crate::codec::{decode, encode_in, unreadable, unsendable};
use crate::intercept::CallGuard;
use crate::items::ItemBytes;
use crate::method_info::MethodInfo;
use crate::trace::TraceContext;

pub(crate) use streams::check_streams;

/// The call that a handler serves. A method that takes `ctx: &Context` is given it.
///
/// A handler whose call is cancelled while it waits is dropped where it stands. One that has asked, by
/// [`is_cancelled`](Self::is_cancelled) or [`cancelled`](Self::cancelled), goes on, and ends as it likes.
pub struct Context {
    call: IncomingCall,
    method: &'static MethodInfo,
    guard: CallGuard,
    /// What streams carry, if somebody wants to know.
    items: Option<Arc<ItemBytes>>,
    trace: Option<TraceContext>,
    /// Says in what an item of the caller could not be read: whatever the handler makes of it, the call fails with that.
    unreadable_item: OnceLock<Arc<OnceLock<Status>>>,
}

impl Context {
    pub(crate) fn new(
        call: IncomingCall,
        method: &'static MethodInfo,
        guard: CallGuard,
        counts: bool,
        trace: Option<TraceContext>,
    ) -> Self {
        let items = counts.then(Arc::default);
        Self { call, method, guard, items, trace, unreadable_item: OnceLock::new() }
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &'static MethodInfo {
        self.method
    }

    /// The name of the calling peer.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.call.peer()
    }

    /// What came beside the arguments.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.call.metadata()
    }

    /// How deep in a chain of nested calls this is, from 1.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.call.depth()
    }

    /// Until when the caller waits, if it has said so.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.call.deadline()
    }

    /// How long the caller still waits, if it has said so.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.call.time_left()
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    /// The trace that this call is part of.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// The way to call the caller back, nested in this call.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.call.caller()
    }

    /// The arguments, which may borrow from the request.
    ///
    /// # Errors
    ///
    /// What is answered when the request holds something else.
    #[doc(hidden)]
    pub fn arguments<'de, A: Deserialize<'de>>(&'de self) -> Result<A, Status> {
        let body = self.call.body();
        decode(body).map_err(|error| unreadable::<A>(self.method, "the request", body, &error))
    }

    /// The reply.
    ///
    /// # Errors
    ///
    /// What is answered when the result cannot be encoded.
    #[doc(hidden)]
    pub fn encode<T: Serialize + ?Sized>(&self, result: &T) -> Result<Draft, Status> {
        encode_in(self.call.draft(), result).map_err(|error| unsendable(self.method, "the result", &error))
    }

    /// Answers.
    #[doc(hidden)]
    pub fn answer(self, answer: Result<Draft, Status>) {
        let Self { call, mut guard, items, unreadable_item, .. } = self;
        let unreadable = unreadable_item.get().and_then(|item| item.get());
        let answer = unreadable.map_or(answer, |status| Err(status.clone()));
        let bound = call.reply_bytes_max();
        // Here rather than in the session, so that interceptors hear of it.
        let answer = answer.and_then(|reply| match reply.len() {
            found if found > bound => {
                let message = format!("reply has {found} bytes, but the caller takes {bound}");
                Err(Status::new(Code::ResourceExhausted, message))
            }
            _ => Ok(reply),
        });
        if let Some(items) = items {
            items.add_to(&mut guard);
        }
        // Interceptors know of the end before the caller does.
        match answer {
            Ok(reply) => {
                guard.add_response_bytes(reply.len());
                guard.end(None);
                call.reply_draft(reply);
            }
            Err(status) => {
                guard.end(Some(status.code));
                call.fail(status);
            }
        }
    }
}

impl AsCaller for Context {
    fn as_caller(&self) -> Caller {
        self.caller()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("method", self.method).field("call", &self.call).finish_non_exhaustive()
    }
}
