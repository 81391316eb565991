//! A set of slots, one bit each, with runs as its unit.

const BITS: u32 = u64::BITS;

/// A set of slot numbers below a fixed count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    count: u32,
}

impl Bitmap {
    /// The empty set of numbers below `count`.
    pub(crate) fn zeros(count: u32) -> Self {
        Self { words: vec![0; count.div_ceil(BITS) as usize], count }
    }

    /// Adds the run.
    #[inline]
    pub(crate) fn set(&mut self, first: u32, count: u32) {
        self.each_word(first, count, |word, mask| *word |= mask);
    }

    /// Removes the run.
    #[inline]
    pub(crate) fn clear(&mut self, first: u32, count: u32) {
        self.each_word(first, count, |word, mask| *word &= !mask);
    }

    /// The lowest number of the run that is in the set.
    #[inline]
    pub(crate) fn first_set(&self, first: u32, count: u32) -> Option<u32> {
        self.find(first, first + count, |word| word)
    }

    /// The lowest number of the run that is not in the set.
    #[inline]
    pub(crate) fn first_clear(&self, first: u32, count: u32) -> Option<u32> {
        self.find(first, first + count, |word| !word)
    }

    /// The lowest run of `count` numbers from `from` on that are all in the set.
    #[inline]
    pub(crate) fn find_run(&self, from: u32, count: u32) -> Option<u32> {
        let first = self.find(from, self.count, |word| word)?;
        if count == 1 { Some(first) } else { self.find_run_of_many(first, count) }
    }

    fn find_run_of_many(&self, from: u32, count: u32) -> Option<u32> {
        let mut first = from;
        loop {
            first = self.find(first, self.count, |word| word)?;
            let end = first.checked_add(count).filter(|end| *end <= self.count)?;
            match self.find(first, end, |word| !word) {
                None => return Some(first),
                Some(gap) => first = gap + 1,
            }
        }
    }

    #[inline]
    fn find(&self, from: u32, end: u32, view: impl Fn(u64) -> u64) -> Option<u32> {
        let mut at = from;
        while at < end {
            let word = view(self.words[(at / BITS) as usize]) >> (at % BITS);
            if word != 0 {
                let found = at + word.trailing_zeros();
                return (found < end).then_some(found);
            }
            at = (at / BITS + 1) * BITS;
        }
        None
    }

    #[inline]
    fn each_word(&mut self, first: u32, count: u32, change: impl Fn(&mut u64, u64)) {
        debug_assert!(first + count <= self.count, "run of {count} from {first} in {}", self.count);
        if count == 1 {
            return change(&mut self.words[(first / BITS) as usize], 1 << (first % BITS));
        }
        let (mut at, end) = (first, first + count);
        while at < end {
            let bits = (BITS - at % BITS).min(end - at);
            let mask = (u64::MAX >> (BITS - bits)) << (at % BITS);
            change(&mut self.words[(at / BITS) as usize], mask);
            at += bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_bools(
            count in 1u32..300,
            ops in prop::collection::vec((any::<bool>(), any::<u32>(), any::<u32>()), 0..40),
        ) {
            let mut map = Bitmap::zeros(count);
            let mut model = vec![false; count as usize];
            for (set, a, b) in ops {
                let first = a % count;
                let length = b % (count - first) + 1;
                let range = first as usize..(first + length) as usize;
                if set { map.set(first, length) } else { map.clear(first, length) }
                model[range.clone()].fill(set);
                let a = b % count;
                let rest = count - a;
                let position = |value| (a..count).find(|at| model[*at as usize] == value);
                prop_assert_eq!(map.first_set(a, rest), position(true));
                prop_assert_eq!(map.first_clear(a, rest), position(false));
                let run = (a..=count.saturating_sub(length))
                    .find(|at| model[*at as usize..(*at + length) as usize].iter().all(|bit| *bit));
                prop_assert_eq!(map.find_run(a, length), run);
            }
        }
    }
}
