//! A plugin that was started by hand, under a debugger for example, joins a running host: it takes the place of the
//! plugin whose socket it connects to.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_core::socket::{Listener, Socket, SocketError};
use rapace_session::Status;
use thiserror::Error;

use crate::complaint::Complaint;
use crate::kind::{Connection, NewLife, PluginKind};
use crate::plugin::{PluginHandle, Shared};
use crate::socket_directory::{SocketDirectoryError, prepare_for};
use crate::start::StartCause;

/// The name of the thread.
const THREAD_NAME: &str = "rapace-attach";
/// How long a listener waits before it goes on waiting.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How long it rests when the system refuses.
const REST: Duration = Duration::from_millis(100);

/// A path at which plugins that were started by hand join the host. Dropped, it is no more; who has joined stays.
pub struct JoinPoint {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Why nobody can join.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinPointError {
    /// The directory of the socket cannot be made, or others could put another socket in the place of this one.
    #[error(transparent)]
    Directory(#[from] SocketDirectoryError),
    /// The socket cannot be made: somebody else listens there, for example.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The thread that listens cannot be started.
    #[error("cannot start a thread that listens: {0}")]
    Thread(#[source] io::Error),
}

impl PluginHandle {
    /// Lets a process that somebody else has started take the place of this plugin's: a program of the SDK does so when it
    /// is run with `--attach PATH`. Only processes of this user can. It is a [reload](PluginHandle::reload): calls in flight
    /// end where they are, all others go to the process that has joined. As long as it is there it is neither killed for
    /// making no progress nor stopped for being idle: it may be in a debugger. When it ends, what follows is the plugin's
    /// restart policy's affair, with the plugin's own program. One at a time can join: who comes meanwhile is turned away.
    ///
    /// # Errors
    ///
    /// When nobody can listen at the path, or its directory, which is made if it is not there, is one in which others may replace
    /// the socket.
    pub fn join_at(&self, path: impl Into<PathBuf>) -> Result<JoinPoint, JoinPointError> {
        let path = path.into();
        prepare_for(&path)?;
        let listener = Listener::bind(&path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (plugin, stopped) = (Arc::downgrade(&self.0), Arc::clone(&stop));
        let run = move || accept(&listener, &plugin, &stopped);
        let spawned = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(run);
        let thread = spawned.map_err(JoinPointError::Thread)?;
        Ok(JoinPoint { path, stop, thread: Some(thread) })
    }
}

impl JoinPoint {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for JoinPoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It wakes the thread; without that it would wait for the next plugin.
        if Socket::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for JoinPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinPoint").field(&self.path).finish()
    }
}

fn accept(listener: &Listener, plugin: &Weak<Shared>, stop: &AtomicBool) {
    // Held by whoever is joining.
    let place = Arc::new(());
    let mut complaint = Complaint::default();
    loop {
        let accepted = listener.accept(Instant::now() + ACCEPT_PATIENCE);
        let Some(plugin) = plugin.upgrade().filter(|_| !stop.load(Ordering::SeqCst)) else { return };
        match accepted {
            // One that says nothing would otherwise have a thread of the host's, and so would the next.
            Ok(_) if Arc::strong_count(&place) > 1 => {
                tracing::warn!(plugin = %plugin.name, "somebody is joining already: another one is turned away");
            }
            Ok(socket) => {
                let (handle, place) = (PluginHandle(Arc::clone(&plugin)), Arc::clone(&place));
                plugin.context.attendance.soon(move || {
                    let _place = place;
                    handle.joined(socket);
                });
            }
            Err(SocketError::DeadlinePassed) => {}
            Err(error) => {
                if let Some(times) = complaint.failed(Instant::now()) {
                    tracing::warn!(plugin = %plugin.name, %error, times, "nobody can join at present");
                }
                thread::sleep(REST);
            }
        }
    }
}

impl PluginHandle {
    /// Somebody has connected. The plugin goes on as if he had not, until he has shaken hands.
    fn joined(&self, socket: Socket) {
        let present = self.0.spec();
        let joined = |behind| Joined { socket: Mutex::new(Some(socket)), behind };
        // What goes wrong is logged.
        drop(self.reload_behind(&present, (*present).clone().joined(joined)));
    }
}

/// The process that has joined, and behind it the plugin's own kind.
struct Joined {
    socket: Mutex<Option<Socket>>,
    behind: Arc<dyn PluginKind>,
}

impl PluginKind for Joined {
    fn describe(&self) -> String {
        match *self.socket.lock() {
            Some(_) => "started by hand".to_owned(),
            None => self.behind.describe(),
        }
    }

    fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause> {
        match self.socket.lock().take() {
            Some(socket) => Ok(Connection { is_by_hand: true, ..Connection::new(socket) }),
            None => self.behind.connect(life),
        }
    }

    fn is_confined(&self) -> bool {
        self.socket.lock().is_none() && self.behind.is_confined()
    }

    fn built_in(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.behind.built_in()
    }

    fn withdrawn(&self, reason: &Status) {
        self.behind.withdrawn(reason);
    }
}

/// A plugin that nobody but a person starts.
pub(crate) struct ByHand;

impl PluginKind for ByHand {
    fn describe(&self) -> String {
        "started by hand".to_owned()
    }

    fn connect(&self, _: &NewLife<'_>) -> Result<Connection, StartCause> {
        let error = io::Error::new(io::ErrorKind::NotFound, "it is started by hand");
        Err(StartCause::Os { operation: "start it", error })
    }
}
