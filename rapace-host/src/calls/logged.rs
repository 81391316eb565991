//! Logs calls when they end, in the host's words.

use std::sync::Arc;

use rapace_service::intercept::{CallEnd, Interceptor};

use crate::config::CallLogging;

/// The target of the events.
const TARGET: &str = "rapace::call";

/// One event for each call when it ends: at info level if it went well and that is to be logged, else as a warning.
pub(super) struct Logged {
    plugin: Arc<str>,
    logging: CallLogging,
}

impl Logged {
    pub(super) fn new(plugin: &str, logging: CallLogging) -> Self {
        Self { plugin: plugin.into(), logging }
    }
}

impl Interceptor for Logged {
    fn end(&self, call: &CallEnd<'_>) {
        macro_rules! log {
            ($level:ident, $code:expr, $text:literal) => {
                tracing::$level!(
                    target: TARGET,
                    plugin = %self.plugin,
                    side = %call.side(),
                    method = %call.method().full_name(),
                    code = %$code,
                    elapsed_us = u64::try_from(call.elapsed().as_micros()).unwrap_or(u64::MAX),
                    bytes = call.request_bytes().saturating_add(call.response_bytes()),
                    $text
                )
            };
        }
        match call.code() {
            None if self.logging == CallLogging::All => log!(info, "Ok", "a call has ended"),
            None => {}
            Some(code) => log!(warn, code, "a call has failed"),
        }
    }
}
