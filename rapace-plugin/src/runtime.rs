//! The tokio runtime of a plugin that wants one.
//!
//! The threads that serve the session stay what they are: they, and the others of the plugin, are within the runtime while
//! they run the program's code. A handler that is not ready becomes a task of the runtime.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::{Duration, Instant};

use rapace_session::{PeerB, Session};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::serving::MainError;

/// How many threads a runtime has for tasks by default: one goes on while a task keeps the other.
const WORKERS: usize = 2;

/// What makes the runtime, if there is to be one.
#[derive(Default)]
pub(crate) struct Wanted(Option<Make>);

type Make = Box<dyn FnOnce() -> io::Result<Runtime> + Send>;

/// The runtime, until this is dropped.
pub(crate) struct Keeper {
    context: Context,
    kept: Option<Kept>,
}

struct Kept {
    name: String,
    patience: Duration,
    /// Dropped, it ends the runtime.
    end: oneshot::Sender<()>,
    /// Whether it has ended in time.
    ended: Receiver<bool>,
    thread: JoinHandle<()>,
}

/// The way into the runtime. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(Option<Handle>);

impl Context {
    /// While what this gives lives, the thread is within the runtime.
    pub(crate) fn enter(&self) -> impl Sized {
        self.0.as_ref().map(Handle::enter)
    }

    /// Handlers of this session that are not ready are the runtime's.
    pub(crate) fn take_handlers(&self, session: &Session<PeerB>) {
        if let Some(handle) = &self.0 {
            session.run_handlers_on(handle.clone());
        }
    }
}

impl Wanted {
    pub(crate) fn new(make: impl FnOnce() -> io::Result<Runtime> + Send + 'static) -> Self {
        Self(Some(Box::new(make)))
    }

    /// All of tokio's drivers, and few threads.
    pub(crate) fn small() -> Self {
        Self::new(|| Builder::new_multi_thread().worker_threads(WORKERS).thread_name("tokio").enable_all().build())
    }

    /// Makes the runtime on a thread that keeps it. That one drives a runtime which has no threads of its own, and may wait
    /// for its end, as a thread within a runtime must not. What blocks the runtime has `patience` to end.
    pub(crate) fn start(self, name: &str, patience: Duration) -> Result<Keeper, MainError> {
        let Some(make) = self.0 else { return Ok(Keeper { context: Context(None), kept: None }) };
        let (tell_made, made) = sync_channel(1);
        let (tell_ended, ended) = sync_channel(1);
        let (end, to_end) = oneshot::channel();
        let keep = move || {
            let runtime = match make() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell_made.send(Err(error))),
            };
            // Whoever has asked listens.
            let _ = tell_made.send(Ok(runtime.handle().clone()));
            // The end is that its sender is dropped.
            let _ = runtime.block_on(to_end);
            let begun = Instant::now();
            runtime.shutdown_timeout(patience);
            // Nobody listens when it has taken too long to come here.
            let _ = tell_ended.send(begun.elapsed() < patience);
        };
        let failed = |error| MainError::Os { operation: "start the tokio runtime", error };
        let thread = ThreadBuilder::new().name("rapace-tokio".to_owned()).spawn(keep).map_err(failed)?;
        let panicked = || io::Error::other("what makes it panicked");
        let handle = made.recv().unwrap_or_else(|_| Err(panicked())).map_err(failed)?;
        let kept = Kept { name: name.to_owned(), patience, end, ended, thread };
        Ok(Keeper { context: Context(Some(handle)), kept: Some(kept) })
    }
}

impl Keeper {
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// As dropping it does.
    pub(crate) fn end(self) {}
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(Kept { name, patience, end, ended, thread }) = self.kept.take() else { return };
        drop(end);
        // A task may keep the thread itself, if the runtime has no other.
        let outcome = ended.recv_timeout(patience.saturating_mul(2));
        if outcome != Ok(true) {
            let _ = writeln!(io::stderr(), "{name}: what blocks the tokio runtime goes on {patience:?} behind its end");
        }
        if outcome.is_ok() {
            // A panic is its thread's to print.
            let _ = thread.join();
        }
    }
}
