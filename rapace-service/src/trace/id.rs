//! Ids of traces and spans, and where new ones come from.
//!
//! An id must be unique, not secret, so the standard library's [`RandomState`] is enough and no crate is needed: its keys
//! are random numbers of the operating system, each thread its own, and an id is the keyed hash of a count.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU64, NonZeroU128};

/// The id of a trace: never 0, and 32 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The id of a span: never 0, and 16 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// The id of this number, unless it is 0.
    #[must_use]
    pub const fn new(id: u128) -> Option<Self> {
        match NonZeroU128::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// A new one.
    pub(crate) fn random() -> Self {
        non_zero(|| Self::new(u128::from(random()) << 64 | u128::from(random())))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// The id of this number, unless it is 0.
    #[must_use]
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// A new one.
    pub(crate) fn random() -> Self {
        non_zero(|| Self::new(random()))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

/// The first id that is not 0, which is nearly always the first.
fn non_zero<T>(make: impl FnMut() -> Option<T>) -> T {
    let mut made = std::iter::repeat_with(make);
    loop {
        if let Some(id) = made.next().flatten() {
            return id;
        }
    }
}

fn random() -> u64 {
    thread_local!(static SOURCE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0)));
    SOURCE.with(|(keys, count)| {
        count.set(count.get().wrapping_add(1));
        keys.hash_one(count.get())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_padded_hexadecimal_text_and_never_zero() {
        assert_eq!(TraceId::new(0xab).unwrap().to_string(), "000000000000000000000000000000ab");
        assert_eq!(format!("{:?}", SpanId::new(0xab).unwrap()), "SpanId(00000000000000ab)");
        assert_eq!((TraceId::new(0), SpanId::new(0)), (None, None));
    }

    #[test]
    fn new_ids_differ_on_all_threads_and_use_all_bits() {
        let some = || -> Vec<_> { (0..500).map(|_| TraceId::random().get()).collect() };
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads = [scope.spawn(some), scope.spawn(some)];
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1000);
        assert_eq!(ids.iter().fold(0, |all, id| all | id), u128::MAX);
        assert_eq!(ids.iter().fold(u128::MAX, |all, id| all & id), 0);
    }
}
