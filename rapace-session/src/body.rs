//! The body of a message: small ones without an allocation, large ones of a trusted peer without a copy.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use rapace_core::descriptor::{Flags, Frame, FrameHeader, Inline, Kind, Payload, Run};
use rapace_core::link::{Link, PayloadView};
use rapace_core::slots::Class;

use crate::scratch::Scratch;
use crate::shared::Shared;

/// A message's bytes: copied out of the peer's memory, or, if the peer is trusted and they are many, read where they lie
/// ([`ReadInPlace`](crate::ReadInPlace)). Those are missing to the peer until the body is dropped.
pub struct Body {
    bytes: Bytes,
    /// Where the body begins behind its prefix.
    start: usize,
}

enum Bytes {
    Inline(Inline),
    Heap(Scratch),
    InPlace(Box<InPlace>),
}

/// Bytes that lie in the peer's half.
struct InPlace {
    /// There but while it is dropped.
    view: Option<PayloadView>,
    /// Whom to return it to, once it has left the session's lock: within, its slots are returned by hand.
    home: Weak<Shared>,
}

impl Deref for InPlace {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.view.as_deref().unwrap_or_default()
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        if let (Some(view), Some(shared)) = (self.view.take(), self.home.upgrade()) {
            shared.return_view(view);
        }
    }
}

/// From how many bytes on a payload of a trusted peer is read in place: a copy of fewer costs less than a second visit to
/// the session.
const IN_PLACE_BYTES_MIN: usize = 4096;

impl Body {
    /// The payload of a frame, whether that is all of its message or the beginning.
    #[inline]
    pub(crate) fn of(frame: &Frame, link: &mut Link) -> Self {
        match frame.payload {
            Payload::Inline(inline) => Self { bytes: Bytes::Inline(inline), start: 0 },
            Payload::Slots(run) => Self::in_slots(&frame.header, run, link),
        }
    }

    fn in_slots(header: &FrameHeader, run: Run, link: &mut Link) -> Self {
        let length = run.payload_bytes as usize;
        // Requests and replies go to a user one at a time.
        let may_lie = matches!(header.kind, Kind::Request | Kind::Reply) && !header.flags.has(Flags::MORE);
        if may_lie
            && length >= IN_PLACE_BYTES_MIN
            && let Some(body) = Self::in_place(run, link)
        {
            return body;
        }
        let mut bytes = Scratch::with_room(length);
        link.take_payload(Payload::Slots(run), bytes.buffer());
        Self { bytes: Bytes::Heap(bytes), start: 0 }
    }

    /// Reads a payload in place, if that is allowed, and leaves the peer enough slots where it needs them.
    fn in_place(run: Run, link: &mut Link) -> Option<Self> {
        let (count, slot_bytes) = (link.geometry().slot_count(), link.geometry().slot_bytes() as usize);
        // Whatever is kept, the peer has its reserve (SPEC S3) and, behind it all, what a message in pieces asks for.
        let end = (run.slot + run.slots) as usize * slot_bytes + link.chunk_bytes(Class::Request);
        let lies_well = run.slot >= (count / 8).max(1) && end <= count as usize * slot_bytes;
        if !lies_well {
            return None;
        }
        let view = link.view_payload(Payload::Slots(run)).ok()?;
        Some(Self { bytes: Bytes::InPlace(Box::new(InPlace { view: Some(view), home: Weak::new() })), start: 0 })
    }

    /// Leaves the session's lock: from now on it returns its slots when it is dropped.
    pub(crate) fn leave_for(&mut self, shared: &Arc<Shared>) {
        if let Bytes::InPlace(in_place) = &mut self.bytes {
            in_place.home = Arc::downgrade(shared);
        }
    }

    /// Lets it go within the session's lock.
    pub(crate) fn discard(self, link: &mut Link) {
        if let Bytes::InPlace(mut in_place) = self.bytes
            && let Some(view) = in_place.view.take()
        {
            link.return_view(view);
        }
    }

    /// Bytes that are allocated for it.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.bytes {
            Bytes::Inline(_) | Bytes::InPlace(_) => 0,
            Bytes::Heap(bytes) => bytes.capacity(),
        }
    }

    /// Leaves out the first `count` of the bytes that are in view.
    pub(crate) fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count;
    }

    /// Appends another part.
    pub(crate) fn append(&mut self, payload: Payload, link: &mut Link) {
        if let Bytes::Inline(inline) = &self.bytes {
            self.bytes = Bytes::Heap(inline.to_vec().into());
        }
        debug_assert!(!matches!(self.bytes, Bytes::InPlace(_)), "only a whole message is read in place");
        if let Bytes::Heap(bytes) = &mut self.bytes {
            link.take_payload(payload, bytes.buffer());
        }
    }

    /// All parts are there.
    pub(crate) fn fit(&mut self) {
        if let Bytes::Heap(bytes) = &mut self.bytes {
            bytes.fit();
        }
    }

    /// The bytes, as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        match self.bytes {
            Bytes::Heap(bytes) if self.start == 0 => bytes.into_vec(),
            _ => self.to_vec(),
        }
    }

    /// Whether the bytes lie in the peer's memory.
    pub fn is_in_place(&self) -> bool {
        matches!(self.bytes, Bytes::InPlace(_))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self { bytes: Bytes::Inline(Inline::EMPTY), start: 0 }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Bytes::Heap(bytes.into()), start: 0 }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Inline(inline) => &inline[self.start..],
            Bytes::Heap(bytes) => &bytes[self.start..],
            Bytes::InPlace(bytes) => &bytes[self.start..],
        }
    }
}

impl Clone for Body {
    /// A copy, which is not in place.
    fn clone(&self) -> Self {
        match &self.bytes {
            Bytes::Inline(inline) => Self { bytes: Bytes::Inline(*inline), start: self.start },
            Bytes::Heap(_) | Bytes::InPlace(_) => Self::from(self.to_vec()),
        }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq<[u8]> for Body {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}
