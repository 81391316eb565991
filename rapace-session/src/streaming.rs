//! Calls with items: the caller's end, and the callee's view of the caller's items.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::body::Body;
use crate::caller::Caller;
use crate::calls::{CallKey, Outcome};
use crate::error::CallError;
use crate::machine::{Sent, StreamKey};
use crate::patience::Patience;
use crate::served::ServedKey;
use crate::shared::Shared;
use crate::slot::Passage;
use crate::state::State;
use crate::status::Code;

/// The caller's end of a call with streams. Dropped before its reply was taken, the call is cancelled.
///
/// Items go out while there is credit and room, and come in as they are taken: who takes none stops the sender. Its
/// parts may be polled by different tasks.
#[must_use = "a call that is dropped is cancelled"]
pub struct StreamingCall {
    shared: Arc<Shared>,
    key: CallKey,
    inner: Mutex<Inner>,
}

struct Inner {
    deadline: Patience,
    taken: bool,
    passage: Passage,
}

impl StreamingCall {
    pub(crate) fn new(shared: Arc<Shared>, key: CallKey, deadline: Patience, passage: Passage) -> Self {
        Self { shared, key, inner: Mutex::new(Inner { deadline, taken: false, passage }) }
    }

    /// The way to call the peer that this call is with: who waits for the call [blocks](Caller::block_on) on that one.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.shared, 0)
    }

    /// Sends an item as soon as there is credit and room.
    ///
    /// # Errors
    ///
    /// When it will never go: it is too large, or the call has ended, and the reply says how.
    pub fn poll_send(&self, cx: &mut Context<'_>, item: &[u8]) -> Poll<Result<(), CallError>> {
        self.polled(|state| send(state, StreamKey::Ours(self.key), item, cx.waker()))
    }

    /// Ends the items of this side. It never waits; a second time does nothing.
    pub fn finish(&self) {
        let mut state = self.shared.state();
        let State { machine, link, .. } = &mut *state;
        machine.end_items(StreamKey::Ours(self.key), link);
        state.flush();
        self.shared.leave(state);
    }

    /// The next item; none when the callee has sent its reply and all items before it were taken, or when the call has
    /// failed, as the reply says.
    pub fn poll_item(&self, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        let taken = self.polled(|state| take(state, StreamKey::Ours(self.key), cx.waker()));
        // What is wrong with an item has ended the call.
        taken.map(|item| item.unwrap_or_default())
    }

    /// How the call has ended. Items that were not taken before are gone then.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Panics
    ///
    /// When it is polled again after it was ready.
    pub fn poll_reply(&self, cx: &mut Context<'_>) -> Poll<Outcome> {
        assert!(!self.inner.lock().taken, "a call that was ready is polled again");
        let outcome = self.polled(|state| {
            let outcome = self.shared.take(state, self.key);
            if outcome.is_none() {
                state.machine.set_waker(self.key, cx.waker());
            }
            outcome.map_or(Poll::Pending, Poll::Ready)
        });
        if let Poll::Ready(outcome) = &outcome {
            let mut inner = self.inner.lock();
            inner.taken = true;
            let mut passage = std::mem::take(&mut inner.passage);
            drop(inner);
            passage.ended(outcome);
        }
        outcome
    }

    /// Looks with the ring drained, and with the call failed if its time is over.
    fn polled<T>(&self, look: impl FnOnce(&mut State) -> Poll<T>) -> Poll<T> {
        let mut state = self.shared.state();
        if !state.leading {
            state.pump();
        }
        let mut inner = self.inner.lock();
        if let Some(until) = inner.deadline.until() {
            if inner.deadline.left().is_some_and(|left| left.is_zero()) {
                let error = CallError::DeadlineExceeded { waited: inner.deadline.time() };
                let State { machine, link, .. } = &mut *state;
                machine.fail_call(self.key, error, link);
            } else {
                state.machine.set_deadline(self.key, until);
                state.note_deadline(until);
            }
        }
        drop(inner);
        let found = look(&mut state);
        state.flush();
        self.shared.leave(state);
        found
    }
}

impl Drop for StreamingCall {
    fn drop(&mut self) {
        if !self.inner.get_mut().taken {
            self.shared.abandon(self.key, Code::Cancelled);
        }
    }
}

impl fmt::Debug for StreamingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingCall").field("key", &self.key).finish()
    }
}

/// The caller's items, in the hands of the callee.
pub struct Items {
    shared: Arc<Shared>,
    key: ServedKey,
    ended: bool,
}

impl Items {
    pub(crate) fn new(shared: Arc<Shared>, key: ServedKey) -> Self {
        Self { shared, key, ended: false }
    }

    /// The next item; none behind the last, or behind an error.
    ///
    /// # Errors
    ///
    /// When there will be no more, though the caller has not said that it was the last: the caller has cancelled, the call
    /// was answered, the session has ended, or an item could not be kept.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Body, CallError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut state = self.shared.state();
        if !state.leading {
            state.pump();
        }
        let item = take(&mut state, StreamKey::Theirs(self.key), cx.waker());
        state.flush();
        self.shared.leave(state);
        self.ended = matches!(item, Poll::Ready(Ok(None) | Err(_)));
        item.map(Result::transpose)
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("channel", &self.key.channel()).finish()
    }
}

/// Sends an item of either side, or notes who waits to.
pub(crate) fn send(state: &mut State, key: StreamKey, item: &[u8], waker: &Waker) -> Poll<Result<(), CallError>> {
    let State { machine, link, .. } = state;
    match machine.send_item(key, item, waker, link) {
        Sent::Done => Poll::Ready(Ok(())),
        Sent::Pending => Poll::Pending,
        Sent::Failed(error) => Poll::Ready(Err(error)),
    }
}

fn take(state: &mut State, key: StreamKey, waker: &Waker) -> Poll<Result<Option<Body>, CallError>> {
    let State { machine, link, .. } = state;
    machine.take_item(key, waker, link).map_or(Poll::Pending, Poll::Ready)
}
