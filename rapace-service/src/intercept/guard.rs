//! Ends a call for its interceptors exactly once.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rapace_session::Code;

use super::call::{CallEnd, CallSide, CallStart};
use super::{Interceptor, caught};
use crate::method_info::MethodInfo;

/// A call that its interceptors have let begin.
///
/// Dropped without an end, it ends the call with [`Code::Cancelled`], or with [`Code::Internal`] if a handler's panic is
/// what drops it: so it belongs into the async block that runs the call, which a panic empties on its way out.
#[derive(Debug)]
#[must_use = "a call ends when its guard is dropped"]
pub struct CallGuard {
    running: Option<Running>,
}

struct Running {
    interceptors: Arc<[Arc<dyn Interceptor>]>,
    /// How many of them have begun.
    begun: usize,
    side: CallSide,
    method: &'static MethodInfo,
    peer: Arc<str>,
    deadline: Option<Instant>,
    began: Instant,
    request_bytes: usize,
    response_bytes: usize,
}

impl CallGuard {
    /// Guards nothing: there are no interceptors.
    pub(crate) const fn idle() -> Self {
        Self { running: None }
    }

    /// Guards a call that none of the interceptors has begun.
    pub(crate) fn new(interceptors: Arc<[Arc<dyn Interceptor>]>, call: &CallStart<'_>) -> Self {
        Self {
            running: Some(Running {
                interceptors,
                begun: 0,
                side: call.side(),
                method: call.method(),
                peer: call.peer_shared(),
                deadline: call.deadline(),
                began: call.began(),
                request_bytes: call.request_bytes(),
                response_bytes: 0,
            }),
        }
    }

    /// One more has begun.
    pub(crate) fn began_one(&mut self) {
        if let Some(running) = &mut self.running {
            running.begun += 1;
        }
    }

    /// Counts an item of the caller.
    pub fn add_request_bytes(&mut self, bytes: usize) {
        if let Some(running) = &mut self.running {
            running.request_bytes = running.request_bytes.saturating_add(bytes);
        }
    }

    /// Counts an item of the callee, or the reply's body.
    pub fn add_response_bytes(&mut self, bytes: usize) {
        if let Some(running) = &mut self.running {
            running.response_bytes = running.response_bytes.saturating_add(bytes);
        }
    }

    /// The call has ended: well (`None`), or with a code.
    pub fn end(mut self, code: Option<Code>) {
        if let Some(running) = self.running.take() {
            running.end(code);
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // A caller that panics gives its call up; a callee that does fails it.
            let panicked = running.side == CallSide::Callee && std::thread::panicking();
            running.end(Some(if panicked { Code::Internal } else { Code::Cancelled }));
        }
    }
}

impl Running {
    fn end(self, code: Option<Code>) {
        let mut end = CallEnd {
            side: self.side,
            method: self.method,
            peer: &self.peer,
            deadline: self.deadline,
            code,
            elapsed: self.began.elapsed(),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        };
        for interceptor in self.interceptors[..self.begun].iter().rev() {
            let _ = caught("end", &mut end, |end| interceptor.end(end));
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("side", &self.side)
            .field("method", &self.method)
            .field("peer", &self.peer)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
