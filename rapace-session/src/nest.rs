//! Where handlers are polled: memory that a thread uses again, as most are ready at once, and have no need of their own.

use std::any::Any;
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Kinds of futures for which a thread keeps a place.
const KINDS_MAX: usize = 16;
/// The largest future for which one is kept.
const BYTES_MAX: usize = 4096;

thread_local!(static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) });

/// A future in its place. It is one in turn.
pub(crate) struct Nest<F>(Pin<Box<Option<F>>>);

impl<F: Future<Output = ()> + 'static> Nest<F> {
    /// Puts a future into a place.
    pub(crate) fn new(future: F) -> Self {
        match Self::kept() {
            Some(mut nest) => {
                nest.0.set(Some(future));
                nest
            }
            None => Self(Box::pin(Some(future))),
        }
    }

    /// Leaves the place for the next, with whatever is left of the future dropped.
    pub(crate) fn leave(mut self) {
        self.0.set(None);
        if size_of::<F>() > BYTES_MAX {
            return;
        }
        // A thread that ends keeps none any more.
        let _ = KEPT.try_with(|kept| {
            let Ok(mut kept) = kept.try_borrow_mut() else { return };
            if let Some(place) = kept.iter_mut().find_map(|kind| kind.downcast_mut::<Option<Self>>()) {
                *place = Some(self);
            } else if kept.len() < KINDS_MAX {
                kept.push(Box::new(Some(self)));
            }
        });
    }

    fn kept() -> Option<Self> {
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.try_borrow_mut().ok()?;
            let at = kept.iter().position(|kind| kind.is::<Option<Self>>())?;
            // The next is of this kind, most likely.
            kept.swap(0, at);
            kept.first_mut()?.downcast_mut::<Option<Self>>()?.take()
        });
        kept.ok().flatten()
    }
}

impl<F: Future<Output = ()>> Future for Nest<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.as_mut().as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    fn place<F>(nest: &Nest<F>) -> *const Option<F> {
        &raw const *nest.0
    }

    #[test]
    fn a_place_is_used_again_by_its_kind() {
        let first = Nest::new(ready(()));
        let at = place(&first);
        let beside = Nest::new(ready(()));
        assert_ne!(place(&beside), at, "two live at once");
        first.leave();
        let other = Nest::new(pending::<()>());
        let again = Nest::new(ready(()));
        assert_eq!(place(&again), at);
        beside.leave();
        other.leave();
        again.leave();
        assert_eq!(KEPT.with_borrow(Vec::len), 2);
    }

    #[test]
    fn what_is_left_of_a_future_is_dropped_when_it_leaves() {
        let owned = Rc::new(());
        let held = Rc::clone(&owned);
        let mut nest = Nest::new(async move {
            let _held = held;
            pending::<()>().await;
        });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut nest).poll(&mut cx).is_pending());
        assert_eq!(Rc::strong_count(&owned), 2);
        nest.leave();
        assert_eq!(Rc::strong_count(&owned), 1);
    }

    #[test]
    fn a_large_one_leaves_no_place() {
        let large = [0u8; BYTES_MAX];
        Nest::new(async move {
            pending::<()>().await;
            std::hint::black_box(large);
        })
        .leave();
        assert_eq!(KEPT.with_borrow(Vec::len), 0);
    }
}
