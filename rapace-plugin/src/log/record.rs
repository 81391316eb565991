//! A record of an event of `tracing`.

use std::fmt::{self, Write};

use rapace_host_api::logger::{LogField, LogLevel, LogRecord, LogValue};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Bytes of a message; hosts take no more.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 1 << 10;

/// What an event tells.
pub(super) fn record(event: &Event<'_>) -> LogRecord {
    let metadata = event.metadata();
    let level = match *metadata.level() {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    };
    let mut visitor = Visitor(LogRecord::new(level, metadata.target(), ""));
    event.record(&mut visitor);
    visitor.0
}

struct Visitor(LogRecord);

impl Visitor {
    fn add(&mut self, field: &Field, value: LogValue) {
        self.0.fields.push(LogField { name: field.name().to_owned(), value });
    }

    fn add_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.0.message = bounded(text, MESSAGE_BYTES_MAX);
        } else {
            self.add(field, LogValue::Text(bounded(text, VALUE_BYTES_MAX)));
        }
    }
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

/// A text that never becomes longer, and says so if it was.
fn bounded(text: fmt::Arguments<'_>, bytes_max: usize) -> String {
    let mut bounded = Bounded { text: String::new(), bytes_max, beyond: 0 };
    // It fails where the value's own formatting does: what there is by then will do.
    let _ = bounded.write_fmt(text);
    let Bounded { mut text, beyond, .. } = bounded;
    if beyond > 0 {
        text.push_str(&format!("... ({beyond} more bytes)"));
    }
    text
}

struct Bounded {
    text: String,
    bytes_max: usize,
    beyond: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = if self.beyond > 0 { 0 } else { self.bytes_max.saturating_sub(self.text.len()) };
        let kept = part.get(..part.floor_char_boundary(room)).unwrap_or_default();
        self.text.push_str(kept);
        self.beyond += part.len() - kept.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_while_it_is_written() {
        assert_eq!(bounded(format_args!("{}{}", "ab", 12), 4), "ab12");
        assert_eq!(bounded(format_args!("a{}{}c", "\u{20ac}\u{20ac}", 12), 5), "a\u{20ac}... (6 more bytes)");
        let endless = vec![7u8; 1 << 20];
        assert!(bounded(format_args!("{endless:?}"), 100).len() < 130);
    }
}
