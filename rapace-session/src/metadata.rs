//! Pairs that travel beside a call's body (SPEC C9).

use std::fmt;

use thiserror::Error;

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 64;

/// Pairs of a key and a value of any bytes, in the order in which they were added.
///
/// A call without metadata pays nothing for them. `traceparent` and `tracestate` carry W3C trace context.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The pairs as they travel, and well formed: a peer's take no more memory than it has sent.
    bytes: Vec<u8>,
}

/// What is wrong with metadata.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A key that is empty, too long, or has other characters than it may have.
    #[error("metadata key {key:?} has {} bytes, but must have 1 to 64 of a-z, 0-9, '-', '_' and '.'", key.len())]
    Key {
        /// The key.
        key: String,
    },
    /// A value longer than its length can say.
    #[error("metadata value of {key:?} has {found} bytes, but at most 65535 fit")]
    Value {
        /// The key.
        key: String,
        /// Bytes of the value.
        found: usize,
    },
    /// Bytes that end in the middle of a pair.
    #[error("metadata end after {found} bytes, in the middle of a pair")]
    Truncated {
        /// Bytes that there are.
        found: usize,
    },
    /// A key that is no text.
    #[error("metadata key at byte {at} is not UTF-8")]
    NotText {
        /// Where.
        at: usize,
    },
}

impl Metadata {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair.
    ///
    /// # Errors
    ///
    /// Names the key that is not well formed, or the value that is too long.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Result<(), MetadataError> {
        let (key, value) = (key.into(), value.into());
        check_key(&key)?;
        if value.len() > usize::from(u16::MAX) {
            return Err(MetadataError::Value { key, found: value.len() });
        }
        for part in [key.as_bytes(), &value] {
            // Both lengths were checked above.
            self.bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find_map(|(k, value)| (k == key).then_some(value))
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let key = std::str::from_utf8(part(&mut rest)?).ok()?;
            Some((key, part(&mut rest)?))
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes in a frame.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that are allocated for them.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The metadata in a frame.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MetadataError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let truncated = MetadataError::Truncated { found: bytes.len() };
            let key = part(&mut rest).ok_or(truncated.clone())?;
            part(&mut rest).ok_or(truncated)?;
            check_key(std::str::from_utf8(key).map_err(|_| MetadataError::NotText { at })?)?;
        }
        Ok(Self { bytes: bytes.to_vec() })
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn check_key(key: &str) -> Result<(), MetadataError> {
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(known) {
        return Err(MetadataError::Key { key: key.to_owned() });
    }
    Ok(())
}

/// Takes a length and as many bytes from the front.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let (part, tail) = tail.split_at_checked(u16::from_le_bytes(*length).into())?;
    *rest = tail;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_in_order() {
        let mut metadata = Metadata::new();
        metadata.insert("traceparent", "00-abc").unwrap();
        metadata.insert("a", vec![0, 255]).unwrap();
        let back = Metadata::decode(metadata.encoded()).unwrap();
        assert_eq!(back, metadata);
        assert_eq!((back.get("a"), back.get("b")), (Some(&[0, 255][..]), None));
        assert_eq!(format!("{back:?}"), r#"{"traceparent": [48, 48, 45, 97, 98, 99], "a": [0, 255]}"#);
        assert!(Metadata::decode(&[]).unwrap().is_empty());
    }

    #[test]
    fn bad_keys_and_values_are_refused() {
        let mut metadata = Metadata::new();
        for key in ["", "Upper", "space here", &"x".repeat(65), "ü"] {
            assert_eq!(metadata.insert(key, "v"), Err(MetadataError::Key { key: key.to_owned() }));
        }
        assert!(matches!(metadata.insert("k", vec![0; 65536]), Err(MetadataError::Value { found: 65536, .. })));
        assert!(metadata.is_empty());
        metadata.insert("x".repeat(64), vec![0; 65535]).unwrap();
        assert_eq!(Metadata::decode(metadata.encoded()), Ok(metadata));
    }

    #[test]
    fn bad_bytes_are_refused() {
        for bytes in [&[1][..], &[5, 0, b'a'], &[1, 0, b'a'], &[1, 0, b'a', 9, 0, 1]] {
            assert_eq!(Metadata::decode(bytes), Err(MetadataError::Truncated { found: bytes.len() }));
        }
        assert_eq!(Metadata::decode(&[1, 0, 0xff, 0, 0]), Err(MetadataError::NotText { at: 0 }));
        assert!(matches!(Metadata::decode(&[0, 0, 0, 0]), Err(MetadataError::Key { .. })));
    }
}
