//! A handler's way to its host.

use std::sync::{Arc, OnceLock, Weak};

use rapace_session::{CallError, CallOptions, Code, PeerB, Reply, Session, Status};

/// The host, for handlers and for threads beside them. Cheap to clone.
///
/// It does not keep the session open: the session holds the handler, so a handler that held the session in turn would
/// keep it for ever.
#[derive(Clone, Debug, Default)]
pub struct HostHandle(Arc<OnceLock<Weak<Session<PeerB>>>>);

impl HostHandle {
    pub(crate) fn fill(&self, session: &Arc<Session<PeerB>>) {
        let filled = self.0.set(Arc::downgrade(session));
        debug_assert!(filled.is_ok(), "a handle is filled once");
    }

    /// The session, while the plugin is attached.
    pub fn session(&self) -> Option<Arc<Session<PeerB>>> {
        self.0.get()?.upgrade()
    }

    /// Calls the host and waits for its reply.
    ///
    /// # Errors
    ///
    /// As [`Session::call`]; [`CallError::Refused`] when the plugin is not attached any more.
    pub fn call(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        match self.session() {
            Some(session) => session.call(method, body, options),
            None => {
                let reason = Status::new(Code::Unavailable, "the plugin is not attached to its host");
                Err(CallError::Refused { reason })
            }
        }
    }
}
