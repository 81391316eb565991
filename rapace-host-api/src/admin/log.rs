//! Lines of the plugins' logs.

use std::fmt;

use rapace_macros::message;

use crate::logger::{LogField, LogLevel};

/// Which lines are wanted.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct LogQuery {
    /// Those of this plugin; else of all.
    pub plugin: Option<String>,
    /// Of the lines that are there, so many of the last.
    pub last: u32,
    /// Whether those that come later are wanted too, without end.
    pub follow: bool,
}

/// What a stream of lines brings.
#[message(crate = "rapace_service")]
pub enum LogItem {
    /// A line.
    Line(LogLine),
    /// Lines of a plugin that the host did not keep until they could be sent, because so many came.
    Missed {
        /// The plugin's name.
        plugin: String,
        /// How many.
        lines: u64,
    },
}

/// A line that a plugin has printed, or a record that it has logged.
#[message(crate = "rapace_service")]
pub struct LogLine {
    /// The plugin's name.
    pub plugin: String,
    /// Which of the plugin's it is, from 1, over all its lives.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The process that it came from.
    pub process_id: Option<u32>,
    /// How it came.
    pub source: LogSource,
    /// What it says, without the line's end and otherwise as it came: it may have control characters, which a line that is
    /// shown has in words.
    pub text: String,
    /// A record's fields.
    pub fields: Vec<LogField>,
}

/// How a line came.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub enum LogSource {
    /// By standard output.
    Stdout,
    /// By standard error.
    Stderr,
    /// By the log's service.
    Record {
        /// How much it matters.
        level: LogLevel,
        /// Where in the plugin it comes from.
        target: String,
    },
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.pad("stdout"),
            Self::Stderr => f.pad("stderr"),
            Self::Record { level, .. } => level.fmt(f),
        }
    }
}

impl fmt::Display for LogLine {
    /// One line, without the plugin's name and the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} | ", self.source)?;
        if let LogSource::Record { target, .. } = &self.source {
            write!(f, "{}: ", Escaped(target))?;
        }
        write!(f, "{}", Escaped(&self.text))?;
        self.fields.iter().try_for_each(|field| write!(f, " {}={}", Escaped(&field.name), field.value))
    }
}

/// A text without what would move a terminal's cursor.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\t' => f.write_str("\t"),
            char if char.is_control() => write!(f, "{}", char.escape_default()),
            char => write!(f, "{char}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_moves_no_cursor() {
        let source = LogSource::Record { level: LogLevel::Warn, target: "a::b\n".to_owned() };
        let (plugin, text) = ("p".to_owned(), "two\nlines \u{1b}[2J and a\ttab".to_owned());
        let field = LogField { name: "n\r".to_owned(), value: "v\n".into() };
        let line = LogLine { plugin, number: 1, unix_ms: 0, process_id: None, source, text, fields: vec![field] };
        let expected = "WARN   | a::b\\n: two\\nlines \\u{1b}[2J and a\ttab n\\r=\"v\\n\"";
        assert_eq!(line.to_string(), expected);
        let printed = LogLine { source: LogSource::Stdout, text: "hello".to_owned(), fields: Vec::new(), ..line };
        assert_eq!(printed.to_string(), "stdout | hello");
    }
}
