//! What a handler knows of the call that it serves.

mod streams;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rapace_session::{AsCaller, Caller, Code, Draft, IncomingCall, Metadata, Status};
use serde::{Deserialize, Serialize};

use crate::built_in::Shared;
use crate::codec::{decode, encode_in, unreadable, unsendable};
use crate::intercept::CallGuard;
use crate::items::ItemBytes;
use crate::method_info::MethodInfo;
use crate::trace::{Outcome, TraceContext};

pub(crate) use streams::check_streams;

/// The call that a handler serves. A method that takes `ctx: &Context` is given it.
///
/// A handler whose call is cancelled while it waits is dropped where it stands. One that has asked, by
/// [`is_cancelled`](Self::is_cancelled) or [`cancelled`](Self::cancelled), goes on, and ends as it likes.
pub struct Context {
    method: &'static MethodInfo,
    trace: Option<TraceContext>,
    origin: Origin,
}

/// Where the call comes from.
#[allow(clippy::large_enum_variant, reason = "neither kind of call is to allocate for the other")]
enum Origin {
    Session(Received),
    ThisProcess(Direct),
}

/// A call that has come through a session.
struct Received {
    call: IncomingCall,
    guard: CallGuard,
    outcome: Outcome,
    /// What streams carry, if somebody wants to know.
    items: Option<Arc<ItemBytes>>,
    /// Says in what an item of the caller could not be read: whatever the handler makes of it, the call fails with that.
    unreadable_item: OnceLock<Arc<OnceLock<Status>>>,
}

/// A call of a client in this process.
struct Direct {
    built_in: Arc<Shared>,
    metadata: Metadata,
    deadline: Option<Instant>,
    depth: u8,
}

impl Context {
    pub(crate) fn new(
        call: IncomingCall,
        method: &'static MethodInfo,
        guard: CallGuard,
        outcome: Outcome,
        counts: bool,
        trace: Option<TraceContext>,
    ) -> Self {
        let items = counts.then(Arc::default);
        let received = Received { call, guard, outcome, items, unreadable_item: OnceLock::new() };
        Self { method, trace, origin: Origin::Session(received) }
    }

    pub(crate) fn direct(
        built_in: Arc<Shared>,
        method: &'static MethodInfo,
        metadata: Metadata,
        deadline: Option<Instant>,
        depth: u8,
        trace: Option<TraceContext>,
    ) -> Self {
        Self { method, trace, origin: Origin::ThisProcess(Direct { built_in, metadata, deadline, depth }) }
    }

    /// The call of a session; generated code asks only where there is one.
    fn received(&self) -> Result<&Received, Status> {
        match &self.origin {
            Origin::Session(received) => Ok(received),
            Origin::ThisProcess(_) => Err(Status::new(Code::Internal, "a direct call has no bytes")),
        }
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &'static MethodInfo {
        self.method
    }

    /// The name of the calling peer.
    #[must_use]
    pub fn peer(&self) -> &str {
        match &self.origin {
            Origin::Session(received) => received.call.peer(),
            Origin::ThisProcess(direct) => direct.built_in.host_name(),
        }
    }

    /// What came beside the arguments.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match &self.origin {
            Origin::Session(received) => received.call.metadata(),
            Origin::ThisProcess(direct) => &direct.metadata,
        }
    }

    /// How deep in a chain of nested calls this is, from 1.
    #[must_use]
    pub fn depth(&self) -> u8 {
        match &self.origin {
            Origin::Session(received) => received.call.depth(),
            Origin::ThisProcess(direct) => direct.depth,
        }
    }

    /// Until when the caller waits, if it has said so.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.origin {
            Origin::Session(received) => received.call.deadline(),
            Origin::ThisProcess(direct) => direct.deadline,
        }
    }

    /// How long the caller still waits, if it has said so.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether nobody waits for the answer any more. A [direct call](crate::BuiltIn) that is cancelled is dropped instead.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &self.origin {
            Origin::Session(received) => received.call.is_cancelled(),
            Origin::ThisProcess(direct) => direct.deadline.is_some_and(|deadline| Instant::now() >= deadline),
        }
    }

    /// The trace that this call is part of.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// The way to call the caller back, nested in this call.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match &self.origin {
            Origin::Session(received) => received.call.caller(),
            Origin::ThisProcess(direct) => direct.built_in.host(),
        }
    }

    /// The arguments, which may borrow from the request.
    ///
    /// # Errors
    ///
    /// What is answered when the request holds something else.
    #[doc(hidden)]
    pub fn arguments<'de, A: Deserialize<'de>>(&'de self) -> Result<A, Status> {
        let body = self.received()?.call.body();
        decode(body).map_err(|error| unreadable::<A>(self.method, "the request", body, &error))
    }

    /// The reply.
    ///
    /// # Errors
    ///
    /// What is answered when the result cannot be encoded.
    #[doc(hidden)]
    pub fn encode<T: Serialize + ?Sized>(&self, result: &T) -> Result<Draft, Status> {
        encode_in(self.received()?.call.draft(), result).map_err(|error| unsendable(self.method, "the result", &error))
    }

    /// Answers.
    #[doc(hidden)]
    pub fn answer(self, answer: Result<Draft, Status>) {
        let Origin::Session(received) = self.origin else { return };
        let Received { call, mut guard, outcome, items, unreadable_item } = received;
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
                outcome.end(None);
                call.reply_draft(reply);
            }
            Err(status) => {
                guard.end(Some(status.code));
                outcome.end(Some(status.code));
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
        let mut f = f.debug_struct("Context");
        f.field("method", self.method);
        match &self.origin {
            Origin::Session(received) => f.field("call", &received.call),
            Origin::ThisProcess(direct) => f.field("plugin", &direct.built_in),
        };
        f.finish_non_exhaustive()
    }
}
