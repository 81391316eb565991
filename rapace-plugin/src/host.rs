//! A handler's way to its host.

use std::sync::{Arc, OnceLock, Weak};

use rapace_session::{AsCaller, CallError, CallOptions, Caller, CallerSlot, PeerB, Reply, Session};

/// The host, for handlers and for threads beside them. Cheap to clone.
///
/// It does not keep the session open: the session holds the handler, so a handler that held the session in turn would
/// keep it for ever.
#[derive(Clone, Debug)]
pub struct HostHandle {
    session: Arc<OnceLock<Weak<Session<PeerB>>>>,
    slot: CallerSlot,
}

impl AsCaller for HostHandle {
    fn as_caller(&self) -> Caller {
        self.slot.caller()
    }
}

impl Default for HostHandle {
    /// Leads nowhere: its calls are refused.
    fn default() -> Self {
        Self { session: Arc::default(), slot: CallerSlot::new("the plugin is not attached to its host") }
    }
}

impl HostHandle {
    pub(crate) fn fill(&self, session: &Arc<Session<PeerB>>) {
        let filled = self.session.set(Arc::downgrade(session));
        debug_assert!(filled.is_ok(), "a handle is filled once");
        self.slot.set(session);
    }

    /// The session, while the plugin is attached.
    pub fn session(&self) -> Option<Arc<Session<PeerB>>> {
        self.session.get()?.upgrade()
    }

    /// Calls the host and waits for its reply.
    ///
    /// # Errors
    ///
    /// As [`Session::call`]; [`CallError::Refused`] when the plugin is not attached any more.
    pub fn call(&self, method: u32, body: &[u8], options: &CallOptions) -> Result<Reply, CallError> {
        self.as_caller().call_blocking(method, body, options)
    }
}
