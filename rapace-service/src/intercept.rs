//! Interceptors: what is done at the begin and at the end of every call, on either side of it.
//!
//! ```text
//!   begin: first -> second -> third      the call      end: third -> second -> first
//! ```
//!
//! One that refuses a call ends those that began before it, with its code; those behind it hear nothing of the call. Each
//! end comes exactly once, also when the call's future is dropped or its handler panics: [`CallGuard`] sees to it.

mod bearer_token;
mod call;
mod call_log;
mod call_metrics;
mod guard;
mod histogram;
mod intercepted;
mod metrics_snapshot;
mod per_method;
mod rate;
mod rate_limit;
mod require_bearer;
mod shared;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rapace_session::{Code, Status};

pub use bearer_token::{BearerToken, TokenError};
pub use call::{CallEnd, CallSide, CallStart};
pub use call_log::CallLog;
pub use call_metrics::CallMetrics;
pub use guard::CallGuard;
pub use intercepted::Intercepted;
pub use metrics_snapshot::{MethodMetrics, MetricsSnapshot};
pub use rapace_session::Latency;
pub use rate::{Bucket, Rate, RateError};
pub use rate_limit::RateLimit;
pub use require_bearer::RequireBearer;
pub use shared::SharedInterceptors;

/// Stands at the begin and at the end of calls.
///
/// The same trait serves both sides: a client's interceptors see its calls before they are sent, a server's see them before
/// their handlers run. Neither may block. A panic does not reach the session: in `begin` it refuses the call with
/// [`Code::Internal`], in `end` it is logged.
pub trait Interceptor: Send + Sync + 'static {
    /// A call begins.
    ///
    /// # Errors
    ///
    /// The status with which the call ends at once: it is neither sent nor handled.
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// A call that [`begin`](Self::begin) let pass has ended; one with streams, as a whole.
    fn end(&self, call: &CallEnd<'_>) {
        let _ = call;
    }
}

/// A list of interceptors, cheap to clone. With none in it, a call pays one branch for it.
#[derive(Clone, Default)]
pub struct Interceptors {
    list: Option<Arc<[Arc<dyn Interceptor>]>>,
}

impl Interceptors {
    /// No interceptors.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: None }
    }

    /// The same list with one more behind it: it begins last and ends first.
    #[must_use]
    pub fn with(&self, interceptor: impl Interceptor) -> Self {
        let last: Arc<dyn Interceptor> = Arc::new(interceptor);
        Self { list: Some(self.as_slice().iter().cloned().chain([last]).collect()) }
    }

    /// The same list with these behind it.
    #[must_use]
    pub fn followed_by(&self, others: &Self) -> Self {
        if self.is_empty() || others.is_empty() {
            return if self.is_empty() { others.clone() } else { self.clone() };
        }
        Self { list: Some(self.as_slice().iter().chain(others.as_slice()).cloned().collect()) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Begins a call. `start` is asked for only if there is somebody to tell.
    ///
    /// # Errors
    ///
    /// The status of the interceptor that refused the call.
    pub fn begin<'a>(&self, start: impl FnOnce() -> CallStart<'a>) -> Result<CallGuard, Status> {
        match &self.list {
            None => Ok(CallGuard::idle()),
            Some(list) => begin(list, &mut start()),
        }
    }

    fn as_slice(&self) -> &[Arc<dyn Interceptor>] {
        self.list.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptors").field("len", &self.len()).finish()
    }
}

fn begin(list: &Arc<[Arc<dyn Interceptor>]>, call: &mut CallStart<'_>) -> Result<CallGuard, Status> {
    let mut guard = CallGuard::new(Arc::clone(list), call);
    for interceptor in list.iter() {
        let outcome = caught("begin", call, |call| interceptor.begin(call));
        let refused = match outcome {
            Some(Ok(())) => {
                guard.began_one();
                continue;
            }
            Some(Err(status)) => status,
            None => {
                let name = call.method().full_name();
                Status::new(Code::Internal, format!("an interceptor of {name} panicked when the call began"))
            }
        };
        guard.end(Some(refused.code));
        return Err(refused);
    }
    Ok(guard)
}

/// Runs a step of an interceptor; `None` if it panicked.
fn caught<A: ?Sized, T>(step: &'static str, argument: &mut A, run: impl FnOnce(&mut A) -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(argument)));
    outcome
        .map_err(|payload| {
            tracing::error!(step, "an interceptor panicked");
            // What was thrown may throw in turn when it is dropped: that is forgotten.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            let _ = dropped.map_err(std::mem::forget);
        })
        .ok()
}

#[cfg(test)]
mod tests;
