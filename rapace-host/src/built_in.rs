//! Plugins that are part of the host's program.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rapace_core::socket::Socket;
use rapace_service::BuiltIn;
use rapace_session::tokio::AsyncSession;
use rapace_session::{AsCaller, HandshakeError, PeerB, Session, Status};

use crate::kind::{Connection, NewLife, PluginKind};
use crate::start::StartCause;

/// The name of the thread that does the plugin's part of the handshake.
const THREAD_NAME: &str = "rapace-built-in";

/// A built-in plugin: typed clients call it directly, all others by a session like any plugin's.
pub(crate) struct BuiltInKind {
    plugin: BuiltIn,
    /// As it is called in its present life.
    life: Mutex<Option<BuiltIn>>,
}

impl BuiltInKind {
    pub(crate) fn new(plugin: BuiltIn) -> Self {
        Self { plugin, life: Mutex::default() }
    }
}

/// Within the runtime that is to attend to it.
fn attended(session: Session<PeerB>) -> Result<AsyncSession<PeerB>, String> {
    AsyncSession::new(session).map_err(|error| error.to_string())
}

impl PluginKind for BuiltInKind {
    fn describe(&self) -> String {
        "built in".to_owned()
    }

    fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause> {
        let (socket, theirs) = Socket::pair().map_err(StartCause::os("make a socket"))?;
        let plugin = match life.host {
            Some(host) => {
                let services = host.services_of(life.scope);
                let of_status = |status| StartCause::Handshake(HandshakeError::OwnHello(status));
                self.plugin.hosted_by(host.config.clone(), services.map_err(of_status)?.0)
            }
            None => self.plugin.clone(),
        };
        let (joins, name) = (plugin.clone(), Arc::<str>::from(life.plugin));
        let runtime = life.host.and_then(|host| host.attendance.handle());
        let join = move || {
            let Some(runtime) = runtime else { return };
            let _context = runtime.enter();
            // The host is told of a failure by the end of the socket.
            match joins.join(theirs).map_err(|error| error.to_string()).and_then(attended) {
                // Who attends to a session does not keep it.
                Ok(session) => drop(runtime.spawn(async move { session.ended().await })),
                Err(error) => tracing::warn!(plugin = %name, %error, "a built-in plugin has no session"),
            }
        };
        let spawned = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(join);
        spawned.map_err(StartCause::os("start a thread"))?;
        *self.life.lock() = Some(plugin);
        Ok(Connection::new(socket))
    }

    fn built_in(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.life.lock().as_ref()?.built_in()
    }

    fn withdrawn(&self, reason: &Status) {
        if let Some(plugin) = self.life.lock().take() {
            plugin.close(reason);
        }
    }
}

impl fmt::Debug for BuiltInKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plugin.fmt(f)
    }
}
