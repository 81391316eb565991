//! Chance without a generator: a number that depends on nothing but what it is asked for.
//!
//! A generator that threads share gives each of them what is next, which is another number in each run. So the words that
//! name a decision are mixed into one number, each by the output function of SplitMix64 (Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014). It stands here because no crate of generators promises that a small
//! one gives the same numbers for ever, which a seed in an old bug report needs.

/// What follows from one number: SplitMix64's next.
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of a decision, from the words that name it.
pub(super) fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0, |mixed, word| split_mix(mixed ^ word))
}

/// Whether a decision falls that has this chance, from 0 to 1.
pub(super) fn falls(number: u64, chance: f64) -> bool {
    // As many bits as fit a fraction, so that 1 is never reached.
    let fraction = (number >> 11) as f64 / (1_u64 << 53) as f64;
    fraction < chance
}

/// Other bytes than these: cut, changed in one place, or with something behind them.
pub(super) fn corrupt(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut number = number;
    let mut next = |bound: usize| {
        number = split_mix(number);
        // Smaller than a bound that is a size, so it is one too.
        usize::try_from(number % bound as u64).unwrap_or_default()
    };
    let mut bytes = bytes.to_vec();
    match next(3) {
        0 if !bytes.is_empty() => bytes.truncate(next(bytes.len())),
        1 if !bytes.is_empty() => {
            let at = next(bytes.len());
            bytes[at] ^= 1 << next(8);
        }
        _ => bytes.extend((0..=next(8)).map(|_| 0xa5)),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_split_mix_64() {
        // The first three of a generator that begins with 0.
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        let first = [0, gamma, gamma.wrapping_mul(2)].map(split_mix);
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    #[test]
    fn each_word_counts_and_its_place_does() {
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
        assert_ne!(mix(&[1, 2]), mix(&[1, 3]));
        assert_ne!(mix(&[1]), mix(&[1, 0]));
    }

    #[test]
    fn a_decision_falls_as_often_as_its_chance_says() {
        for (chance, expected) in [(0.0, 0..=0), (0.01, 60..=140), (0.5, 4_800..=5_200), (1.0, 10_000..=10_000)] {
            let fallen = (0..10_000).filter(|n| falls(mix(&[42, *n]), chance)).count();
            assert!(expected.contains(&fallen), "{fallen} of 10,000 with a chance of {chance}");
        }
        assert!(falls(u64::MAX, 1.0) && !falls(0, 0.0));
    }

    #[test]
    fn what_is_corrupt_is_never_what_it_was_and_always_the_same() {
        for bytes in [&b""[..], b"x", b"something longer"] {
            let corrupted: Vec<_> = (0..200).map(|number| corrupt(bytes, number)).collect();
            assert!(corrupted.iter().all(|corrupted| corrupted != bytes), "{bytes:?}");
            assert_eq!(corrupted, (0..200).map(|number| corrupt(bytes, number)).collect::<Vec<_>>());
        }
        let lengths: Vec<_> = (0..200).map(|number| corrupt(b"12345678", number).len().cmp(&8)).collect();
        use std::cmp::Ordering::{Equal, Greater, Less};
        assert!([Less, Equal, Greater].iter().all(|kind| lengths.contains(kind)), "all three ways occur");
    }
}
