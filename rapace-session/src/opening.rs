//! How a task sends a request: at once, or when there is room.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::calls::{CallKey, Outcome};
use crate::error::CallError;
use crate::machine::{Request, Unsent};
use crate::patience::Patience;
use crate::pending;
use crate::shared::Shared;
use crate::state::State;
use crate::waiters::Waits;

/// A call that was sent, and its outcome if that is there already.
pub(crate) type Opened = (CallKey, Option<Outcome>);

/// A task among those that wait for room.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    id: Option<u64>,
    /// What it meets on purpose.
    #[cfg(feature = "fault-injection")]
    meeting: Option<Box<crate::fault_injection::Meeting>>,
}

impl Opening {
    /// Sends the request, or notes who is to be woken when there is room for it. Whoever goes on to wait for the reply within
    /// the same poll says so by `waits`, and may have the outcome at once.
    pub(crate) fn poll(
        &mut self,
        shared: &Arc<Shared>,
        cx: &Context<'_>,
        request: &Request<'_>,
        patience: &mut Patience,
        waits: bool,
    ) -> Poll<Result<Opened, CallError>> {
        #[cfg(feature = "fault-injection")]
        let body = match self.meet(shared, cx, request, patience) {
            Poll::Ready(Ok(body)) => body,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        #[cfg(feature = "fault-injection")]
        let request = &Request { body: body.as_deref().unwrap_or(request.body), ..*request };
        let mut state = shared.state();
        #[cfg(feature = "tokio")]
        let leads = waits && state.leads_alone(0);
        #[cfg(not(feature = "tokio"))]
        let leads = false;
        let mut opened = state.open(request);
        if leads {
            match &opened {
                #[cfg(feature = "tokio")]
                Ok(key) => state = crate::tokio::look_alone(shared, state, *key),
                _ => state.resign(),
            }
        }
        let opened = loop {
            match opened {
                Ok(key) => {
                    self.unregister(&mut state);
                    #[cfg(feature = "fault-injection")]
                    if let Some(meeting) = &mut self.meeting {
                        meeting.sent(&mut state, key);
                    }
                    let outcome = if leads { shared.take(&mut state, key) } else { None };
                    if waits && outcome.is_none() {
                        pending::note(&mut state, key, patience, cx.waker());
                    }
                    break Poll::Ready(Ok((key, outcome)));
                }
                Err(Unsent::Failed(error)) => {
                    self.unregister(&mut state);
                    break Poll::Ready(Err(error));
                }
                Err(Unsent::Full) => {
                    self.unregister(&mut state);
                    if patience.left().is_some_and(|left| left.is_zero()) {
                        break Poll::Ready(Err(CallError::NoRoom { waited: patience.time() }));
                    }
                    self.register(&mut state, cx, patience);
                    if !state.widen_sleep() {
                        break Poll::Pending;
                    }
                    opened = state.open(request);
                }
            }
        };
        shared.leave(state);
        opened
    }

    /// Goes through what is to be met before the request is sent; gives the body that takes the place of its own.
    #[cfg(feature = "fault-injection")]
    fn meet(
        &mut self,
        shared: &Shared,
        cx: &Context<'_>,
        request: &Request<'_>,
        patience: &mut Patience,
    ) -> Poll<Result<Option<Arc<[u8]>>, CallError>> {
        if shared.armed().is_none() {
            return Poll::Ready(Ok(None));
        }
        let meeting = self.meeting.get_or_insert_default();
        meeting.poll(shared, cx, request, patience).map_ok(|()| meeting.body())
    }

    fn register(&mut self, state: &mut State, cx: &Context<'_>, patience: &mut Patience) {
        let until = patience.until();
        let waits = Waits { wants_room: true, until, ..Waits::NOTHING };
        self.id = Some(state.waiters.add(cx.waker(), waits));
        if let Some(until) = until {
            state.note_deadline(until);
        }
    }

    fn unregister(&mut self, state: &mut State) {
        if let Some(id) = self.id.take() {
            let spent = state.waiters.remove(id);
            state.machine.spent().extend(spent);
        }
    }

    /// Nobody waits for room any more. It is due before this goes, unless it was ready.
    pub(crate) fn give_up(&mut self, shared: &Shared) {
        #[cfg(feature = "fault-injection")]
        if let Some(meeting) = &mut self.meeting {
            meeting.give_up(shared);
        }
        if self.id.is_some() {
            let mut state = shared.state();
            self.unregister(&mut state);
            shared.leave(state);
        }
    }
}
