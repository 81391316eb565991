//! What a plugin says, printed or by the log's service: how much of it is taken, and who hears of it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use rapace_host_api::admin::LogSource;
use rapace_host_api::logger::{LogLevel, LogRecord};

use crate::meter::Meter;
use crate::output::Reader;
use crate::scope::{Limit, PluginScope};

/// A record that a plugin wrote, or that its host wrote about that.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LogEntry<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// The record, within bounds. Its message and its names have no control characters; its values may.
    pub record: &'a LogRecord,
}

/// Whom a host gives every record.
pub(crate) type LogListener = dyn Fn(&LogEntry<'_>) + Send + Sync;

/// What a plugin says, over all its lives.
#[derive(Default)]
pub(crate) struct PluginLog {
    meter: Meter,
    /// Lines that were dropped since it was last told how many.
    dropped: AtomicU64,
    /// Whoever tells.
    reader: OnceLock<Weak<Reader>>,
}

impl PluginLog {
    /// It is of a plugin of this host.
    pub(crate) fn belongs_to(&self, reader: Weak<Reader>) {
        // The first stays, and is the same.
        let _ = self.reader.set(reader);
    }

    /// Lines that were dropped since it was last told how many.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The same; the next one is the first again.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

impl PluginScope {
    /// Takes a line of the plugin's into the log. One that is beyond what it may write is dropped: it is counted, and told of
    /// when it is quiet again.
    ///
    /// # Errors
    ///
    /// How many lines it may write in a second.
    pub(crate) fn take_line(&self) -> Result<(), NonZeroU32> {
        match self.limits().log_lines_per_second {
            Some(per_second) if !self.log.meter.take(per_second) => {
                self.overrun(Limit::LogRate, format_args!("it may write {per_second} lines in a second"));
                if self.log.dropped.fetch_add(1, Ordering::Relaxed) == 0
                    && let Some(reader) = self.log.reader.get().and_then(Weak::upgrade)
                {
                    reader.has_dropped(self);
                }
                Err(per_second)
            }
            _ => Ok(()),
        }
    }

    /// Keeps a record, and gives it to the host's listener.
    pub(crate) fn tell_record(&self, record: &LogRecord) {
        let source = LogSource::Record { level: record.level, target: record.target.clone() };
        self.keep_line(source, &record.message, &record.fields);
        if let Some(reader) = self.log.reader.get().and_then(Weak::upgrade) {
            reader.tell_record(&LogEntry { plugin: self.name(), record });
        }
    }

    /// Tells how many lines were dropped.
    pub(crate) fn tell_dropped(&self) {
        let dropped = self.log.take_dropped();
        if dropped == 0 {
            return;
        }
        let message = match self.limits().log_lines_per_second {
            Some(per_second) => format!("{dropped} lines were dropped: it may write {per_second} in a second"),
            None => format!("{dropped} lines were dropped"),
        };
        tracing::warn!(plugin = self.name(), dropped, "{message}");
        let record = LogRecord::new(LogLevel::Warn, env!("CARGO_CRATE_NAME"), message).field("dropped", dropped);
        self.tell_record(&record);
    }
}

impl fmt::Debug for PluginLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginLog").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_among_the_last_lines() {
        let scope = PluginScope::new("p");
        scope.is_process(7);
        scope.tell_record(&LogRecord::new(LogLevel::Warn, "a::b", "hello").field("n", true));
        let [line] = scope.tail().last(10, Some(7)).try_into().unwrap();
        assert_eq!((line.number, line.to_string()), (1, "WARN   | a::b: hello n=true".to_owned()));
    }
}
