//! Payloads that are built where they will be sent from.

use std::ops::{Deref, DerefMut, Range};

use super::{Link, SendRefusal};
use crate::descriptor::{FrameHeader, Inline, Payload};
use crate::layout::{WORD_BYTES, header};
use crate::memory::LentBytes;
use crate::slots::{Class, OwnRun};

/// Own slots, to be filled without the link: all bytes of a run, zeros or what was there before.
///
/// It ends in [`Link::send_loan`] or [`Link::return_loan`]; the slots of one that is dropped are lost to the session.
#[derive(Debug)]
#[must_use = "a loan is sent or returned"]
pub struct Loan {
    bytes: LentBytes,
    run: OwnRun,
}

impl Deref for Loan {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Loan {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Link {
    /// Lends slots for a payload of at least `bytes` bytes, where frames of this class may lie.
    ///
    /// # Errors
    ///
    /// Says that there are not enough slots, now or ever, or that the peer broke a rule.
    pub fn try_loan(&mut self, class: Class, bytes: usize) -> Result<Loan, SendRefusal> {
        let bytes = bytes.max(1);
        let slot = self.take_slots(class, bytes).inspect_err(|_| self.stats.refusals += 1)?;
        let run = self.pool.taken(slot, self.slots_of(bytes));
        let run_bytes = run.slots as usize * self.geometry.slot_bytes() as usize;
        Ok(Loan { bytes: self.own.lend(self.slot_offset(run.slot), run_bytes), run })
    }

    /// Publishes a frame whose payload is this part of a loan. Slots behind it are free again.
    ///
    /// A reply may be built in slots of any class, so that one that takes long leaves those alone that are kept for
    /// others.
    ///
    /// # Errors
    ///
    /// The loan, with all that is in it, and why the frame was not sent: the ring is full, or the peer broke a rule.
    ///
    /// # Panics
    ///
    /// When the payload does not lie within the loan, or begins at no multiple of 8 or behind the first slot; when the loan
    /// is of another link, or lies where frames of this kind may not.
    pub fn send_loan(
        &mut self,
        loan: Loan,
        payload: Range<usize>,
        header: &FrameHeader,
    ) -> Result<(), (Loan, SendRefusal)> {
        let begins_well = payload.start.is_multiple_of(WORD_BYTES)
            && payload.start < self.geometry.slot_bytes() as usize
            && payload.start <= payload.end;
        assert!(begins_well && payload.end <= loan.len(), "payload {payload:?} in a loan of {} bytes", loan.len());
        assert!(self.own.lent_out(&loan.bytes), "a loan of another link: {:?}", loan.run);
        let class = Class::of(header.kind);
        assert!(self.pool.may_hold(&loan.run, class), "a frame of kind {:?} in {:?}", header.kind, loan.run);
        let refusal = match self.producer.has_room(self.ring_reserve(class), self.peer.words(header::CONSUMED, 1)) {
            Ok(true) => None,
            Ok(false) => Some(SendRefusal::RingFull),
            Err(fault) => Some(fault.into()),
        };
        if let Some(refusal) = refusal {
            self.stats.refusals += 1;
            return Err((loan, refusal));
        }
        let Loan { bytes, run } = loan;
        let payload = if let Some(inline) = Inline::new(&bytes[payload.clone()]) {
            self.own.take_back(bytes);
            self.pool.give_up(run);
            Payload::Inline(inline)
        } else {
            self.own.take_back(bytes);
            Payload::Slots(self.hand_over(run, payload.start, payload.len()))
        };
        self.publish(header, payload.to_words());
        Ok(())
    }

    /// Takes a loan back unsent.
    ///
    /// # Panics
    ///
    /// When the loan is of another link.
    pub fn return_loan(&mut self, loan: Loan) {
        let Loan { bytes, run } = loan;
        self.own.take_back(bytes);
        self.pool.give_up(run);
    }
}
