//! A session with whoever listens at a path.

use std::path::Path;

use rapace_core::socket::Socket;

use crate::config::Config;
use crate::handler::Handler;
use crate::handshake::{Handshake, HandshakeError};
use crate::role::PeerB;
use crate::session::Session;

impl Session<PeerB> {
    /// Connects to a [listener](rapace_core::socket::Listener) and shakes hands with it. `handler` serves its calls;
    /// [`NoService`](crate::NoService) serves none.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or the handshake fails.
    pub fn connect(path: impl AsRef<Path>, config: Config, handler: impl Handler) -> Result<Self, HandshakeError> {
        Handshake::<PeerB>::accept(Socket::connect(path)?, config)?.finish(handler)
    }
}
