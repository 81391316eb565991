//! The log's service: what plugins write goes to `tracing`.

use std::fmt;

use rapace_host_api::logger::{self, LogError, LogField, LogLevel, LogRecord, LogValue, LoggerServer};
use tracing::field::display;

use crate::escaped::Escaped;
use crate::scope::PluginScope;

/// The target of what plugins write, which filters take.
const TARGET: &str = "rapace::plugin";
/// The longest message that is passed on whole, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// The longest value of a field.
const VALUE_BYTES_MAX: usize = 1 << 10;
/// The longest target, and the longest name of a field.
const NAME_BYTES_MAX: usize = 128;
/// The most fields.
const FIELDS_MAX: usize = 32;

/// Serves `rapace.Logger`.
///
/// Each record is an event of `tracing` with the target `rapace::plugin`, the record's level and message, and the fields
/// `plugin`, `module` (where in the plugin it comes from) and `fields` (those of the record, as text). It stays on its line
/// and within bounds: 4 KiB of message, 32 fields of 1 KiB, 128 bytes for each name. Beyond the plugin's limit, which what it
/// prints counts to as well, records are refused.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Logger;

/// The log, as one plugin has it.
#[derive(Clone, Debug)]
pub struct PluginLogger {
    scope: PluginScope,
}

impl Logger {
    /// The log of a host.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// What serves this plugin.
    #[must_use]
    pub fn server(&self, scope: &PluginScope) -> LoggerServer<PluginLogger> {
        LoggerServer::new(PluginLogger { scope: scope.clone() })
    }
}

impl logger::Logger for PluginLogger {
    async fn log(&self, record: LogRecord) -> Result<(), LogError> {
        self.scope.take_line().map_err(|per_second| LogError::TooMany { per_second: per_second.get() })?;
        let record = bounded(record);
        emit(self.scope.name(), &record);
        self.scope.tell_record(&record);
        Ok(())
    }
}

/// Callsites of `tracing` have their level for good.
fn emit(plugin: &str, record: &LogRecord) {
    let LogRecord { level, target: module, message, fields } = record;
    let fields = (!fields.is_empty()).then(|| display(Fields(fields)));
    macro_rules! emit {
        ($level:ident) => {
            tracing::event!(target: TARGET, tracing::Level::$level, plugin, module, fields, "{message}")
        };
    }
    match level {
        LogLevel::Trace => emit!(TRACE),
        LogLevel::Debug => emit!(DEBUG),
        LogLevel::Info => emit!(INFO),
        LogLevel::Warn => emit!(WARN),
        LogLevel::Error => emit!(ERROR),
    }
}

struct Fields<'a>(&'a [LogField]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, LogField { name, value })| {
            write!(f, "{}{name}={value}", if index > 0 { " " } else { "" })
        })
    }
}

/// What is kept of a record.
fn bounded(record: LogRecord) -> LogRecord {
    let LogRecord { level, target, message, mut fields } = record;
    let mut message = line(cut(message, MESSAGE_BYTES_MAX));
    if fields.len() > FIELDS_MAX {
        message.push_str(&format!(" ({} more fields)", fields.len() - FIELDS_MAX));
        fields.truncate(FIELDS_MAX);
    }
    let field = |LogField { name, value }| {
        let value = match value {
            // It is escaped where it is shown.
            LogValue::Text(text) => LogValue::Text(cut(text, VALUE_BYTES_MAX)),
            other => other,
        };
        LogField { name: line(cut(name, NAME_BYTES_MAX)), value }
    };
    let fields = fields.into_iter().map(field).collect();
    LogRecord { level, target: line(cut(target, NAME_BYTES_MAX)), message, fields }
}

/// A text that says so if it was longer.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = text.floor_char_boundary(bytes_max);
        let beyond = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("... ({beyond} more bytes)"));
    }
    text
}

/// A text that stays on its line.
fn line(text: String) -> String {
    let escaped = Escaped(&text);
    if escaped.is_needed() { escaped.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use futures_util::FutureExt;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rapace_host_api::logger::Logger as _;

    use super::*;
    use crate::permissions::PluginLimits;
    use crate::scope::Limit;

    #[test]
    fn a_record_beyond_the_limit_is_refused_and_counted() {
        let limits = PluginLimits { log_lines_per_second: NonZeroU32::new(1), ..PluginLimits::default() };
        let scope = PluginScope::new("p").with_limits(limits);
        let logger = PluginLogger { scope: scope.clone() };
        let log = || logger.log(LogRecord::new(LogLevel::Info, "", "x")).now_or_never().unwrap();
        let refused = (0..10).filter(|_| log().is_err()).count();
        assert!(refused > 0);
        assert_eq!((scope.overruns(Limit::LogRate), scope.log.dropped()), (refused as u64, refused as u64));
        let error = std::iter::repeat_with(log).find_map(Result::err).unwrap();
        assert_eq!(error.to_string(), "the plugin may write 1 lines of the log in a second");
    }

    #[test]
    fn a_record_stays_on_its_line_and_within_bounds() {
        let record = LogRecord::new(LogLevel::Warn, "a\nb", "one\ntwo").field("n\r", "\x1b[31m").field("b", true);
        let kept = bounded(record);
        assert_eq!((&*kept.target, &*kept.message), ("a\\nb", "one\\ntwo"));
        assert_eq!(Fields(&kept.fields).to_string(), "n\\r=\"\\u{1b}[31m\" b=true");
        let long = "\u{20ac}".repeat(100_000);
        let many = LogRecord::new(LogLevel::Warn, &*long, &*long);
        let kept = bounded((0..100).fold(many, |record, _| record.field(&*long, &*long)));
        assert!(kept.message.ends_with("\u{20ac}... (295905 more bytes) (68 more fields)"), "{}", kept.message);
        assert_eq!((kept.fields.len(), kept.message.len(), kept.target.len()), (32, 4095 + 40, 126 + 23));
        assert!(Fields(&kept.fields).to_string().len() < 32 * (1100 + 160));
    }

    fn text() -> impl Strategy<Value = String> {
        // About as long as each of the bounds, and of all that there is.
        let long =
            |bytes: usize| ("\\PC{0,4}", Just(bytes)).prop_map(|(end, bytes)| "\u{20ac}".repeat(bytes / 3) + &end);
        prop_oneof![
            any::<String>(),
            long(NAME_BYTES_MAX),
            long(VALUE_BYTES_MAX),
            long(MESSAGE_BYTES_MAX),
            Just("\u{202e}\r\n\u{1b}".repeat(2000)),
        ]
    }

    fn value() -> impl Strategy<Value = LogValue> {
        prop_oneof![
            any::<f64>().prop_map(LogValue::Float),
            any::<i64>().prop_map(LogValue::Int),
            text().prop_map(LogValue::Text),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_record_leaves_its_line_or_its_bounds(
            target in text(),
            message in text(),
            fields in vec((text(), value()).prop_map(|(name, value)| LogField { name, value }), 0..40),
        ) {
            let kept = bounded(LogRecord { level: LogLevel::Info, target, message, fields });
            // An escape is of 8 characters for one byte at most, and a cut is told of.
            let bound = |bytes_max: usize| 8 * bytes_max + 64;
            prop_assert!(kept.message.len() <= bound(MESSAGE_BYTES_MAX) && kept.target.len() <= bound(NAME_BYTES_MAX));
            prop_assert!(kept.fields.len() <= FIELDS_MAX);
            prop_assert!(Fields(&kept.fields).to_string().len() <= FIELDS_MAX * (bound(NAME_BYTES_MAX) + bound(VALUE_BYTES_MAX)));
            for text in [kept.message.clone(), kept.target.clone(), Fields(&kept.fields).to_string()] {
                prop_assert!(!Escaped(&text).is_needed(), "{text:?}");
            }
        }
    }
}
