//! What an interceptor is told of a call.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rapace_session::{Code, Metadata};

use crate::method_info::MethodInfo;

/// On which side of a call an interceptor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallSide {
    /// It calls.
    Caller,
    /// It is called.
    Callee,
}

impl fmt::Display for CallSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        })
    }
}

/// The caller's metadata have not been sent yet; the callee's are what came.
#[derive(Debug)]
enum Pairs<'a> {
    Sent(&'a mut Metadata),
    Came(&'a Metadata),
}

/// A call that begins.
#[derive(Debug)]
pub struct CallStart<'a> {
    method: &'static MethodInfo,
    peer: &'a Arc<str>,
    metadata: Pairs<'a>,
    deadline: Option<Instant>,
    request_bytes: usize,
    began: Instant,
}

impl<'a> CallStart<'a> {
    /// A call that this side is about to send; `time_left` is how long it waits for the reply.
    pub fn caller(
        method: &'static MethodInfo,
        peer: &'a Arc<str>,
        metadata: &'a mut Metadata,
        time_left: Option<Duration>,
        request_bytes: usize,
    ) -> Self {
        let began = Instant::now();
        // A deadline that no clock can show is none.
        let deadline = time_left.and_then(|left| began.checked_add(left));
        Self { method, peer, metadata: Pairs::Sent(metadata), deadline, request_bytes, began }
    }

    /// A call of the peer that this side is about to handle.
    pub fn callee(
        method: &'static MethodInfo,
        peer: &'a Arc<str>,
        metadata: &'a Metadata,
        deadline: Option<Instant>,
        request_bytes: usize,
    ) -> Self {
        Self { method, peer, metadata: Pairs::Came(metadata), deadline, request_bytes, began: Instant::now() }
    }

    /// On which side of the call this is.
    #[must_use]
    pub fn side(&self) -> CallSide {
        match self.metadata {
            Pairs::Sent(_) => CallSide::Caller,
            Pairs::Came(_) => CallSide::Callee,
        }
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &'static MethodInfo {
        self.method
    }

    /// The name of the peer.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.peer
    }

    /// What goes beside the request's body.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match &self.metadata {
            Pairs::Sent(metadata) => metadata,
            Pairs::Came(metadata) => metadata,
        }
    }

    /// The same, to add to it: `None` on the callee's side, where the request has been sent already.
    pub fn metadata_mut(&mut self) -> Option<&mut Metadata> {
        match &mut self.metadata {
            Pairs::Sent(metadata) => Some(metadata),
            Pairs::Came(_) => None,
        }
    }

    /// Until when the caller waits, if it says so.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Bytes of the request's body, without the items of a stream.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    pub(crate) fn peer_shared(&self) -> Arc<str> {
        Arc::clone(self.peer)
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct CallEnd<'a> {
    pub(crate) side: CallSide,
    pub(crate) method: &'static MethodInfo,
    pub(crate) peer: &'a str,
    pub(crate) deadline: Option<Instant>,
    pub(crate) code: Option<Code>,
    pub(crate) elapsed: Duration,
    pub(crate) request_bytes: usize,
    pub(crate) response_bytes: usize,
}

impl CallEnd<'_> {
    /// On which side of the call this is.
    #[must_use]
    pub fn side(&self) -> CallSide {
        self.side
    }

    /// The method that was called.
    #[must_use]
    pub fn method(&self) -> &'static MethodInfo {
        self.method
    }

    /// The name of the peer.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.peer
    }

    /// Until when the caller waited, if it said so.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How the call failed; `None` if it went well. An error of the service's own travels in a reply, and is none.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// The time since the call began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Bytes of the request's body and of the caller's items.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Bytes of the reply's body and of the callee's items.
    #[must_use]
    pub fn response_bytes(&self) -> usize {
        self.response_bytes
    }
}
