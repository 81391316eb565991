//! The thread that sends records to the host, one after another.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use rapace_host_api::logger::{LogError, LogRecord, LoggerClient};
use rapace_service::Error;
use rapace_session::{CallError, Code};

use super::layer::LogLayer;
use super::queue::{Queue, Taken};
use crate::background::block_on;
use crate::host::HostHandle;

/// The name of the thread.
const THREAD_NAME: &str = "rapace-log";

/// Starts it.
pub(super) fn start(queue: Arc<Queue>, host: HostHandle) -> io::Result<JoinHandle<()>> {
    let send = move || {
        LogLayer::leave_out_this_thread();
        let logger = LoggerClient::new(&host);
        while let Some(taken) = queue.take() {
            let (dropped, record) = match taken {
                Taken::Record(record) => (None, record),
                Taken::Dropped { dropped, record } => (Some(dropped), record),
            };
            match (send(&logger, record), dropped) {
                (Sent::Taken, _) | (Sent::Refused, None) => {}
                (Sent::Lost, None) => queue.lost(),
                (Sent::Refused | Sent::Lost, Some(dropped)) => queue.untold(dropped),
                (Sent::Never(error), _) => {
                    queue.close();
                    if let Some(error) = error {
                        // Nobody may read it.
                        let _ = writeln!(io::stderr(), "the host does not take this program's log: {error}");
                    }
                }
            }
        }
    };
    Builder::new().name(THREAD_NAME.to_owned()).spawn(send)
}

enum Sent {
    Taken,
    /// The host has counted it as one too many.
    Refused,
    Lost,
    /// Nor will it take another.
    Never(Option<CallError>),
}

fn send(logger: &LoggerClient, record: LogRecord) -> Sent {
    match block_on(logger.log(record)) {
        Ok(()) => Sent::Taken,
        Err(Error::Service(LogError::TooMany { .. })) => Sent::Refused,
        Err(Error::Call(CallError::SessionEnded { .. } | CallError::Refused { .. } | CallError::NoSession { .. })) => {
            Sent::Never(None)
        }
        Err(Error::Call(error)) => match error.code() {
            Code::Unimplemented | Code::PermissionDenied | Code::InvalidArgument => Sent::Never(Some(error)),
            _ => Sent::Lost,
        },
    }
}
