//! What is kept of a stream of text that may be a flood: its last bytes, and the line that is under way.

/// Bytes of a stream that are kept.
pub(crate) const TAIL_BYTES_MAX: usize = 8 << 10;
/// The longest line that is passed on whole.
const LINE_BYTES_MAX: usize = 4 << 10;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Adds what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        self.cut |= excess > 0 || kept.len() < bytes.len();
        self.bytes.drain(..excess);
        self.bytes.extend_from_slice(kept);
    }

    /// The text, from the first whole line on if something is missing.
    pub(crate) fn text(&self) -> String {
        let from = if self.cut { self.bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
        String::from_utf8_lossy(&self.bytes[from..]).trim_end().to_owned()
    }
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// Bytes of the line beyond the longest.
    beyond: usize,
}

impl Lines {
    /// Adds what was read; gives those of the lines that are complete with it of which `takes` says so.
    pub(crate) fn push(&mut self, bytes: &[u8], mut takes: impl FnMut() -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let kept = piece.len().min(LINE_BYTES_MAX - self.line.len());
            self.line.extend_from_slice(&piece[..kept]);
            self.beyond += piece.len() - kept;
            if pieces.peek().is_some() {
                if takes() {
                    lines.push(self.take());
                } else {
                    self.line.clear();
                    self.beyond = 0;
                }
            }
        }
        lines
    }

    /// The line that the end of the stream has cut off, if there is one.
    pub(crate) fn finish(&mut self, takes: impl FnOnce() -> bool) -> Option<String> {
        (!self.line.is_empty() && takes()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let mut line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        match std::mem::take(&mut self.beyond) {
            0 => {}
            beyond => line.push_str(&format!("... ({beyond} more bytes)")),
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_whole_lines_and_no_more_memory() {
        let mut tail = Tail::default();
        tail.push(b"first\nsecond");
        assert_eq!(tail.text(), "first\nsecond");
        for number in 0..100_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        assert!(tail.bytes.len() <= TAIL_BYTES_MAX && tail.bytes.capacity() <= 4 * TAIL_BYTES_MAX);
        let text = tail.text();
        assert!(text.starts_with("line 99") && text.ends_with("\nline 99999"), "{}", &text[..40]);
        tail.push(&vec![b'x'; 1 << 20]);
        assert_eq!(tail.text(), "x".repeat(TAIL_BYTES_MAX));
    }

    #[test]
    fn lines_are_whole_however_they_are_read() {
        let text = "one\n\nthree \u{20ac}\nfour";
        for step in 1..text.len() {
            let mut lines = Lines::default();
            let mut all: Vec<String> =
                text.as_bytes().chunks(step).flat_map(|part| lines.push(part, || true)).collect();
            all.extend(lines.finish(|| true));
            assert_eq!(all, ["one", "", "three \u{20ac}", "four"]);
            assert_eq!(lines.finish(|| true), None);
        }
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert!(lines.push(&[b'x'; 1000], || true).is_empty());
        }
        assert!(lines.line.capacity() <= 4 * LINE_BYTES_MAX);
        let cut = lines.push(b"y\nnext\n", || true);
        let expected = format!("{}... ({} more bytes)", "x".repeat(LINE_BYTES_MAX), 1_000_001 - LINE_BYTES_MAX);
        assert_eq!(cut, [expected, "next".to_owned()]);
    }

    #[test]
    fn a_line_that_is_not_taken_leaves_nothing_behind() {
        let mut lines = Lines::default();
        let mut verdicts = [true, false, true].into_iter();
        let text = [b"one\ntwo", &[b'x'; 2 * LINE_BYTES_MAX][..], b"\nthree\nfour"].concat();
        assert_eq!(lines.push(&text, || verdicts.next().unwrap()), ["one", "three"]);
        assert_eq!((lines.finish(|| false), lines.finish(|| true)), (None, Some("four".to_owned())));
    }
}
