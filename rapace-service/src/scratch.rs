//! The bytes of a message that is being sent: buffers that a thread uses again, so that a call allocates none.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

/// Buffers that a thread keeps: one for each call in a chain of nested ones, as deep as that commonly is.
const KEPT_MAX: usize = 8;

/// Bytes of all buffers that a thread keeps. A large one that is allocated anew costs more in page faults than the copying.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local!(static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) });

/// An encoded message. Dropped, its buffer goes back to whatever thread drops it.
#[derive(Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// A buffer without bytes in it.
    pub(crate) fn take() -> Self {
        // A thread that ends has none any more.
        let kept = KEPT.try_with(|kept| kept.borrow_mut().pop());
        Self(kept.ok().flatten().unwrap_or_default())
    }

    /// No bytes, and no buffer.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 {
            return;
        }
        buffer.clear();
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let bytes: usize = kept.iter().map(Vec::capacity).sum();
            if kept.len() < KEPT_MAX && bytes + buffer.capacity() <= KEPT_BYTES_MAX {
                kept.push(buffer);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [u8];

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

    #[test]
    fn a_small_buffer_is_used_again() {
        let mut first = Scratch::take();
        first.extend(&[7; 1000]);
        let place = first.as_ptr();
        drop(first);
        let second = Scratch::take();
        assert!(second.is_empty() && second.0.capacity() >= 1000);
        assert_eq!(second.0.as_ptr(), place);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_in_bytes() {
        let kept = || KEPT.with_borrow(|kept| (kept.len(), kept.iter().map(Vec::capacity).sum::<usize>()));
        let filled = |bytes: usize| {
            let mut scratch = Scratch::take();
            scratch.extend(&vec![0; bytes]);
            scratch
        };
        drop(filled(KEPT_BYTES_MAX + 1));
        assert_eq!(kept(), (0, 0));
        // Two of which one fits.
        let large = [filled(KEPT_BYTES_MAX / 2 + 1), filled(KEPT_BYTES_MAX / 2 + 1)];
        drop(large);
        assert!(kept().0 == 1 && kept().1 <= KEPT_BYTES_MAX);
        let many: Vec<Scratch> = (0..2 * KEPT_MAX).map(|_| filled(1)).collect();
        drop(many);
        assert!(kept().0 == KEPT_MAX && kept().1 <= KEPT_BYTES_MAX, "{:?}", kept());
    }
}
