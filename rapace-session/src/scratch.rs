//! The bytes of a message on its way in or out: buffers that a thread uses again, so that a call allocates none.
//!
//! What is allocated anew is handed back to the kernel with the next free, and faulted in page by page after it: for large
//! messages that takes several times as long as the copying.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

/// Buffers that a thread keeps: two for each call in a chain of nested ones, as deep as that commonly is.
const KEPT_MAX: usize = 16;

/// Bytes of all buffers that a thread keeps, whatever peers send.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A body takes a buffer that is larger by this part of it, or by [`WASTE_BYTES`]: it is charged to its session as a whole.
const WASTE_PART: usize = 8;
/// So much more is nothing.
const WASTE_BYTES: usize = 64;

thread_local!(static KEPT: RefCell<Kept> = const { RefCell::new(Kept { buffers: Vec::new(), bytes: 0 }) });

/// What a thread keeps; the last that came back is the last.
struct Kept {
    buffers: Vec<Vec<u8>>,
    /// Bytes of all of them.
    bytes: usize,
}

/// Bytes in a buffer. Dropped, it goes back to whatever thread drops it.
#[derive(Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// A buffer without bytes in it, of any size.
    #[inline]
    pub fn take() -> Self {
        // A thread that ends has none any more.
        Self(KEPT.try_with(|kept| kept.borrow_mut().last()).unwrap_or_default())
    }

    /// A buffer without bytes in it, for so many: none that is much larger, as it may be kept for long.
    #[inline]
    pub fn with_room(bytes: usize) -> Self {
        let kept = KEPT.try_with(|kept| kept.borrow_mut().fitting(bytes)).ok().flatten();
        Self(kept.unwrap_or_else(|| Vec::with_capacity(bytes)))
    }

    /// No bytes, and no buffer.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Appends a byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Gives up the room that is more than so many bytes may have.
    pub(crate) fn fit(&mut self) {
        if self.0.capacity() > room_max(self.0.len()) {
            self.0.shrink_to_fit();
        }
    }

    /// The buffer, to append to it.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Bytes that are allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The bytes, for good.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<u8>> for Scratch {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Kept {
    fn last(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    #[inline]
    fn fitting(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (bytes..=room_max(bytes)).contains(&buffer.capacity());
        // Bodies of one size after the other find theirs at once.
        let buffer = match self.buffers.pop_if(|last| fits(last)) {
            Some(buffer) => buffer,
            None => self.buffers.remove(self.buffers.iter().rposition(fits)?),
        };
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    #[inline]
    fn keep(&mut self, buffer: Vec<u8>) {
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        // What is in use is among the last.
        while self.buffers.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            self.bytes -= self.buffers.remove(0).capacity();
        }
    }
}

/// The largest buffer for a body of so many bytes.
fn room_max(bytes: usize) -> usize {
    bytes.saturating_add(WASTE_BYTES.max(bytes / WASTE_PART))
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() > 0 && buffer.capacity() <= KEPT_BYTES_MAX {
            buffer.clear();
            let _ = KEPT.try_with(|kept| kept.borrow_mut().keep(buffer));
        }
    }
}

impl Deref for Scratch {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: usize) -> Scratch {
        let mut scratch = Scratch::with_room(bytes);
        scratch.extend(&vec![0; bytes]);
        scratch
    }

    fn kept() -> Vec<usize> {
        KEPT.with_borrow(|kept| {
            let each: Vec<usize> = kept.buffers.iter().map(Vec::capacity).collect();
            assert_eq!(kept.bytes, each.iter().sum::<usize>());
            each
        })
    }

    #[test]
    fn a_buffer_is_used_again() {
        let first = filled(1000);
        let place = first.as_ptr();
        drop(first);
        let second = Scratch::take();
        assert!(second.is_empty() && second.capacity() >= 1000);
        assert_eq!(second.as_ptr(), place);
        drop(second);
        assert_eq!(Scratch::with_room(900).as_ptr(), place);
    }

    #[test]
    fn one_that_is_too_small_or_much_too_large_is_left() {
        drop((filled(1000), filled(100)));
        for (bytes, found) in
            [(1001, None), (888, None), (889, Some(1000)), (100, Some(100)), (36, Some(100)), (35, None)]
        {
            let scratch = Scratch::with_room(bytes);
            assert_eq!(scratch.capacity(), found.unwrap_or(bytes), "{bytes} bytes");
            if found.is_none() {
                // A new one, which is not to be kept.
                drop(scratch.into_vec());
            }
        }
        let mut left = kept();
        left.sort_unstable();
        assert_eq!(left, [100, 1000]);
    }

    #[test]
    fn one_that_has_grown_gives_up_what_is_too_much() {
        for (room, bytes, found) in [(1001, 1000, 1001), (1125, 1000, 1125), (1126, 1000, 1000), (65, 0, 0)] {
            let mut scratch = Scratch::from(Vec::with_capacity(room));
            scratch.extend(&vec![0; bytes]);
            scratch.fit();
            assert_eq!(scratch.capacity(), found, "{bytes} bytes in {room}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_in_bytes() {
        drop(filled(KEPT_BYTES_MAX + 1));
        assert!(kept().is_empty());
        let many: Vec<Scratch> = (1..=2 * KEPT_MAX).map(filled).collect();
        drop(many);
        // The last stay.
        assert_eq!(kept(), (KEPT_MAX + 1..=2 * KEPT_MAX).collect::<Vec<_>>());
        drop(filled(KEPT_BYTES_MAX - 2 * KEPT_MAX));
        assert_eq!(kept(), [2 * KEPT_MAX, KEPT_BYTES_MAX - 2 * KEPT_MAX]);
        drop(filled(KEPT_BYTES_MAX));
        assert_eq!(kept(), [KEPT_BYTES_MAX]);
    }
}
