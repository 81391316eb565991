//! Payloads of a trusted peer, read where they lie.

use std::ops::Deref;

use super::Link;
use crate::descriptor::{Payload, Run};
use crate::memory::{PeerBytes, PeerHalf, Trust};

/// A payload in the peer's half, which is held, and is read without the link and without a copy.
///
/// Its slots are missing to the peer until [`Link::return_view`]; those of a view that is dropped are lost to the session.
#[derive(Debug)]
#[must_use = "the slots of a view must be returned"]
pub struct PayloadView {
    bytes: PeerBytes,
    run: Run,
}

impl PayloadView {
    /// Slots that it keeps from the peer.
    pub fn slots(&self) -> u32 {
        self.run.slots
    }
}

impl Deref for PayloadView {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Link {
    /// Allows views of the peer's payloads.
    pub fn trust_peer(&mut self, trust: Trust) {
        self.trust = Some(trust);
    }

    /// A view of a payload.
    ///
    /// # Errors
    ///
    /// The payload, to be taken or discarded, when the peer is not trusted or it is not in slots.
    ///
    /// # Panics
    ///
    /// When the payload was not received on this link, or has been taken, discarded or viewed before.
    pub fn view_payload(&mut self, payload: Payload) -> Result<PayloadView, Payload> {
        let (Some(trust), Payload::Slots(run)) = (self.trust, payload) else { return Err(payload) };
        let touched = self.geometry.run_slots(run.offset, run.payload_bytes);
        assert_eq!(touched, u64::from(run.slots), "the payload does not end where its run does: {run:?}");
        self.held.pin(&run);
        let at = self.slot_offset(run.slot) + run.offset as usize;
        Ok(PayloadView { bytes: PeerHalf::in_place(&self.peer, trust, at, run.payload_bytes as usize), run })
    }

    /// Returns the slots of a view, which ends here.
    ///
    /// # Panics
    ///
    /// When the view is of another link.
    pub fn return_view(&mut self, view: PayloadView) {
        let PayloadView { bytes, run } = view;
        assert!(bytes.are_of(&self.peer), "a view of another link: {run:?}");
        drop(bytes);
        self.held.unpin(&run);
        self.give_back(&run);
    }
}
