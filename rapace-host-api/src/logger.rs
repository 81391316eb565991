//! The host's log, for plugins: records with a level, the place that they come from, a message and typed fields.

use std::fmt;

use rapace_macros::{message, service};
use thiserror::Error;

/// Takes what a plugin has to say. Whose record it is, the host knows by itself.
#[service(name = "rapace.Logger", version = "1.0", provider = "host", crate = "rapace_service")]
pub trait Logger {
    /// Writes a record. What is too long is cut, and says so.
    #[method(id = 1000)]
    async fn log(&self, record: LogRecord) -> Result<(), LogError>;
}

/// How much a record matters.
#[message(crate = "rapace_service")]
#[derive(Copy, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Each step.
    Trace,
    /// For those who look for a mistake.
    Debug,
    /// What happens.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something has failed.
    Error,
}

/// One thing to say.
#[message(crate = "rapace_service")]
pub struct LogRecord {
    /// How much it matters.
    pub level: LogLevel,
    /// Where it comes from: a module, as a rule.
    pub target: String,
    /// In words.
    pub message: String,
    /// For programs.
    pub fields: Vec<LogField>,
}

/// A named value of a record.
#[message(crate = "rapace_service")]
pub struct LogField {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: LogValue,
}

/// A value of a field.
#[message(crate = "rapace_service")]
pub enum LogValue {
    /// Yes or no.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A number that is not negative.
    Uint(u64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
}

/// Why a record was not written.
#[message(crate = "rapace_service")]
#[derive(Eq, Error)]
pub enum LogError {
    /// The plugin writes more than it may. The record is dropped, and counted.
    #[error("the plugin may write {per_second} lines of the log in a second")]
    TooMany {
        /// Lines that it may write in a second.
        per_second: u32,
    },
}

impl LogRecord {
    /// A record without fields.
    pub fn new(level: LogLevel, target: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level, target: target.into(), message: message.into(), fields: Vec::new() }
    }

    /// The same with one more field.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<LogValue>) -> Self {
        self.fields.push(LogField { name: name.into(), value: value.into() });
        self
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        })
    }
}

impl fmt::Display for LogValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl From<bool> for LogValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for LogValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for LogValue {
    fn from(value: u64) -> Self {
        Self::Uint(value)
    }
}

impl From<f64> for LogValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for LogValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for LogValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
