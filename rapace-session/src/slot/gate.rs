//! A gate before the calls of a slot, and what a call gives back to the slot when it has ended.

use std::sync::Arc;

use super::{Counted, Slot};
use crate::error::CallError;
use crate::status::{Code, Status};

/// Decides whether calls by way of a slot may go out, and hears how they end: for a circuit breaker.
///
/// It is called on whatever thread makes the call, and must not block.
pub trait Gate: Send + Sync + 'static {
    /// A call is about to be made.
    ///
    /// # Errors
    ///
    /// It may not go out: it is refused with this, and the gate hears no more of it.
    fn admit(&self) -> Result<(), Status>;

    /// A call that was admitted has ended, once, whatever it took to make it. One that its caller gave up has ended with the
    /// status `Cancelled`.
    fn ended(&self, outcome: Result<(), &CallError>);
}

/// A call that a gate has let through, and hears of.
#[derive(Default)]
pub(super) struct Admitted(Option<Arc<Slot>>);

impl Admitted {
    /// Asks the gate, if there is one.
    #[inline]
    pub(super) fn at(slot: &Arc<Slot>) -> Result<Self, CallError> {
        match &slot.gate {
            None => Ok(Self(None)),
            Some(gate) => match gate.admit() {
                Ok(()) => Ok(Self(Some(Arc::clone(slot)))),
                Err(reason) => Err(CallError::Refused { reason }),
            },
        }
    }

    /// The call has ended.
    #[inline]
    pub(super) fn ended(&mut self, outcome: Result<(), &CallError>) {
        if let Some(slot) = self.0.take()
            && let Some(gate) = &slot.gate
        {
            gate.ended(outcome);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0.is_some() {
            let status = Status::new(Code::Cancelled, "the caller has given the call up");
            self.ended(Err(&CallError::Status(status)));
        }
    }
}

/// What a call by way of a slot keeps until it has ended, if anything.
#[derive(Default)]
pub(crate) struct Passage(Option<Box<Kept>>);

/// Word for the gate, and the call's place in the count of its session.
struct Kept {
    admitted: Admitted,
    _counted: Counted,
}

impl Passage {
    #[inline]
    pub(super) fn new(admitted: Admitted, counted: Counted) -> Self {
        if admitted.0.is_none() && counted.0.is_none() {
            return Self(None);
        }
        Self(Some(Box::new(Kept { admitted, _counted: counted })))
    }

    /// The call has ended.
    #[inline]
    pub(crate) fn ended<T>(&mut self, outcome: &Result<T, CallError>) {
        if let Some(mut kept) = self.0.take() {
            kept.admitted.ended(outcome.as_ref().map(|_| ()));
        }
    }
}
