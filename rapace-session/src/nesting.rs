//! How deep in a chain of nested calls a thread is (SPEC C6).

use std::cell::Cell;

crate::sync::thread_local!(static DEPTH: Cell<u8> = const { Cell::new(0) });

/// The depth of the handler that this thread runs, or 0.
#[must_use]
pub fn depth() -> u8 {
    DEPTH.with(Cell::get)
}

/// While this lives, the thread runs a handler of some depth.
#[must_use]
pub struct Nesting {
    outer: u8,
}

impl Nesting {
    /// From now on.
    pub fn enter(depth: u8) -> Self {
        Self { outer: DEPTH.with(|outer| outer.replace(depth)) }
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(self.outer));
    }
}

/// A future whose polls count as nested in a call of some depth.
#[cfg(feature = "tokio")]
pub(crate) struct Nested {
    pub(crate) depth: u8,
    pub(crate) future: crate::tasks::Future,
}

#[cfg(feature = "tokio")]
impl Future for Nested {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let _nested = Nesting::enter(self.depth);
        self.future.as_mut().poll(cx)
    }
}
