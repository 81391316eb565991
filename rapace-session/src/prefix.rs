//! What may stand before a message's body: the time left, and metadata (SPEC C8 to C10).

use std::time::Duration;

use rapace_core::descriptor::Flags;

use crate::body::Body;
use crate::metadata::Metadata;
use crate::status::{Code, Status};

/// Bytes of the time left.
const DEADLINE_BYTES: usize = 8;

/// A prefix as it is sent: its bytes, and the flags that say what is in it.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    bytes: Vec<u8>,
    pub(crate) flags: Flags,
    /// Bytes of the metadata alone.
    pub(crate) metadata_bytes: usize,
}

impl Prefix {
    pub(crate) fn new(time_left: Option<Duration>, metadata: &Metadata) -> Self {
        let mut prefix = Self::default();
        if let Some(left) = time_left {
            let nanoseconds = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
            prefix.bytes.extend_from_slice(&nanoseconds.to_le_bytes());
            prefix.flags = prefix.flags.with(Flags::DEADLINE);
        }
        if !metadata.is_empty() {
            let encoded = metadata.encoded();
            // The caller has checked it against the peer's limit, which is a u32.
            let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
            prefix.bytes.extend_from_slice(&length.to_le_bytes());
            prefix.bytes.extend_from_slice(encoded);
            prefix.flags = prefix.flags.with(Flags::METADATA);
            prefix.metadata_bytes = encoded.len();
        }
        prefix
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A prefix as it was received.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) time_left: Option<Duration>,
    pub(crate) metadata: Metadata,
}

/// Takes the prefix that the flags announce from the front of the body.
pub(crate) fn parse(flags: Flags, body: &mut Body, metadata_bytes_max: usize) -> Result<Parsed, Status> {
    let short = |what: &str, found: usize, needed: usize| {
        Status::new(Code::InvalidArgument, format!("{what} needs {needed} bytes, but {found} are left"))
    };
    let mut parsed = Parsed::default();
    if flags.has(Flags::DEADLINE) {
        let (left, _) = body.split_first_chunk().ok_or_else(|| short("the deadline", body.len(), DEADLINE_BYTES))?;
        parsed.time_left = Some(Duration::from_nanos(u64::from_le_bytes(*left)));
        body.advance(DEADLINE_BYTES);
    }
    if flags.has(Flags::METADATA) {
        let (length, rest) =
            body.split_first_chunk().ok_or_else(|| short("the length of the metadata", body.len(), 4))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > metadata_bytes_max {
            let message = format!("metadata have {length} bytes, but at most {metadata_bytes_max} are taken");
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        let bytes = rest.get(..length).ok_or_else(|| short("the metadata", rest.len(), length))?;
        parsed.metadata =
            Metadata::decode(bytes).map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))?;
        body.advance(4 + length);
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(prefix: &Prefix, rest: &[u8]) -> Body {
        Body::from([prefix.bytes(), rest].concat())
    }

    #[test]
    fn a_prefix_comes_back_and_leaves_the_body() {
        let mut metadata = Metadata::new();
        for left in [None, Some(Duration::from_nanos(1_234_567_890))] {
            let prefix = Prefix::new(left, &metadata);
            let mut bytes = body(&prefix, b"rest");
            let parsed = parse(prefix.flags, &mut bytes, 100).unwrap();
            assert_eq!((parsed.time_left, &parsed.metadata, &*bytes), (left, &metadata, &b"rest"[..]));
            metadata.insert("k", "v").unwrap();
        }
        assert_eq!(Prefix::new(None, &Metadata::new()).bytes(), b"");
    }

    #[test]
    fn a_short_or_long_prefix_is_the_callers_error() {
        let deadline = parse(Flags::DEADLINE, &mut Body::from(vec![0; 7]), 100).unwrap_err();
        assert_eq!(
            (deadline.code, deadline.message.as_str()),
            (Code::InvalidArgument, "the deadline needs 8 bytes, but 7 are left")
        );
        let mut truncated = Body::from(vec![9, 0, 0, 0, 1]);
        assert_eq!(parse(Flags::METADATA, &mut truncated, 100).unwrap_err().code, Code::InvalidArgument);
        let mut at_bound = Body::from(vec![6, 0, 0, 0, 1, 0, b'k', 1, 0, b'v']);
        assert_eq!(parse(Flags::METADATA, &mut at_bound, 6).unwrap().metadata.get("k"), Some(&b"v"[..]));
        let mut long = Body::from(vec![101, 0, 0, 0, 1]);
        assert_eq!(parse(Flags::METADATA, &mut long, 100).unwrap_err().code, Code::ResourceExhausted);
    }
}
