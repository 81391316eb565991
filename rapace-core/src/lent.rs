//! The parts of one's own half that are lent out as plain bytes, so that nothing else touches them meanwhile.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of bytes, none of which is empty or meets another.
#[derive(Debug)]
pub(crate) struct LentRanges {
    /// Where the lowest begins: one comparison clears all that lies before it, which the rings do.
    lowest: usize,
    /// End by begin.
    ends: BTreeMap<usize, usize>,
}

impl LentRanges {
    /// None.
    pub(crate) fn new() -> Self {
        Self { lowest: usize::MAX, ends: BTreeMap::new() }
    }

    /// Whether one of them has a byte of `start..end`, which is not empty.
    #[inline]
    pub(crate) fn meets(&self, start: usize, end: usize) -> bool {
        end > self.lowest && self.meets_one(start, end)
    }

    /// Adds a range.
    ///
    /// # Panics
    ///
    /// When it is empty or meets one that is here.
    pub(crate) fn add(&mut self, range: &Range<usize>) {
        assert!(!range.is_empty(), "a loan of no bytes at {}", range.start);
        assert!(!self.meets(range.start, range.end), "bytes {range:?} of the own half are lent out already");
        self.ends.insert(range.start, range.end);
        self.lowest = self.lowest.min(range.start);
    }

    /// Removes a range that was added.
    ///
    /// # Panics
    ///
    /// When it is not here.
    pub(crate) fn remove(&mut self, range: &Range<usize>) {
        assert_eq!(self.ends.remove(&range.start), Some(range.end), "the range at {} was not lent out", range.start);
        self.lowest = self.ends.first_key_value().map_or(usize::MAX, |(start, _)| *start);
    }

    /// They do not meet each other, so of those that begin before the end the last reaches farthest.
    fn meets_one(&self, start: usize, end: usize) -> bool {
        self.ends.range(..end).next_back().is_some_and(|(_, lent_end)| *lent_end > start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_bytes(ops in prop::collection::vec((0usize..24, 1usize..8, any::<bool>()), 0..30)) {
            let mut lent = LentRanges::new();
            let mut model: Vec<Range<usize>> = Vec::new();
            for (start, bytes, remove) in ops {
                if remove && !model.is_empty() {
                    lent.remove(&model.swap_remove(start % model.len()));
                } else if !lent.meets(start, start + bytes) {
                    lent.add(&(start..start + bytes));
                    model.push(start..start + bytes);
                }
                for start in 0..32 {
                    for end in start + 1..33 {
                        let meets = model.iter().any(|range| range.start < end && start < range.end);
                        prop_assert_eq!(lent.meets(start, end), meets, "{} to {} of {:?}", start, end, model);
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "bytes 7..9 of the own half are lent out already")]
    fn a_range_is_lent_once() {
        let mut lent = LentRanges::new();
        lent.add(&(0..8));
        lent.add(&(7..9));
    }

    #[test]
    #[should_panic(expected = "a loan of no bytes at 8")]
    fn an_empty_range_is_not_lent() {
        LentRanges::new().add(&(8..8));
    }
}
