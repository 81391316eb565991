//! W3C trace context: which trace a call belongs to, and which span it comes from.
//!
//! ```text
//!   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//!   version     trace id                 span id        flags (bit 0: sampled)
//! ```
//!
//! The form is that of <https://www.w3.org/TR/trace-context/>. A later version may have more behind another `-`, which is
//! not looked at; version `ff` is none.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use super::id::{SpanId, TraceId};

/// Bytes of version 00, and the fewest of a later one.
const BYTES: usize = 55;
const VERSION: Range<usize> = 0..2;
const TRACE: Range<usize> = 3..35;
const SPAN: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..55;
const SAMPLED: u128 = 1;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that it was at: the parent of what follows.
    pub span_id: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// What is wrong with a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceparentError {
    /// It is too short, or too long for its version.
    #[error("traceparent has {found} bytes, but 55 were expected")]
    Length {
        /// Its bytes.
        found: usize,
    },
    /// A character that cannot be where it is.
    #[error("byte {at} of traceparent is {:?}, but {expected} was expected", char::from(*.found))]
    Character {
        /// Where.
        at: usize,
        /// The byte.
        found: u8,
        /// What may be there.
        expected: &'static str,
    },
    /// Version ff.
    #[error("traceparent has version ff, which is none")]
    Version,
    /// An id of zeros alone.
    #[error("the {what} of traceparent is 0")]
    Zero {
        /// Which id.
        what: &'static str,
    },
}

impl TraceContext {
    /// The context that a `traceparent` names.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(traceparent: &[u8]) -> Result<Self, TraceparentError> {
        let text = traceparent.get(..BYTES).ok_or(TraceparentError::Length { found: traceparent.len() })?;
        for at in [VERSION.end, TRACE.end, SPAN.end] {
            dash(at, text[at])?;
        }
        let (version, flags) = (hexadecimal(text, VERSION)?, hexadecimal(text, FLAGS)?);
        match (version, traceparent.get(BYTES)) {
            (0xff, _) => return Err(TraceparentError::Version),
            (0, Some(_)) => return Err(TraceparentError::Length { found: traceparent.len() }),
            (_, Some(&more)) => dash(BYTES, more)?,
            (_, None) => {}
        }
        let trace_id = TraceId::new(hexadecimal(text, TRACE)?).ok_or(TraceparentError::Zero { what: "trace id" })?;
        // 16 digits fit.
        let span = u64::try_from(hexadecimal(text, SPAN)?).unwrap_or_default();
        let span_id = SpanId::new(span).ok_or(TraceparentError::Zero { what: "span id" })?;
        Ok(Self { trace_id, span_id, sampled: flags & SAMPLED != 0 })
    }

    /// A new span in the trace of `outer`, or in a new one.
    pub(crate) fn within(outer: Option<Self>) -> Self {
        let (trace_id, sampled) =
            outer.map_or_else(|| (TraceId::random(), true), |outer| (outer.trace_id, outer.sampled));
        Self { trace_id, span_id: SpanId::random(), sampled }
    }
}

/// The `traceparent` that names it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

fn dash(at: usize, found: u8) -> Result<(), TraceparentError> {
    if found == b'-' { Ok(()) } else { Err(TraceparentError::Character { at, found, expected: "'-'" }) }
}

/// The number in lower-case hexadecimal digits, of which there are 32 at most.
fn hexadecimal(text: &[u8], range: Range<usize>) -> Result<u128, TraceparentError> {
    range.into_iter().try_fold(0, |number, at| {
        let digit = match text[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            found => return Err(TraceparentError::Character { at, found, expected: "one of 0-9 and a-f" }),
        };
        Ok(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// `TEXT` with other bytes from a place on.
    fn with(at: usize, other: &str) -> String {
        let mut text = TEXT.to_owned();
        text.replace_range(at..(at + other.len()).min(TEXT.len()), other);
        text
    }

    #[test]
    fn what_is_written_is_read() {
        let context = TraceContext::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(context.trace_id.get(), 0x4bf92f3577b34da6a3ce929d0e0e4736);
        assert_eq!((context.span_id.get(), context.sampled), (0x00f067aa0ba902b7, true));
        assert_eq!(context.to_string(), TEXT);
        let other = TraceContext { sampled: false, ..TraceContext::within(None) };
        assert_eq!(TraceContext::parse(other.to_string().as_bytes()), Ok(other));
        assert!(other.to_string().ends_with("-00"));
    }

    #[test]
    fn only_the_first_flag_counts_and_a_later_version_may_have_more() {
        let context = TraceContext::parse(TEXT.as_bytes());
        for text in [with(53, "ff"), with(53, "03"), with(0, "01"), with(0, "cc") + "-what-comes", with(0, "fe") + "-"]
        {
            assert_eq!(TraceContext::parse(text.as_bytes()), context, "{text}");
        }
        assert!(!TraceContext::parse(with(53, "fe").as_bytes()).unwrap().sampled);
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(TraceContext::parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        check("", "traceparent has 0 bytes, but 55 were expected");
        check(&TEXT[..54], "traceparent has 54 bytes, but 55 were expected");
        check(&(TEXT.to_owned() + "-x"), "traceparent has 57 bytes, but 55 were expected");
        check(&(with(0, "01") + "x"), "byte 55 of traceparent is 'x', but '-' was expected");
        check(&with(0, "ff"), "traceparent has version ff, which is none");
        for at in [2, 35, 52] {
            check(&with(at, "_"), &format!("byte {at} of traceparent is '_', but '-' was expected"));
        }
        for (at, other) in [(0, "g"), (3, "A"), (34, " "), (36, "+"), (53, "-"), (54, "\0")] {
            let found = char::from(other.as_bytes()[0]);
            check(
                &with(at, other),
                &format!("byte {at} of traceparent is {found:?}, but one of 0-9 and a-f was expected"),
            );
        }
        check(&with(3, &"0".repeat(32)), "the trace id of traceparent is 0");
        check(&with(36, &"0".repeat(16)), "the span id of traceparent is 0");
    }

    #[test]
    fn a_new_span_stays_in_its_trace() {
        let outer = TraceContext { sampled: false, ..TraceContext::within(None) };
        let inner = TraceContext::within(Some(outer));
        assert_eq!((inner.trace_id, inner.sampled), (outer.trace_id, false));
        assert_ne!(inner.span_id, outer.span_id);
        let fresh = TraceContext::within(None);
        assert!(fresh.sampled && fresh.trace_id != outer.trace_id);
    }
}
