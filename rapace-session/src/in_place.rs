//! Large messages that are built where they will be sent from, instead of being copied there.

use std::ops::Deref;
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

/// A body that was written, and lies in slots of a session if there was room.
pub(crate) enum Written {
    Placed(Placed),
    Buffer(Scratch),
    /// It was sent from its place, and is not here any more.
    Sent,
}

/// A body in slots.
pub(crate) struct Placed {
    pub(crate) place: Place,
    /// Room before it, for its prefix.
    pub(crate) begin: usize,
    pub(crate) bytes: usize,
}

impl Deref for Placed {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.place.written().get(self.begin..self.begin + self.bytes).unwrap_or_default()
    }
}

/// A body of so many bytes, which `fill` writes: into slots, behind room for the request's prefix, or, where it finds none,
/// into a buffer that is then copied. What the caller `keeps` goes there in any case.
pub(crate) fn written(
    shared: &Arc<Shared>,
    request: &Request<'_>,
    bytes: usize,
    keeps: bool,
    fill: impl FnOnce(&mut [u8]),
) -> Result<Written, CallError> {
    let begin = Prefix::new(request.time_left, request.metadata).bytes().len();
    let bound = shared.peer().message_bytes_max;
    if bytes > bound {
        return Err(CallError::TooLarge { what: "body", found: bytes, bound });
    }
    if !keeps && let Some(mut place) = Place::new(shared, Class::Request, begin + bytes) {
        fill(&mut place.bytes()[begin..begin + bytes]);
        return Ok(Written::Placed(Placed { place, begin, bytes }));
    }
    let mut body = Scratch::with_room(bytes);
    body.buffer().resize(bytes, 0);
    fill(body.buffer());
    Ok(Written::Buffer(body))
}

impl Written {
    /// The session in whose slots it lies.
    pub(crate) fn home(&self) -> Option<Arc<Shared>> {
        match self {
            Self::Placed(placed) => Some(Arc::clone(&placed.place.shared)),
            Self::Buffer(_) | Self::Sent => None,
        }
    }

    /// Sends a request with this body, which stays here unless it was sent from its place.
    pub(crate) fn start(
        &mut self,
        shared: &Arc<Shared>,
        request: Request<'_>,
        mut patience: Patience,
    ) -> Result<PendingCall, CallError> {
        let (state, key) = self.open(shared, request, &mut patience)?;
        shared.leave(state);
        Ok(PendingCall::new(Arc::clone(shared), key, patience))
    }

    /// The same, and waits for the outcome. What fails with the body still here is an error beside it.
    pub(crate) fn try_call(
        &mut self,
        shared: &Arc<Shared>,
        request: Request<'_>,
        patience: &mut Patience,
    ) -> Result<Outcome, CallError> {
        match self.call(shared, request, patience) {
            Err(error) if !matches!(self, Self::Sent) => Err(error),
            outcome => Ok(outcome),
        }
    }

    /// The same in one.
    pub(crate) fn call(&mut self, shared: &Arc<Shared>, request: Request<'_>, patience: &mut Patience) -> Outcome {
        if let Self::Buffer(body) = self {
            return shared.call_at(Request { body, ..request }, patience);
        }
        let _nested = Shared::nest(request.depth);
        let (state, key) = self.open(shared, request, patience)?;
        shared.outcome(state, key, patience)
    }

    /// Sends it; the lock is held when it has been sent.
    fn open<'a>(
        &mut self,
        shared: &'a Arc<Shared>,
        request: Request<'_>,
        patience: &mut Patience,
    ) -> Result<(Guard<'a, State>, CallKey), CallError> {
        // What is to meet a fault takes the one way on which it does.
        #[cfg(feature = "fault-injection")]
        let at_once = shared.armed().is_none();
        #[cfg(not(feature = "fault-injection"))]
        let at_once = true;
        if at_once
            && let Self::Placed(Placed { place, begin, bytes }) = self
            && place.is_of(shared)
            && *begin == Prefix::new(request.time_left, request.metadata).bytes().len()
        {
            let mut state = shared.state();
            let State { machine, link, .. } = &mut *state;
            let opened = machine.open_in_place(&request, place.loan(), *bytes, link);
            state.flush();
            if let Ok(key) = opened {
                *self = Self::Sent;
                return Ok((state, key));
            }
            shared.leave(state);
            if let Err(Unsent::Failed(error)) = opened {
                return Err(error);
            }
        }
        shared.open(Request { body: self.buffer(), ..request }, patience)
    }

    /// The body in a buffer. Whoever waits holds no slots: the calls that are to end before it may want them for their
    /// requests.
    fn buffer(&mut self) -> &[u8] {
        if let Self::Placed(placed) = self {
            let mut body = Scratch::with_room(placed.bytes);
            body.extend(placed);
            *self = Self::Buffer(body);
        }
        match self {
            Self::Buffer(body) => body,
            Self::Placed(placed) => placed,
            Self::Sent => &[],
        }
    }
}
