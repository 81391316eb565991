//! The peer's words: shared memory that this process may load from and never store to.

use crate::sync::{AtomicU64, Ordering};

/// A view of 64-bit words in the peer's half.
///
/// It offers relaxed loads alone. The half is mapped read-only, where a store would be fatal and where only relaxed
/// loads are guaranteed to be plain ones; a reader that needs an Acquire puts a fence behind the load that told it
/// what it was waiting for.
#[derive(Clone, Copy, Debug)]
pub struct PeerWords<'a>(&'a [AtomicU64]);

impl<'a> PeerWords<'a> {
    /// A read-only view of `words`.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Loads word `index`, relaxed. The value is an allegation.
    ///
    /// # Panics
    ///
    /// When `index` is out of bounds: indices are this process's own.
    #[inline]
    pub fn load(self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed)
    }

    /// Loads `N` words from `index` on, each relaxed. They may be of different moments.
    ///
    /// # Panics
    ///
    /// When one of them is out of bounds.
    #[inline]
    pub fn load_array<const N: usize>(self, index: usize) -> [u64; N] {
        let words = &self.0[index..index + N];
        std::array::from_fn(|at| words[at].load(Ordering::Relaxed))
    }

    /// The number of words in view.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether the view is empty.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}
