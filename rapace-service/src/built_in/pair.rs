//! A session within this process: what calls a built-in plugin by bytes finds it like any other.

use std::io;
use std::thread;

use rapace_core::socket::Socket;
use rapace_session::{Config, Handler, Handshake, HandshakeError, PeerA, PeerB, Role, Session, Status};

/// Both ends, each attended to by a thread of its own, which sleeps while nothing happens.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) host: Session<PeerA>,
    pub(super) plugin: Session<PeerB>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("the handshake of the plugin's side panicked")]
    Panicked,
}

impl Pair {
    pub(super) fn open(
        ours: Config,
        host: impl Handler,
        theirs: Config,
        plugin: impl Handler,
    ) -> Result<Self, PairError> {
        let (a, b) = Socket::pair()?;
        let name = theirs.name.clone();
        // Each side waits for the other.
        let accepting = named(&name)
            .spawn(move || Handshake::<PeerB>::accept(b, theirs).and_then(|handshake| handshake.finish(plugin)))?;
        let offered = Handshake::<PeerA>::offer(a, None, ours).and_then(|handshake| handshake.finish(host));
        let accepted = accepting.join().map_err(|_| PairError::Panicked)?;
        let pair = Self { host: offered?, plugin: accepted? };
        attend(&pair.host, &name)?;
        attend(&pair.plugin, &name)?;
        Ok(pair)
    }

    /// Ends both; their threads end with them.
    pub(super) fn close(&self, reason: &Status) {
        self.host.close(reason);
        self.plugin.close(reason);
    }
}

fn attend<R: Role>(session: &Session<R>, name: &str) -> io::Result<()> {
    let session = session.clone();
    named(name).spawn(move || drop(session.serve())).map(drop)
}

/// A thread with the plugin's name, as far as that is one.
fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.replace('\0', "?"))
}
