//! Somebody attends to every plugin: one thread for all of them, asleep while none of them has anything to say.
//!
//! Whoever waits for a reply drains that plugin's ring itself; the thread serves the calls and the streams of plugins
//! that nobody waits for, and notices their ends.

use std::io;
use std::time::Duration;

use rapace_session::tokio::AsyncSession;
use rapace_session::{PeerA, Session};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The name of the thread.
const THREAD_NAME: &str = "rapace-attend";
/// Threads that start and end plugins on the host's own account: they are there while that takes, however many plugins there
/// are. Each plugin that hangs in that has one until its time is over.
const BLOCKING_THREADS_MAX: usize = 512;

/// The thread, which ends when this is dropped; sessions that it attends to are closed then.
pub(crate) struct Attendance(Option<Runtime>);

impl Attendance {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(BLOCKING_THREADS_MAX);
        Ok(Self(Some(builder.thread_name(THREAD_NAME).enable_io().enable_time().build()?)))
    }

    /// Attends to a session from now on, until it ends.
    pub(crate) fn attend(&self, session: &Session<PeerA>) -> io::Result<()> {
        let _context = self.0.as_ref().map(Runtime::enter);
        // The task that it starts does all that is to be done.
        AsyncSession::new(session.clone()).map(drop)
    }

    /// Tells of a session's end, on a thread that may block. The session is not kept for it.
    pub(crate) fn watch(&self, session: &Session<PeerA>, ended: impl FnOnce() + Send + 'static) {
        let caller = session.caller();
        if let Some(runtime) = &self.0 {
            runtime.spawn(async move {
                if caller.ended().await.is_ok() {
                    // It fails only when the runtime shuts down, and then nobody is to be told.
                    let _ = spawn_blocking(ended).await;
                }
            });
        }
    }
}

impl Attendance {
    /// The runtime, for those that outlast a borrow.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Does something at once that needs the runtime's reactor.
    pub(crate) fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let _context = self.0.as_ref().map(Runtime::enter);
        act()
    }

    /// Does something when a time has passed, on a thread that may block.
    pub(crate) fn after(&self, pause: Duration, act: impl FnOnce() + Send + 'static) {
        self.spawn(async move {
            sleep(pause).await;
            let _ = spawn_blocking(act).await;
        });
    }

    /// Does something soon, on a thread that may block.
    pub(crate) fn soon(&self, act: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = &self.0 {
            drop(runtime.spawn_blocking(act));
        }
    }

    /// Runs a task until it ends, or the host does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            drop(runtime.spawn(task));
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        // The last handle of a plugin may be dropped by the thread itself, which then cannot wait for its own end.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
