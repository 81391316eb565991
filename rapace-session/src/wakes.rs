//! Lists of wakers, which are filled under a session's lock and emptied behind it. Each call of a task needs one: a thread
//! uses them again.

use std::cell::RefCell;
use std::task::Waker;

/// Empty lists that a thread keeps: those of two sessions, one of which wakes into the other.
const KEPT_MAX: usize = 4;
/// The largest that is kept.
const WAKERS_MAX: usize = 256;

thread_local!(static KEPT: RefCell<Vec<Vec<Waker>>> = const { RefCell::new(Vec::new()) });

/// Takes out what is in a list, which has room for as much again.
pub(crate) fn take_out(list: &mut Vec<Waker>) -> Vec<Waker> {
    if list.is_empty() {
        return Vec::new();
    }
    // A thread that ends has none any more.
    let kept = KEPT.try_with(|kept| kept.try_borrow_mut().ok()?.pop()).ok().flatten();
    std::mem::replace(list, kept.unwrap_or_default())
}

/// Keeps an empty list.
pub(crate) fn keep(list: Vec<Waker>) {
    debug_assert!(list.is_empty());
    if !(1..=WAKERS_MAX).contains(&list.capacity()) {
        return;
    }
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push(list);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_emptied_is_used_again() {
        let mut list = vec![Waker::noop().clone()];
        let mut out = take_out(&mut list);
        let place = out.as_ptr();
        assert_eq!((out.len(), list.len()), (1, 0));
        out.clear();
        keep(out);
        list.push(Waker::noop().clone());
        assert_eq!(take_out(&mut list).len(), 1);
        assert_eq!(list.as_ptr(), place);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        keep(Vec::with_capacity(WAKERS_MAX + 1));
        keep(Vec::new());
        assert_eq!(KEPT.with_borrow(Vec::len), 0);
        (0..2 * KEPT_MAX).for_each(|_| keep(Vec::with_capacity(1)));
        assert_eq!(KEPT.with_borrow(Vec::len), KEPT_MAX);
    }
}
