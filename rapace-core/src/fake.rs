//! A peer that can lie: raw access to every word that a peer may write, for tests and fuzzing.

use std::num::NonZeroU64;

use crate::descriptor::BODY_WORDS;
use crate::layout::{Geometry, LINE_BYTES, LINE_WORDS, PAGE_BYTES, header};
use crate::link::Link;
use crate::segment::{Prefault, Segment};
use crate::side::Side;
use crate::socket::Socket;
use crate::sync::Ordering;

/// The other end of a [`Link`], in this process, without any of its manners.
#[derive(Debug)]
pub struct FakePeer {
    segment: Segment,
    /// Its end of the socket.
    pub socket: Socket,
    published: u64,
    taken: u64,
}

/// Why there is no fake peer.
pub type FakeError = Box<dyn std::error::Error + Send + Sync>;

impl FakePeer {
    /// A link of `side`, and the fake peer opposite.
    ///
    /// # Errors
    ///
    /// When the operating system gives no memory or no socket.
    pub fn pair(geometry: Geometry, nonce: NonZeroU64, side: Side) -> Result<(Link, Self), FakeError> {
        let (a, fds) = Segment::create(geometry, nonce.get(), Prefault::Lazy)?;
        let offer = crate::offer::Offer::new(crate::offer::Backing::Sealed, nonce.get(), geometry);
        let b = Segment::accept(&offer, fds)?;
        let (here, there) = Socket::pair()?;
        let (ours, theirs) = match side {
            Side::A => (a, b),
            Side::B => (b, a),
        };
        Ok((Link::new(ours, here), Self::new(theirs, there)))
    }

    /// A fake peer over the memory and the socket of whatever is at the other end.
    pub fn new(segment: Segment, socket: Socket) -> Self {
        Self { segment, socket, published: 0, taken: 0 }
    }

    /// The layout.
    pub fn geometry(&self) -> &Geometry {
        &self.segment.geometry
    }

    /// Stores any value in any word of its half.
    ///
    /// # Panics
    ///
    /// When the word is outside of the half.
    pub fn store(&self, byte_offset: usize, value: u64) {
        self.segment.own.words(byte_offset, 1)[0].store(value, Ordering::Release);
    }

    /// Loads any word of the other half.
    pub fn load(&self, byte_offset: usize) -> u64 {
        self.segment.peer.words(byte_offset, 1).load(0)
    }

    /// Publishes any words as the next descriptor.
    pub fn publish(&mut self, body: [u64; BODY_WORDS]) {
        self.published += 1;
        self.publish_as(self.published, body);
    }

    /// Publishes any words in the entry of the next descriptor, with any sequence.
    pub fn publish_as(&self, sequence: u64, body: [u64; BODY_WORDS]) {
        let at = self.entry(self.published.max(1) - 1);
        for (index, value) in body.into_iter().enumerate() {
            self.store(at + 8 * (index + 1), value);
        }
        self.store(at, sequence);
    }

    /// Writes bytes into a slot of its half, cut at the end of the half.
    pub fn write_slot(&mut self, slot: u32, bytes: &[u8]) {
        let geometry = self.segment.geometry;
        let at = geometry.slots_offset() + slot as usize * geometry.slot_bytes() as usize;
        let room = geometry.half_bytes().saturating_sub(at);
        self.segment.own.write(at, &bytes[..bytes.len().min(room)]);
    }

    /// Stores any word in any entry of its return ring.
    pub fn store_return(&self, index: u32, word: u64) {
        let geometry = &self.segment.geometry;
        self.store(geometry.returns_offset() + 8 * (index % geometry.return_capacity()) as usize, word);
    }

    /// Announces any progress.
    pub fn announce(&self, consumed: u64) {
        self.store(header::CONSUMED, consumed);
    }

    /// The next descriptor of the link, if there is one: its words behind the sequence word. Announces it.
    pub fn take(&mut self) -> Option<[u64; BODY_WORDS]> {
        let ring = self.segment.peer.words(self.entry(self.taken), LINE_WORDS);
        if ring.load(0) != self.taken + 1 {
            return None;
        }
        self.taken += 1;
        self.announce(self.taken);
        Some(std::array::from_fn(|index| ring.load(index + 1)))
    }

    fn entry(&self, count: u64) -> usize {
        let index = count % u64::from(self.segment.geometry.ring_capacity());
        PAGE_BYTES + LINE_BYTES * usize::try_from(index).unwrap_or(0)
    }
}
