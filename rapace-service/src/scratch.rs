//! The bytes of a message that is being sent: buffers that a thread uses again, so that a call allocates none.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

/// Buffers that a thread keeps: one for each call in a chain of nested ones, as deep as that commonly is.
const KEPT_MAX: usize = 8;

/// Largest buffer that is kept. Beyond that an allocation is little beside the copying.
const KEPT_BYTES_MAX: usize = 64 * 1024;

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
        if !(1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
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
    fn neither_a_large_buffer_nor_too_many_are_kept() {
        let mut large = Scratch::take();
        large.extend(&vec![0; KEPT_BYTES_MAX + 1]);
        drop(large);
        let mut many: Vec<Scratch> = (0..2 * KEPT_MAX).map(|_| Scratch::take()).collect();
        many.iter_mut().for_each(|scratch| scratch.push(0));
        drop(many);
        let kept = KEPT.with_borrow(|kept| (kept.len(), kept.iter().map(Vec::capacity).max()));
        assert_eq!(kept.0, KEPT_MAX);
        assert!(kept.1.is_some_and(|largest| largest <= KEPT_BYTES_MAX));
    }
}
