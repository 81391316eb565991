//! The names of services and methods: what they may be made of.
//!
//! Names come from the peer and go into logs, diffs and file names, so they are short and plain
//! ASCII.

use crate::limits::RegistryLimits;

/// What is wrong with the name of a service or of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has too few or too many bytes.
    #[error("has {found} bytes, allowed are 1 to {limit}")]
    Length {
        /// The bytes that the name has.
        found: usize,
        /// The most that it may have.
        limit: usize,
    },
    /// The first character is not an ASCII letter.
    #[error("starts with {found:?}, not with an ASCII letter")]
    Start {
        /// The first character.
        found: char,
    },
    /// A character is none of the allowed ones.
    #[error("has {found:?} at byte {index}, allowed are ASCII letters, digits, '.', '_' and '-'")]
    Character {
        /// The character that is not allowed.
        found: char,
        /// Its byte offset in the name.
        index: usize,
    },
}

/// Checks the name of a service or of a method.
pub(crate) fn check(name: &str) -> Result<(), NameError> {
    let limit = RegistryLimits::NAME_BYTES_MAX;
    if name.is_empty() || name.len() > limit {
        return Err(NameError::Length { found: name.len(), limit });
    }
    for (index, found) in name.char_indices() {
        if index == 0 && !found.is_ascii_alphabetic() {
            return Err(NameError::Start { found });
        }
        if !found.is_ascii_alphanumeric() && !matches!(found, '.' | '_' | '-') {
            return Err(NameError::Character { found, index });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_letter_and_then_letters_digits_dots_underscores_and_dashes() {
        let longest = "a".repeat(128);
        for name in ["a", "Z", "rapace.HostServices", "a-b_c.9", longest.as_str()] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn any_other_name_is_refused_by_what_is_wrong_with_it() {
        let length = |found| NameError::Length { found, limit: 128 };
        let start = |found| NameError::Start { found };
        let character = |found, index| NameError::Character { found, index };
        let too_long = "a".repeat(129);
        for (name, error) in [
            ("", length(0)),
            (too_long.as_str(), length(129)),
            ("1a", start('1')),
            (".a", start('.')),
            ("é", start('é')),
            ("a b", character(' ', 1)),
            ("aé", character('é', 1)),
            ("a\n", character('\n', 1)),
            ("a/b", character('/', 1)),
        ] {
            assert_eq!(check(name), Err(error), "{name:?}");
        }
    }
}
