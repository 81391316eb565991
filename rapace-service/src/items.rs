//! How much the streams of a call have carried, for its interceptors.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::intercept::CallGuard;

/// Counts the bytes of items on either side of a call, wherever its streams are.
#[derive(Debug, Default)]
pub(crate) struct ItemBytes {
    request: AtomicUsize,
    response: AtomicUsize,
}

impl ItemBytes {
    /// An item of the caller.
    pub(crate) fn add_request(&self, bytes: usize) {
        // A count that nothing else rests on.
        self.request.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An item of the callee.
    pub(crate) fn add_response(&self, bytes: usize) {
        self.response.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Hands the counts over at the call's end.
    pub(crate) fn add_to(&self, guard: &mut CallGuard) {
        guard.add_request_bytes(self.request.load(Ordering::Relaxed));
        guard.add_response_bytes(self.response.load(Ordering::Relaxed));
    }
}
