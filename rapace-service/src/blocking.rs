//! A stream from the peer, for threads that block.

use std::iter::FusedIterator;

use rapace_session::CallError;

use crate::direct::block_on;
use crate::incoming::Incoming;

/// A stream of values from the callee. Waiting for the next one blocks this thread, which serves the peer's calls meanwhile.
///
/// It ends after its first error. Dropping it before its end cancels the call.
#[derive(Debug)]
#[must_use = "a stream that is dropped is cancelled"]
pub struct BlockingIncoming<T> {
    /// None when it has ended.
    incoming: Option<Incoming<T>>,
}

impl<T> BlockingIncoming<T> {
    pub(crate) fn new(incoming: Incoming<T>) -> Self {
        Self { incoming: Some(incoming) }
    }
}

impl<T> Iterator for BlockingIncoming<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        let incoming = self.incoming.as_mut()?;
        let item = match incoming.caller() {
            // Its own session, whichever one others are called at by now.
            Some(caller) => caller.block_on(incoming.next()).unwrap_or_else(|error| Some(Err(error))),
            None => block_on(incoming.next()),
        };
        if !matches!(item, Some(Ok(_))) {
            self.incoming = None;
        }
        item
    }
}

impl<T> FusedIterator for BlockingIncoming<T> {}
