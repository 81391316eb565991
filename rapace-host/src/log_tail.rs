//! The last lines of what a plugin prints and logs, over all its lives.
//!
//! Nobody has a queue of his own: whoever follows asks for what came behind the last line that he has, and learns by the
//! numbers what is not kept any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rapace_host_api::admin::{LogLine, LogSource};
use rapace_host_api::logger::LogField;
use tokio::sync::Notify;

/// Lines of a plugin that are kept.
pub(crate) const LINES_MAX: usize = 1000;
/// Bytes of them.
pub(crate) const BYTES_MAX: usize = 256 << 10;
/// What a line takes beside its texts, about.
const LINE_BYTES: usize = size_of::<LogLine>() + 16;
/// The longest record that is kept whole, in bytes of its texts; printed lines are bounded already.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// The lines of one plugin.
#[derive(Debug, Default)]
pub(crate) struct LogTail {
    kept: Mutex<Kept>,
    /// Rung at each line: the same for all plugins of a host.
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// The number of the last line there was.
    last: u64,
}

impl LogTail {
    /// An empty one that rings this bell.
    pub(crate) fn new(bell: &Arc<Notify>) -> Self {
        Self { kept: Mutex::default(), bell: Arc::clone(bell) }
    }

    /// Keeps a line, and with it fewer of the old ones if there are too many.
    pub(crate) fn keep(
        &self,
        plugin: &str,
        process_id: Option<u32>,
        source: LogSource,
        text: &str,
        fields: &[LogField],
    ) {
        let (text, fields) = match bytes_of(text, fields) {
            bytes if bytes <= RECORD_BYTES_MAX => (text.to_owned(), fields.to_vec()),
            bytes => (format!("(a record of {bytes} bytes)"), Vec::new()),
        };
        let plugin = plugin.to_owned();
        let mut line =
            LogLine { plugin, number: 0, unix_ms: unix_ms(SystemTime::now()), process_id, source, text, fields };
        let mut kept = self.kept.lock();
        kept.last += 1;
        line.number = kept.last;
        kept.bytes += cost(&line);
        kept.lines.push_back(Arc::new(line));
        while kept.lines.len() > LINES_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= cost(&oldest);
        }
        drop(kept);
        self.bell.notify_waiters();
    }

    /// The last of them, at most so many, and of this process if one is named.
    pub(crate) fn last(&self, most: usize, process_id: Option<u32>) -> Vec<Arc<LogLine>> {
        let kept = self.kept.lock();
        let wanted = |line: &&Arc<LogLine>| process_id.is_none() || line.process_id == process_id;
        let mut lines: Vec<_> = kept.lines.iter().rev().filter(wanted).take(most).cloned().collect();
        lines.reverse();
        lines
    }

    /// The last of them, at most so many, and the number of the last line there was.
    pub(crate) fn last_with_number(&self, most: usize) -> (u64, Vec<Arc<LogLine>>) {
        let kept = self.kept.lock();
        let from = kept.lines.len().saturating_sub(most);
        (kept.last, kept.lines.iter().skip(from).cloned().collect())
    }

    /// The first lines behind the one of this number, at most so many, and how many between are not kept any more.
    pub(crate) fn behind(&self, number: u64, most: usize) -> (u64, Vec<Arc<LogLine>>) {
        let kept = self.kept.lock();
        let first = kept.lines.front().map_or(kept.last + 1, |line| line.number);
        let missed = first.saturating_sub(number + 1);
        let from = usize::try_from((number + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        (missed, kept.lines.iter().skip(from).take(most).cloned().collect())
    }
}

/// Milliseconds since 1970; 0 before that.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn cost(line: &LogLine) -> usize {
    let target = if let LogSource::Record { target, .. } = &line.source { target.len() } else { 0 };
    LINE_BYTES + line.plugin.len() + target + bytes_of(&line.text, &line.fields)
}

fn bytes_of(text: &str, fields: &[LogField]) -> usize {
    let of_field = |field: &LogField| {
        let value = if let rapace_host_api::logger::LogValue::Text(text) = &field.value { text.len() } else { 0 };
        size_of::<LogField>() + field.name.len() + value
    };
    text.len() + fields.iter().map(of_field).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(tail: &LogTail, text: &str) {
        tail.keep("p", Some(7), LogSource::Stdout, text, &[]);
    }

    fn numbers(lines: &[Arc<LogLine>]) -> Vec<u64> {
        lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn a_tail_is_the_last_lines_and_no_more_memory() {
        let tail = LogTail::default();
        for number in 1..=3000 {
            keep(&tail, &number.to_string());
        }
        let lines = tail.last(usize::MAX, None);
        assert_eq!((lines.len(), lines[0].number, &*lines[0].text), (LINES_MAX, 2001, "2001"));
        assert_eq!(numbers(&tail.last(2, None)), [2999, 3000]);
        for _ in 0..100 {
            keep(&tail, &"x".repeat(10_000));
        }
        let lines = tail.last(usize::MAX, None);
        assert!((20..=26).contains(&lines.len()), "{}", lines.len());
        tail.keep("p", None, LogSource::Stderr, &"x".repeat(1 << 20), &[]);
        assert_eq!(tail.last(1, None)[0].text, "(a record of 1048576 bytes)");
        let kept = tail.kept.lock();
        assert_eq!(kept.bytes, kept.lines.iter().map(|line| cost(line)).sum::<usize>());
    }

    #[test]
    fn whoever_follows_learns_what_he_has_missed() {
        let tail = LogTail::default();
        assert_eq!(tail.behind(0, 10), (0, Vec::new()));
        (1..=5).for_each(|number| keep(&tail, &number.to_string()));
        let (missed, lines) = tail.behind(2, 2);
        assert_eq!((missed, numbers(&lines)), (0, vec![3, 4]));
        assert_eq!(tail.behind(5, 10), (0, Vec::new()));
        (6..=2000).for_each(|number| keep(&tail, &number.to_string()));
        let (missed, lines) = tail.behind(5, 1);
        assert_eq!((missed, numbers(&lines)), (995, vec![1001]));
    }

    #[test]
    fn lines_of_a_process_are_told_apart() {
        let tail = LogTail::default();
        for process in [1, 2, 1, 2] {
            tail.keep("p", Some(process), LogSource::Stderr, "", &[]);
        }
        assert_eq!(numbers(&tail.last(10, Some(2))), [2, 4]);
    }
}
