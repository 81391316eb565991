//! The admin socket: a Unix socket at which the user of the host, and root, talk to it by the service `rapace.Admin`.
//!
//! Who connects is a peer of the protocol with a session of his own, of little memory and strict limits. No thread belongs to
//! him: the thread that attends to the plugins serves him too, and what blocks runs on those that start and end plugins.

mod call;
mod clients;
mod describe;
mod figures;
mod logs;
mod operator;
mod stored;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use rapace_core::socket::{Listener, SocketError};
use rapace_session::tokio::AsyncListener;
use thiserror::Error;

use crate::host::PluginHost;
use crate::plugin::PluginHandle;
use crate::socket_directory::{SocketDirectoryError, prepare_for};
use clients::Clients;
use operator::Operated;

/// Where a host's operator connects. Dropped, it is no more, and all who have connected are told so.
pub struct AdminPoint {
    path: PathBuf,
    /// The task has it that accepts: with the host, it goes.
    listener: Weak<AsyncListener>,
    clients: Arc<Clients>,
}

/// Why nobody can connect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdminPointError {
    /// The directory of the socket cannot be made, or others could put another socket in the place of this one.
    #[error(transparent)]
    Directory(#[from] SocketDirectoryError),
    /// The socket cannot be made: another host has it, for example.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// It cannot be waited on.
    #[error("cannot wait for connections: {0}")]
    Wait(io::Error),
}

/// Puts a plugin's program, as it is now, in the place of the one that runs; or says why not.
type Reload = dyn Fn(&PluginHost, &PluginHandle) -> Result<(), String> + Send + Sync;

impl PluginHost {
    /// Lets an operator connect at this path, whose directory is made if it is not there: by `rapace_host_api::admin::AdminClient`
    /// over [`Session::connect`](rapace_session::Session::connect). Only processes of this user and of root can, and everything
    /// that they do is logged with their ids. The socket of a host that has died is replaced.
    ///
    /// # Errors
    ///
    /// Another host listens there; the directory is one in which others may replace the socket; or the system refuses.
    pub fn admin_at(&self, path: impl AsRef<Path>) -> Result<AdminPoint, AdminPointError> {
        self.admin_with(
            path.as_ref(),
            Box::new(|host, plugin| {
                let spec = (*plugin.0.spec()).clone();
                host.reload(plugin, spec).map_err(|error| error.to_string())
            }),
        )
    }

    /// The same, with another way to find a plugin's program again.
    pub(crate) fn admin_with(&self, path: &Path, reload: Box<Reload>) -> Result<AdminPoint, AdminPointError> {
        prepare_for(path)?;
        let listener = Listener::bind(path)?;
        let attendance = &self.context.attendance;
        let listener = attendance.within(|| AsyncListener::new(listener)).map_err(AdminPointError::Wait)?;
        let (listener, clients) = (Arc::new(listener), Arc::new(Clients::new(Operated::new(self, reload))));
        let (path, weak) = (path.to_owned(), Arc::downgrade(&listener));
        attendance.spawn(clients::accept(listener, Arc::downgrade(&clients)));
        tracing::info!(path = %path.display(), "an operator can connect");
        Ok(AdminPoint { path, listener: weak, clients })
    }
}

impl AdminPoint {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminPoint {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.upgrade() {
            // The task ends a little later.
            listener.withdraw();
        }
        self.clients.close();
    }
}

impl fmt::Debug for AdminPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdminPoint").field(&self.path()).finish()
    }
}
