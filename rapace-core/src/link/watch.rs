//! Looking for what would end a wait, while others use the link.

use std::sync::Arc;

use super::Link;
use crate::fault::PeerFault;
use crate::layout::{Geometry, header};
use crate::memory::PeerHalf;
use crate::returns::NextReturn;
use crate::ring::NextEntry;
use crate::sleep::Interest;

/// The peer's half, to be looked at without the link: see [`Watch`].
#[derive(Clone, Debug)]
pub struct PeerView {
    peer: Arc<PeerHalf>,
    geometry: Geometry,
}

/// A look at what would end a wait: made with the link, under its user's lock, and used without it.
#[derive(Debug)]
pub struct Watch {
    next: NextEntry,
    room: Option<RoomMark>,
    came: bool,
}

#[derive(Debug)]
struct RoomMark {
    consumed: u64,
    next_return: NextReturn,
}

impl Watch {
    /// Whether the next frame has come, or there is news of room. What it is, is found out with the link.
    #[inline]
    pub fn came(&self, view: &PeerView) -> bool {
        let PeerView { peer, geometry } = view;
        let ring = peer.words(geometry.ring_offset(), geometry.ring_words());
        if self.came || ring.load(self.next.word) != self.next.empty {
            return true;
        }
        self.room.as_ref().is_some_and(|mark| {
            let returns = peer.words(geometry.returns_offset(), geometry.return_capacity() as usize);
            mark.next_return.came(returns) || peer.words(header::CONSUMED, 1).load(0) != mark.consumed
        })
    }
}

impl Link {
    /// A look at what would end a wait, to be taken without this link.
    ///
    /// With [`Interest::FramesAndRoom`] it takes in what room there is now: room that came since the last attempt to send
    /// is news at once.
    ///
    /// # Errors
    ///
    /// A fault in what the peer says about its progress.
    pub fn watch(&mut self, interest: Interest) -> Result<Watch, PeerFault> {
        let mut watch = Watch { next: self.consumer.next(), room: None, came: false };
        if interest == Interest::FramesAndRoom {
            let progress = self.producer.refresh(self.peer.words(header::CONSUMED, 1))?;
            watch.came = self.reclaim()? | progress;
            watch.room =
                Some(RoomMark { consumed: self.producer.consumed_seen(), next_return: self.return_reader.next() });
        }
        Ok(watch)
    }

    /// The peer's half, for [`Watch::came`].
    pub fn view(&self) -> PeerView {
        PeerView { peer: Arc::clone(&self.peer), geometry: self.geometry }
    }

    /// Whether a watch that is taken now sees something at once.
    ///
    /// # Errors
    ///
    /// As [`Link::watch`].
    pub fn has_news(&mut self, interest: Interest) -> Result<bool, PeerFault> {
        let watch = self.watch(interest)?;
        Ok(watch.came(&self.view()))
    }
}
