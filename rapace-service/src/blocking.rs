//! A stream from the peer, for threads that block.

use std::iter::FusedIterator;

use rapace_session::{CallError, Caller};

use crate::incoming::Incoming;

/// A stream of values from the callee. Waiting for the next one blocks this thread, which serves the peer's calls meanwhile.
///
/// It ends after its first error. Dropping it before its end cancels the call.
#[derive(Debug)]
#[must_use = "a stream that is dropped is cancelled"]
pub struct BlockingIncoming<T> {
    /// None when it has ended.
    incoming: Option<Incoming<T>>,
    caller: Caller,
}

impl<T> BlockingIncoming<T> {
    pub(crate) fn new(incoming: Incoming<T>, caller: Caller) -> Self {
        Self { incoming: Some(incoming), caller }
    }
}

impl<T> Iterator for BlockingIncoming<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        let incoming = self.incoming.as_mut()?;
        let item = self.caller.block_on(incoming.next()).unwrap_or_else(|error| Some(Err(error)));
        if !matches!(item, Some(Ok(_))) {
            self.incoming = None;
        }
        item
    }
}

impl<T> FusedIterator for BlockingIncoming<T> {}
