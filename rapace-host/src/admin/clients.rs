//! Who is connected to an admin socket: few at a time, and none of them at the cost of another.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_core::GeometryConfig;
use rapace_core::socket::{PeerCredentials, Socket};
use rapace_host_api::admin::AdminServer;
use rapace_service::Services;
use rapace_session::tokio::{AsyncListener, AsyncSession};
use rapace_session::{Code, Config, Handshake, HandshakeError, Limits, PeerA, Session, Status, Timeouts};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::operator::{Operated, Operator};
use crate::complaint::Complaint;

/// Connections that have yet to shake hands: beyond that, the oldest of them is given up for a new one.
const GREETING_MAX: usize = 32;
/// How long one may take for it.
const GREETING_PATIENCE: Duration = Duration::from_secs(2);
/// Sessions: beyond that, the oldest that does nothing is closed for a new one.
const SESSIONS_MAX: usize = 16;
/// How long the host rests when the system refuses a connection.
const REST: Duration = Duration::from_millis(100);

/// The clients of an admin socket.
pub(super) struct Clients {
    operated: Arc<Operated>,
    present: Mutex<Present>,
    closed: Notify,
}

#[derive(Default)]
struct Present {
    greeting: VecDeque<AbortHandle>,
    sessions: Vec<Session<PeerA>>,
    is_closed: bool,
}

/// Accepts clients until there is nobody to have them.
pub(super) async fn accept(listener: Arc<AsyncListener>, clients: Weak<Clients>) {
    let mut complaint = Complaint::default();
    loop {
        let Some(here) = clients.upgrade() else { return };
        let closed = here.closed.notified();
        if here.present.lock().is_closed {
            return;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closed => return,
        };
        match accepted {
            Ok(socket) => here.admit(socket),
            Err(error) => {
                if let Some(times) = complaint.failed(Instant::now()) {
                    tracing::warn!(%error, times, "no operator can connect at present");
                }
                drop(here);
                sleep(REST).await;
            }
        }
    }
}

impl Clients {
    pub(super) fn new(operated: Operated) -> Self {
        Self { operated: Arc::new(operated), present: Mutex::default(), closed: Notify::new() }
    }

    /// Somebody has connected.
    fn admit(self: &Arc<Self>, socket: Socket) {
        let who = match socket.peer_credentials() {
            Ok(who) if may_operate(who) => who,
            Ok(PeerCredentials { process_id, user_id }) => {
                tracing::warn!(process_id, user_id, "is not the host's user, and is turned away from the admin socket");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "nobody knows who has connected to the admin socket: he is turned away");
                return;
            }
        };
        let mut present = self.present.lock();
        present.greeting.retain(|task| !task.is_finished());
        if present.greeting.len() >= GREETING_MAX
            && let Some(oldest) = present.greeting.pop_front()
        {
            oldest.abort();
        }
        // What goes on when this is dropped is nobody's business.
        let (clients, operated) = (Arc::downgrade(self), Arc::clone(&self.operated));
        let task = tokio::spawn(async move {
            match greet(socket, operated, who).await {
                Ok(session) => {
                    if let Some(clients) = clients.upgrade() {
                        clients.enter(session, who);
                    }
                }
                Err(error) => {
                    let PeerCredentials { process_id, user_id } = who;
                    tracing::info!(process_id, user_id, %error, "no session with an operator");
                }
            }
        });
        present.greeting.push_back(task.abort_handle());
    }

    /// One that has shaken hands.
    fn enter(self: &Arc<Self>, session: Session<PeerA>, who: PeerCredentials) {
        let PeerCredentials { process_id, user_id } = who;
        let attended = match AsyncSession::new(session.clone()) {
            Ok(attended) => attended,
            Err(error) => return tracing::warn!(process_id, user_id, %error, "an operator cannot be attended to"),
        };
        let mut present = self.present.lock();
        present.sessions.retain(|other| other.end().is_none());
        let is_idle = |other: &Session<PeerA>| other.stats().served_in_flight == 0;
        let (refusal, gone) = if present.is_closed {
            (Some(Status::new(Code::Unavailable, "the admin socket is closed")), None)
        } else if present.sessions.len() < SESSIONS_MAX {
            (None, None)
        } else if let Some(idle) = present.sessions.iter().position(is_idle) {
            (None, Some(present.sessions.remove(idle)))
        } else {
            let text = format!("{SESSIONS_MAX} operators are connected, and all of them are busy");
            (Some(Status::new(Code::ResourceExhausted, text)), None)
        };
        if refusal.is_none() {
            present.sessions.push(session.clone());
        }
        drop(present);
        if let Some(gone) = gone {
            gone.close(&Status::new(Code::Unavailable, "others have connected, and this session did nothing"));
        }
        if let Some(refusal) = refusal {
            tracing::warn!(process_id, user_id, %refusal, "an operator is turned away");
            return session.close(&refusal);
        }
        tracing::info!(process_id, user_id, "an operator has connected");
        let clients = Arc::downgrade(self);
        drop(session);
        tokio::spawn(async move {
            attended.ended().await;
            let nonce = attended.session().nonce();
            if let Some(clients) = clients.upgrade() {
                clients.present.lock().sessions.retain(|other| other.nonce() != nonce);
            }
            tracing::info!(process_id, user_id, "an operator has gone");
        });
    }

    /// Nobody is connected from now on.
    pub(super) fn close(&self) {
        let mut present = self.present.lock();
        present.is_closed = true;
        let (greeting, sessions) = (std::mem::take(&mut present.greeting), std::mem::take(&mut present.sessions));
        drop(present);
        self.closed.notify_waiters();
        greeting.iter().for_each(AbortHandle::abort);
        let reason = Status::new(Code::Unavailable, "the admin socket is closed");
        sessions.iter().for_each(|session| session.close(&reason));
    }
}

/// Whether it is this user, or root.
fn may_operate(who: PeerCredentials) -> bool {
    [rustix::process::geteuid().as_raw(), 0].contains(&who.user_id)
}

async fn greet(
    socket: Socket,
    operated: Arc<Operated>,
    who: PeerCredentials,
) -> Result<Session<PeerA>, HandshakeError> {
    let operator = Operator::new(operated, who);
    let services = Services::new().add(AdminServer::new(operator));
    Handshake::<PeerA>::offer(socket, None, config())?.finish_async(services).await
}

/// Of little memory, and strict.
fn config() -> Config {
    Config {
        geometry: GeometryConfig { segment_bytes: 512 << 10, ..GeometryConfig::default() },
        limits: Limits {
            message_bytes_max: 1 << 20,
            metadata_bytes_max: 4 << 10,
            calls_max: 8,
            served_max: None,
            depth_max: 1,
            inbound_bytes_max: 4 << 20,
            stream_window_bytes: 64 << 10,
            outbound_bytes_max: 8 << 20,
        },
        timeouts: Timeouts { start: GREETING_PATIENCE, ..Timeouts::default() },
        ..Config::new("rapace-admin", env!("CARGO_PKG_VERSION"))
    }
}
