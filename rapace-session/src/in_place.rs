//! Large messages that are built where they will be sent from, instead of being copied there.

use std::sync::Arc;

use rapace_core::link::Loan;
use rapace_core::slots::Class;

use crate::calls::{CallKey, Outcome};
use crate::error::CallError;
use crate::lock::Guard;
use crate::machine::{Request, Unsent};
use crate::patience::Patience;
use crate::pending::PendingCall;
use crate::prefix::Prefix;
use crate::scratch::Scratch;
use crate::session::CallOptions;
use crate::shared::Shared;
use crate::state::State;

/// Own slots that go back if they are not sent.
pub(crate) struct Place {
    shared: Arc<Shared>,
    loan: Option<Loan>,
}

impl Place {
    /// Slots for so many bytes, if there are any at present.
    pub(crate) fn new(shared: &Arc<Shared>, class: Class, bytes: usize) -> Option<Self> {
        let mut state = shared.state();
        let fits = bytes <= state.link.frame_bytes_max(class);
        let loan = fits.then(|| state.link.try_loan(class, bytes).ok()).flatten();
        shared.leave(state);
        loan.map(|loan| Self { shared: Arc::clone(shared), loan: Some(loan) })
    }

    /// The bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.loan.as_deref_mut().unwrap_or_default()
    }

    /// The same, to read them.
    pub(crate) fn written(&self) -> &[u8] {
        self.loan.as_deref().unwrap_or_default()
    }

    /// Whether they are slots of this session.
    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Takes the slots to send them.
    pub(crate) fn loan(&mut self) -> &mut Option<Loan> {
        &mut self.loan
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(loan) = self.loan.take() {
            let mut state = self.shared.state();
            state.link.return_loan(loan);
            // What was taken for the loan may be what others wait for.
            state.room_was_made();
            self.shared.leave(state);
        }
    }
}

/// A body of so many bytes, which `fill` writes: into slots, behind room for the request's prefix, or, where it finds none,
/// into a buffer that is then copied.
pub(crate) fn written(
    shared: &Arc<Shared>,
    request: &Request<'_>,
    bytes: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result<Result<Place, Scratch>, CallError> {
    let begin = Prefix::new(request.time_left, request.metadata).bytes().len();
    let bound = shared.peer().message_bytes_max;
    if bytes > bound {
        return Err(CallError::TooLarge { what: "body", found: bytes, bound });
    }
    if let Some(mut place) = Place::new(shared, Class::Request, begin + bytes) {
        fill(&mut place.bytes()[begin..begin + bytes]);
        return Ok(Ok(place));
    }
    let mut body = Scratch::with_room(bytes);
    body.buffer().resize(bytes, 0);
    fill(body.buffer());
    Ok(Err(body))
}

/// Sends a request with a body of so many bytes that lies in slots, behind room for its prefix.
pub(crate) fn start(
    shared: &Arc<Shared>,
    request: Request<'_>,
    place: Place,
    bytes: usize,
    options: &CallOptions,
) -> Result<PendingCall, CallError> {
    let (state, key, patience) = open(shared, request, place, bytes, options)?;
    shared.leave(state);
    Ok(PendingCall::new(Arc::clone(shared), key, patience))
}

/// The same, and waits for the outcome.
pub(crate) fn call(
    shared: &Arc<Shared>,
    request: Request<'_>,
    place: Place,
    bytes: usize,
    options: &CallOptions,
) -> Outcome {
    let _nested = Shared::nest(request.depth);
    let (state, key, mut patience) = open(shared, request, place, bytes, options)?;
    shared.outcome(state, key, &mut patience)
}

/// Sends it; the lock is held when it has been sent.
fn open<'a>(
    shared: &'a Arc<Shared>,
    request: Request<'_>,
    mut place: Place,
    bytes: usize,
    options: &CallOptions,
) -> Result<(Guard<'a, State>, CallKey, Patience), CallError> {
    let mut patience = shared.patience(options);
    // What is to meet a fault takes the one way on which it does.
    #[cfg(feature = "fault-injection")]
    let at_once = shared.armed().is_none();
    #[cfg(not(feature = "fault-injection"))]
    let at_once = true;
    if at_once {
        let mut state = shared.state();
        let State { machine, link, .. } = &mut *state;
        let opened = machine.open_in_place(&request, place.loan(), bytes, link);
        state.flush();
        if let Ok(key) = opened {
            return Ok((state, key, patience));
        }
        shared.leave(state);
        if let Err(Unsent::Failed(error)) = opened {
            return Err(error);
        }
    }
    // Whoever waits holds no slots: the calls that are to end before it may want them for their requests.
    let begin = Prefix::new(request.time_left, request.metadata).bytes().len();
    let mut body = Scratch::with_room(bytes);
    body.extend(&place.written()[begin..begin + bytes]);
    drop(place);
    let (state, key) = shared.open(Request { body: &body, ..request }, &mut patience)?;
    Ok((state, key, patience))
}
