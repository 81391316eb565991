//! How a call failed: a code, a message, details (SPEC section 11).

use std::fmt;

use thiserror::Error;

/// The canonical codes, with the numbers of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the canonical names say it")]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// The number in a frame.
    pub fn raw(self) -> u32 {
        self as u32
    }

    /// The code of a number; 0 and unknown ones are [`Code::Unknown`].
    pub fn from_raw(raw: u32) -> Self {
        match raw {
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The error with which a handler, or the peer on its behalf, ended a call.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct Status {
    /// What kind of failure it is.
    pub code: Code,
    /// What happened, for people.
    pub message: String,
    /// What happened, for programs: any bytes.
    pub details: Vec<u8>,
}

/// Bytes of a status before its message.
const HEAD_BYTES: usize = 8;

impl Status {
    /// A status without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// The body of an error frame (SPEC C11).
    pub fn encode(&self) -> Vec<u8> {
        // A frame cannot carry a longer message, so the cut never happens.
        let length = u32::try_from(self.message.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.message.len() + self.details.len());
        bytes.extend_from_slice(&self.code.raw().to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.message.as_bytes()[..length as usize]);
        bytes.extend_from_slice(&self.details);
        bytes
    }

    /// The same in at most `bytes` bytes: a message that is too long is cut, and details that do not fit then are left out.
    pub(crate) fn encode_within(&self, bytes: usize) -> Vec<u8> {
        let room = bytes.saturating_sub(HEAD_BYTES + self.details.len());
        if self.message.len() <= room {
            return self.encode();
        }
        let message = &self.message[..self.message.floor_char_boundary(room)];
        let details = if HEAD_BYTES + self.details.len() <= bytes { self.details.clone() } else { Vec::new() };
        Self { details, ..Self::new(self.code, message) }.encode()
    }

    /// The status in the body of an error frame; one that does not parse is [`Code::Unknown`], and says so.
    pub fn decode(bytes: &[u8]) -> Self {
        let parsed = || {
            let (code, rest) = bytes.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (message, details) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Some(Self {
                code: Code::from_raw(u32::from_le_bytes(*code)),
                message: std::str::from_utf8(message).ok()?.to_owned(),
                details: details.to_owned(),
            })
        };
        parsed().unwrap_or_else(|| {
            Self::new(Code::Unknown, format!("the peer sent an error of {} bytes that is no status", bytes.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let status = Status { details: vec![1, 2, 3], ..Status::new(Code::NotFound, "no Käse") };
        assert_eq!(Status::decode(&status.encode()), status);
        for raw in 1..=16 {
            assert_eq!(Code::from_raw(raw).raw(), raw);
        }
    }

    #[test]
    fn a_status_is_cut_to_its_room() {
        let status = Status { details: vec![1, 2], ..Status::new(Code::NotFound, "no Käse") };
        assert_eq!(Status::decode(&status.encode_within(18)), status);
        for bytes in 8..18 {
            let encoded = status.encode_within(bytes);
            assert!(encoded.len() <= bytes, "{} of {bytes}", encoded.len());
            let cut = Status::decode(&encoded);
            assert!(status.message.starts_with(&cut.message) && cut.code == status.code, "{cut}");
            let details: &[u8] = if bytes < 10 { &[] } else { &status.details };
            assert_eq!(cut.details, details, "{bytes}");
        }
    }

    #[test]
    fn what_is_no_status_is_unknown() {
        let long = [13, 0, 0, 0, 200, 0, 0, 0, b'x'];
        let not_text = [13, 0, 0, 0, 1, 0, 0, 0, 0xff];
        for bytes in [&[][..], &[1, 2, 3], &long, &not_text] {
            assert_eq!(Status::decode(bytes).code, Code::Unknown);
        }
        assert_eq!(Status::decode(&[0; 8]), Status::new(Code::Unknown, ""));
        assert_eq!(Status::decode(&[17, 0, 0, 0, 0, 0, 0, 0]).code, Code::Unknown);
    }
}
