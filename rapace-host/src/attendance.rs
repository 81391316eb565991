//! Somebody attends to every plugin: one thread for all of them, asleep while none of them has anything to say.
//!
//! Whoever waits for a reply drains that plugin's ring itself; the thread serves the calls and the streams of plugins
//! that nobody waits for, and notices their ends.

use std::io;

use rapace_session::tokio::AsyncSession;
use rapace_session::{PeerA, Session};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

/// The name of the thread.
const THREAD_NAME: &str = "rapace-attend";

/// The thread, which ends when this is dropped; sessions that it attends to are closed then.
pub(crate) struct Attendance(Option<Runtime>);

impl Attendance {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        Ok(Self(Some(builder.worker_threads(1).thread_name(THREAD_NAME).enable_io().enable_time().build()?)))
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

impl Drop for Attendance {
    fn drop(&mut self) {
        // The last handle of a plugin may be dropped by the thread itself, which then cannot wait for its own end.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
