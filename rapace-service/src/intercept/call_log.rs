//! Logs calls when they end.

use super::Interceptor;
use super::call::CallEnd;

/// One `tracing` event for each call when it ends, with the target `rapace::call`: at debug level if it went well, as a
/// warning if not.
///
/// Its fields are `side`, `service`, `method`, `peer`, `code` (`Ok` if it went well), `elapsed_us`, and `bytes` of request
/// and response together.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallLog;

/// The target of the events.
const TARGET: &str = "rapace::call";

impl Interceptor for CallLog {
    fn end(&self, call: &CallEnd<'_>) {
        macro_rules! log {
            ($level:ident, $code:expr, $text:literal) => {
                tracing::$level!(
                    target: TARGET,
                    side = %call.side(),
                    service = call.method().service,
                    method = call.method().name,
                    peer = call.peer(),
                    code = %$code,
                    elapsed_us = u64::try_from(call.elapsed().as_micros()).unwrap_or(u64::MAX),
                    bytes = call.request_bytes().saturating_add(call.response_bytes()),
                    $text
                )
            };
        }
        match call.code() {
            None => log!(debug, "Ok", "a call has ended"),
            Some(code) => log!(warn, code, "a call has failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rapace_session::Code;

    use super::super::Interceptors;
    use super::super::tests::{GET, start};
    use super::*;
    use crate::trace::recorder::Recorder;

    #[test]
    fn a_call_is_logged_once_when_it_ends() {
        let recorder = Recorder::new();
        let interceptors = Interceptors::none().with(CallLog);
        recorder.run(|| {
            for code in [None, Some(Code::NotFound)] {
                let mut guard = start(&interceptors, &GET).unwrap();
                guard.add_response_bytes(5);
                guard.end(code);
            }
        });
        let events = recorder.events();
        let [well, failed] = &events[..] else { panic!("{events:?}") };
        assert_eq!((well.level, well.target), (tracing::Level::DEBUG, "rapace::call"));
        assert_eq!((failed.level, failed.target), (tracing::Level::WARN, "rapace::call"));
        for (event, code) in [(well, "Ok"), (failed, "NotFound")] {
            for (field, expected) in [
                ("side", "callee"),
                ("service", "demo.Kv"),
                ("method", "get"),
                ("peer", "peer"),
                ("code", code),
                ("bytes", "15"),
            ] {
                assert_eq!(event.fields[field], expected, "{field}");
            }
            event.fields["elapsed_us"].parse::<u64>().unwrap();
        }
    }
}
