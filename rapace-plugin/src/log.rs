//! What the program tells by `tracing`, in the host's log.
//!
//! ```text
//!   tracing::info!(..) --> LogLayer --> Queue --> a thread --> rapace.Logger of the host
//!                          layer.rs    queue.rs   sender.rs
//! ```

mod layer;
mod queue;
mod record;
mod sender;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

use crate::host::HostHandle;
pub use layer::LogLayer;
use queue::Queue;

/// The way of a plugin's records to its host.
#[derive(Default)]
pub(crate) struct HostLog {
    queue: Arc<Queue>,
    /// What sends them, once there is a layer.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl HostLog {
    /// One more layer; with the first begins the thread.
    pub(crate) fn layer(&self, host: &HostHandle) -> io::Result<LogLayer> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            *thread = Some(sender::start(Arc::clone(&self.queue), host.clone())?);
        }
        Ok(LogLayer::new(Arc::clone(&self.queue)))
    }

    /// Waits until all is sent, or the time is over.
    pub(crate) fn flush(&self, deadline: Instant) {
        if self.thread.lock().is_some() {
            self.queue.flush(deadline);
        }
    }

    /// Takes nothing more, and ends the thread. Its calls fail at once, because the session has ended.
    pub(crate) fn close(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            // A panic is the runtime's to print.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for HostLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostLog").finish_non_exhaustive()
    }
}
