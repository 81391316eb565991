//! The atomics that everything above the mapping is written with, so that loom can replace them.

#[cfg(not(any(loom, shuttle)))]
pub use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(shuttle)]
pub use std::sync::atomic::{AtomicU64, Ordering};

/// Shared memory is mapped as plain words, which shuttle cannot replace. What matters in the order of accesses to it is
/// where the fences are, so there another thread may go on.
#[cfg(shuttle)]
pub fn fence(order: Ordering) {
    shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    std::sync::atomic::fence(order);
}
