//! How the offer and its descriptors get across: in one message, or not at all (SPEC O2).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::{Socket, SocketError, failed, until};
use crate::crash::{Point, crash_point};
use crate::offer::{Backing, OFFER_BYTES_MAX, Offer};
use crate::segment::HalfFds;

/// Descriptors that an offer of sealed halves brings.
const OFFER_FDS: usize = 2;

impl Socket {
    /// Sends the offer, with the descriptors that its backing needs.
    ///
    /// # Errors
    ///
    /// When the peer has gone, or the operating system refuses.
    ///
    /// # Panics
    ///
    /// When there are descriptors for a named segment, or none for sealed halves.
    pub fn send_offer(&self, offer: &Offer, fds: Option<&HalfFds>) -> Result<(), SocketError> {
        assert_eq!(offer.backing == Backing::Sealed, fds.is_some(), "descriptors go with sealed halves");
        let message = offer.encode();
        let fds = fds.map(|fds| [fds.a.as_fd(), fds.b.as_fd()]);
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(OFFER_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(fds) = &fds {
            let fits = control.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(fits, "the space is made for two descriptors");
        }
        let parts = [IoSlice::new(&message)];
        retry_on_intr(|| sendmsg(self, &parts, &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL))
            .map_err(failed("send the offer"))?;
        crash_point(Point::OfferSent);
        Ok(())
    }

    /// Receives the offer, and the descriptors that came with it: both halves or, for a named segment, none.
    ///
    /// # Errors
    ///
    /// When the deadline passes, the peer goes, or what it sends is anything else. No descriptor is kept then.
    pub fn recv_offer(&self, deadline: Instant) -> Result<(Offer, Option<HalfFds>), SocketError> {
        // One byte more than the longest, so that a longer one is seen to be too long.
        let mut message = [0; OFFER_BYTES_MAX + 1];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(OFFER_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received =
            until(self.as_fd(), deadline, || recvmsg(self, &mut [IoSliceMut::new(&mut message)], &mut control, flags))?
                .map_err(failed("receive the offer"))?;
        let fds: Vec<OwnedFd> = control.drain().flat_map(rights).collect();
        if received.bytes == 0 && self.has_ended() {
            return Err(SocketError::PeerGone);
        }
        let offer = Offer::decode(&message[..received.bytes]).map_err(SocketError::Offer)?;
        let found = fds.len();
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(SocketError::DescriptorsTruncated { found });
        }
        let expected = if offer.backing == Backing::Sealed { OFFER_FDS } else { 0 };
        if found != expected {
            return Err(SocketError::DescriptorCount { found, expected });
        }
        crash_point(Point::OfferReceived);
        let mut fds = fds.into_iter();
        let halves = fds.next().zip(fds.next()).map(|(a, b)| HalfFds { a, b });
        Ok((offer, halves))
    }
}

fn rights(message: RecvAncillaryMessage<'_>) -> Vec<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        _ => Vec::new(),
    }
}
