//! Two sessions in one process, each served by a thread.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs)]

use std::thread::{self, JoinHandle};

use rapace_core::socket::Socket;
use rapace_session::{Code, Config, Handler, Handshake, PeerA, PeerB, Session, Status};
use tracing::dispatcher::{self, Dispatch};

/// A host that calls, and a plugin that a thread serves.
pub struct Pair {
    pub host: Session<PeerA>,
    pub plugin: Session<PeerB>,
    server: Option<JoinHandle<()>>,
}

pub fn pair(host_handler: impl Handler, plugin_handler: impl Handler) -> Pair {
    let (a, b) = Socket::pair().unwrap();
    let attach = thread::spawn(move || {
        Handshake::<PeerB>::accept(b, Config::new("plugin", "1")).unwrap().finish(plugin_handler).unwrap()
    });
    let host = Handshake::<PeerA>::offer(a, None, Config::new("host", "1")).unwrap().finish(host_handler).unwrap();
    let plugin = attach.join().unwrap();
    let served = plugin.clone();
    // It logs where the thread that asks for it does.
    let dispatch = dispatcher::get_default(Dispatch::clone);
    let server = Some(thread::spawn(move || dispatcher::with_default(&dispatch, || drop(served.serve()))));
    Pair { host, plugin, server }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.host.close(&Status::new(Code::Unavailable, "done"));
        let joined = self.server.take().map(JoinHandle::join);
        assert!(thread::panicking() || joined.is_none_or(|joined| joined.is_ok()));
    }
}
