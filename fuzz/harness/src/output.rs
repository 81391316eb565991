//! Target `output`: what a plugin prints, as the host cuts it into lines and keeps its end.

use arbitrary::{Arbitrary, Unstructured};

use self::tail::{Lines, TAIL_BYTES_MAX, Tail};

// The file itself: nobody beside its crate has a use for it.
#[path = "../../../rapace-host/src/tail.rs"]
mod tail;

/// The longest line that is passed on whole.
const LINE_BYTES_MAX: usize = 4096;
/// All that one input prints.
const PRINTED_BYTES_MAX: usize = 256 << 10;

/// What is read at once.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// One byte, so many times.
    Flood(u8, u16),
}

impl<'a> Arbitrary<'a> for Piece {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.arbitrary::<u8>()? {
            255 => Self::Flood(u.arbitrary()?, u.arbitrary()?),
            count => Self::Bytes(u.bytes(usize::from(count).min(u.len()))?.to_vec()),
        })
    }
}

/// Reads a stream piece by piece.
///
/// However it is cut, its lines are those of the whole: each once, in their order, without invalid UTF-8, and long ones cut
/// with a word about it. What is kept of its end is its last 8 KiB, from the first whole line on.
pub fn output(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (mut whole, mut found) = (Vec::new(), Vec::new());
    let (mut lines, mut tail) = (Lines::default(), Tail::default());
    while !u.is_empty() && whole.len() < PRINTED_BYTES_MAX {
        let Ok(piece) = u.arbitrary::<Piece>() else { break };
        let piece = match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Flood(byte, times) => vec![byte; times.into()],
        };
        found.extend(lines.push(&piece, || true));
        tail.push(&piece);
        whole.extend(piece);
    }
    assert_eq!(tail.text(), end_of(&whole));
    found.extend(lines.finish(|| true));
    assert_eq!(lines.finish(|| true), None, "the end is told twice");
    let mut expected: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    assert_eq!(found.len(), expected.len(), "lines");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(*found, shown(expected));
    }
}

/// A line as it is passed on.
fn shown(line: &[u8]) -> String {
    match line.split_at_checked(LINE_BYTES_MAX) {
        Some((kept, beyond)) if !beyond.is_empty() => {
            format!("{}... ({} more bytes)", String::from_utf8_lossy(kept), beyond.len())
        }
        _ => String::from_utf8_lossy(line).into_owned(),
    }
}

/// The text that is kept of a stream.
fn end_of(whole: &[u8]) -> String {
    let mut kept = whole;
    if whole.len() > TAIL_BYTES_MAX {
        kept = &whole[whole.len() - TAIL_BYTES_MAX..];
        let line = kept.iter().position(|byte| *byte == b'\n');
        kept = &kept[line.map_or(0, |at| at + 1)..];
    }
    String::from_utf8_lossy(kept).trim_end().to_owned()
}
