//! The body of a message, owned: small ones without an allocation.

use std::fmt;
use std::ops::Deref;

use rapace_core::descriptor::{INLINE_BYTES, Payload};
use rapace_core::link::Link;

/// A message's bytes, copied out of the peer's memory.
#[derive(Clone)]
pub struct Body {
    bytes: Bytes,
    /// Where the body begins behind its prefix.
    start: usize,
}

#[derive(Clone)]
enum Bytes {
    Inline([u8; INLINE_BYTES], u8),
    Heap(Vec<u8>),
}

impl Body {
    /// Takes a payload out of the link.
    pub(crate) fn take(payload: Payload, link: &mut Link) -> Self {
        let bytes = match payload {
            Payload::Inline(inline, bytes) => Bytes::Inline(inline, bytes),
            Payload::Slots(run) => {
                let mut bytes = Vec::with_capacity(run.payload_bytes as usize);
                link.take_payload(payload, &mut bytes);
                Bytes::Heap(bytes)
            }
        };
        Self { bytes, start: 0 }
    }

    /// Bytes that are allocated for it.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.bytes {
            Bytes::Inline(..) => 0,
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
        if let Bytes::Inline(inline, bytes) = &self.bytes {
            self.bytes = Bytes::Heap(inline[..usize::from(*bytes)].to_vec());
        }
        if let Bytes::Heap(bytes) = &mut self.bytes {
            link.take_payload(payload, bytes);
        }
    }

    /// The bytes, as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        match self.bytes {
            Bytes::Heap(bytes) if self.start == 0 => bytes,
            _ => self.to_vec(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self { bytes: Bytes::Inline([0; INLINE_BYTES], 0), start: 0 }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Bytes::Heap(bytes), start: 0 }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Inline(inline, bytes) => &inline[self.start..usize::from(*bytes)],
            Bytes::Heap(bytes) => &bytes[self.start..],
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
