//! A plugin takes up its host's session, and serves it.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rapace_core::layout::PROTOCOL_MAJOR;
use rapace_core::socket::{Socket, SocketError};
use rapace_session::{AsCaller, Caller, Code, Config, Handler, Handshake, HandshakeError, PeerB, Session, SessionEnd};
use thiserror::Error;

use crate::hangup::HangUp;
use crate::host::HostHandle;

/// The variable by which a host says which major version of the protocol it speaks (SPEC E1).
pub(crate) const PROTOCOL_VARIABLE: &str = "RAPACE_PROTOCOL";

/// A plugin that is attached to its host. Dropped, it closes the session.
///
/// While it is there, the process ends with its host: if the host is gone without a word, and this is not dropped within
/// half a second, because a handler is busy say, the process is killed. See [`unguarded`](Self::unguarded).
#[derive(Debug)]
pub struct Plugin {
    session: Arc<Session<PeerB>>,
    guard: Option<HangUp>,
}

/// Why a plugin is not attached to a host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// No host started this program.
    #[error("{plugin} is a rapace plugin: a host program starts it; try `{hint}`")]
    StartedByHand {
        /// The plugin's name.
        plugin: String,
        /// How to run it.
        hint: String,
    },
    /// The host speaks another major version.
    #[error("{PROTOCOL_VARIABLE} is {found:?}, but this plugin speaks {PROTOCOL_MAJOR}")]
    Protocol {
        /// The version that the host speaks.
        found: OsString,
    },
    /// There is no host to join.
    #[error("cannot join a host at {}: {error}", .path.display())]
    Join {
        /// Where it was to listen.
        path: PathBuf,
        /// What was met.
        error: SocketError,
    },
    /// The socket from the host cannot be taken.
    #[error("the host's socket cannot be taken: {0}")]
    Socket(SocketError),
    /// The variable of faults holds no plan of them.
    #[cfg(feature = "fault-injection")]
    #[error("{variable}: {0}", variable = rapace_session::fault_injection::FaultPlan::VARIABLE)]
    Faults(#[from] rapace_session::fault_injection::PlanError),
    /// What ends the process behind its host cannot be started.
    #[error("cannot watch over the host: {0}")]
    Guard(std::io::Error),
    /// The host offers a session, but there will be none.
    #[error("no session with the host: {0}")]
    Handshake(#[from] HandshakeError),
}

/// The session ended, and the host did not close it.
#[derive(Clone, Debug, Error)]
#[error("the session with the host ended: {0}")]
pub struct ServeError(pub Arc<SessionEnd>);

impl AsCaller for Plugin {
    /// Calls the host.
    fn as_caller(&self) -> Caller {
        self.session.caller()
    }
}

impl Plugin {
    /// Takes up the session with the host that started this program. `handler` serves the host's calls; it calls the host
    /// back with [`IncomingCall::call_back`](rapace_session::IncomingCall::call_back).
    ///
    /// `hint` is the command that runs a host with this plugin: people who start the plugin by hand are told it.
    /// To be called before anything else reads standard input, which is `/dev/null` from then on.
    ///
    /// # Errors
    ///
    /// See [`AttachError`].
    pub fn attach(config: Config, hint: &str, handler: impl Handler) -> Result<Self, AttachError> {
        Self::attach_with(config, hint, |_| handler)
    }

    /// As [`Plugin::attach`], for a handler that looks at the host, or calls it outside the host's calls: `make` is given
    /// a handle of the host.
    ///
    /// # Errors
    ///
    /// See [`AttachError`].
    pub fn attach_with<H: Handler>(
        config: Config,
        hint: &str,
        make: impl FnOnce(HostHandle) -> H,
    ) -> Result<Self, AttachError> {
        let socket = inherited_socket(&config.name, hint)?;
        let host = HostHandle::default();
        let handler = make(host.clone());
        let (name, watched) = (config.name.clone(), socket.as_fd().try_clone_to_owned().map_err(AttachError::Guard)?);
        let plugin = Self::open(socket, config, &host, handler)?;
        let guard = HangUp::watch(name, watched, host).map_err(AttachError::Guard)?;
        Ok(Self { guard: Some(guard), ..plugin })
    }

    /// Shakes hands over a socket of a host. The handle leads to it then.
    pub(crate) fn open(
        socket: Socket,
        config: Config,
        host: &HostHandle,
        handler: impl Handler,
    ) -> Result<Self, AttachError> {
        #[cfg(feature = "fault-injection")]
        let config = with_faults(config)?;
        let session = Handshake::<PeerB>::accept(socket, config)?.finish(handler)?;
        let session = Arc::new(session);
        // No handler has run yet: calls are served by whoever waits on the session.
        host.fill(&session);
        Ok(Self { session, guard: None })
    }

    /// Leaves it to the program to end when its host is gone, also while its handlers are busy.
    #[must_use]
    pub fn unguarded(mut self) -> Self {
        self.guard = None;
        self
    }

    /// The session with the host.
    pub fn session(&self) -> &Session<PeerB> {
        &self.session
    }

    /// Serves the host's calls on this thread until the host closes the session, as it does behind `shutdown`.
    ///
    /// # Errors
    ///
    /// When the session ends in any other way: the host is gone, or broke a rule.
    pub fn serve(&self) -> Result<(), ServeError> {
        outcome(self.session.serve())
    }
}

/// What the end of a session is to its plugin.
pub(crate) fn outcome(end: Arc<SessionEnd>) -> Result<(), ServeError> {
    match *end {
        SessionEnd::PeerClosed(_) | SessionEnd::Closed => Ok(()),
        _ => Err(ServeError(end)),
    }
}

/// The plan in the environment takes the place of the program's own.
#[cfg(feature = "fault-injection")]
fn with_faults(config: Config) -> Result<Config, AttachError> {
    let found = rapace_session::fault_injection::FaultInjector::from_env()?;
    let found = found.map(rapace_session::FaultInjection::from).unwrap_or_default();
    Ok(Config { fault_injection: found.or(config.fault_injection), ..config })
}

/// Connects to a host that listens at this path (SPEC E4).
pub(crate) fn joined_socket(path: &Path) -> Result<Socket, AttachError> {
    Socket::connect(path).map_err(|error| AttachError::Join { path: path.to_owned(), error })
}

/// The socket that a host of this version left in standard input (SPEC E1, E2).
pub(crate) fn inherited_socket(plugin: &str, hint: &str) -> Result<Socket, AttachError> {
    let by_hand = || AttachError::StartedByHand { plugin: plugin.to_owned(), hint: hint.to_owned() };
    let found = std::env::var_os(PROTOCOL_VARIABLE).ok_or_else(by_hand)?;
    let socket = Socket::from_stdin().map_err(|error| match error {
        SocketError::NotASocket | SocketError::WrongSocket { .. } => by_hand(),
        other => AttachError::Socket(other),
    })?;
    if found != PROTOCOL_MAJOR.to_string().as_str() {
        let error = AttachError::Protocol { found };
        // The host learns of it by the end of the socket if this does not reach it.
        let _ = socket.send_refusal(Code::FailedPrecondition.raw(), &error.to_string());
        return Err(error);
    }
    call_thread(plugin);
    Ok(socket)
}

/// Names this thread, which is the process where it is the first one, after the plugin: a host that has verified a program
/// executes it by a descriptor, and the kernel calls the process after the number of that.
fn call_thread(plugin: &str) {
    if let Ok(name) = CString::new(plugin) {
        // It is for people who list processes, and nothing depends on it.
        let _ = rustix::thread::set_name(&name);
    }
}
