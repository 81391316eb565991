//! The version of a service.

use std::fmt;
use std::str::FromStr;

/// The version of a service: peers with different major versions do not understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Grows when a caller of the version before would break.
    pub major: u16,
    /// Grows when something is added.
    pub minor: u16,
}

/// A text that is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is two decimal numbers from 0 to 65535 with a dot between them, as in 1.0")]
#[non_exhaustive]
pub struct ParseVersionError;

impl Version {
    /// Version `major.minor`.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    /// Reads the form that `Display` writes, and no other: no sign, no leading zero, no space.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, minor) = text.split_once('.').ok_or(ParseVersionError)?;
        Ok(Self::new(number(major)?, number(minor)?))
    }
}

fn number(text: &str) -> Result<u16, ParseVersionError> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    let number = text.parse().map_err(|_| ParseVersionError)?;
    plain.then_some(number).ok_or(ParseVersionError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_back_what_it_displays() {
        for (version, text) in
            [(Version::new(1, 0), "1.0"), (Version::new(0, 10), "0.10"), (Version::new(65535, 65535), "65535.65535")]
        {
            assert_eq!(version.to_string(), text);
            assert_eq!(text.parse(), Ok(version));
        }
    }

    #[test]
    fn no_other_text_is_a_version() {
        for text in ["", ".", "1", "1.", ".1", "1.0.0", "+1.0", "1.-1", "01.0", "1.00", " 1.0", "65536.0", "1,0"] {
            assert_eq!(text.parse::<Version>(), Err(ParseVersionError), "{text:?}");
        }
    }

    #[test]
    fn versions_order_by_major_then_minor() {
        assert!(Version::new(1, 9) < Version::new(2, 0));
        assert!(Version::new(1, 9) < Version::new(1, 10));
    }
}
