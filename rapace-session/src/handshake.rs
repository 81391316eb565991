//! The handshake: the offer, then a hello each way (SPEC sections 3 and 10).
//!
//! Order is a matter of safety here, so it is in the types: there is no [`Session`] but through [`Handshake::finish`], and
//! a session has no way back.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
#[cfg(feature = "tokio")]
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rapace_core::crash::{Point, crash_point};
use rapace_core::descriptor::{Flags, Frame, FrameHeader, Kind, Verb};
use rapace_core::link::{Link, Pulse, SocketNews};
use rapace_core::offer::{Backing, Offer, OfferError};
use rapace_core::segment::{HalfFds, Segment, SegmentError};
use rapace_core::sleep::Interest;
use rapace_core::slots::Class;
use rapace_core::socket::{Refusal, Socket, SocketError};
use rapace_core::{Geometry, GeometryError, PeerFault};
use thiserror::Error;
use tracing::debug;

use crate::config::{Config, SegmentBacking};
use crate::fault::Fault;
use crate::handler::Handler;
use crate::hello::{HELLO_BYTES_MAX, Hello, PeerInfo, RefusalReason};
use crate::limits::LimitError;
use crate::outbox::{Outbox, Ticket};
use crate::process::{Process, describe_exit};
use crate::role::{PeerA, PeerB, Role};
use crate::session::Session;
use crate::status::{Code, Status};

/// Why there is no session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The caller's fault: a figure of the memory.
    #[error("configuration: {0}")]
    Geometry(#[from] GeometryError),
    /// The caller's fault: a limit.
    #[error("configuration: {0}")]
    Limit(#[from] LimitError),
    /// The caller's fault: its own hello cannot be sent.
    #[error("configuration: {0}")]
    OwnHello(Status),
    /// The memory could not be made, or is not what the offer says.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The socket failed, or brought no offer that can be taken.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The peer does not take our offer or hello, and says why.
    #[error("the peer refuses the session: {0}")]
    RefusedByPeer(Status),
    /// We do not take the peer's hello.
    #[error("the peer's hello is refused: {0}")]
    Refused(Status),
    /// The peer is gone; its process, if it is known, ended like this.
    #[error("the peer is gone before the handshake is complete{}", exit_in_words(.0))]
    PeerGone(Option<ExitStatus>),
    /// The peer is there, but does not go on.
    #[error("no {due} from the peer within {waited:?}")]
    TimedOut {
        /// What was due.
        due: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The peer broke a rule.
    #[error("the peer broke a rule of the protocol: {0}")]
    Fault(#[from] Fault),
    /// The operating system failed.
    #[error("cannot wait for the peer: {0}")]
    Os(#[from] io::Error),
}

fn exit_in_words(exit: &Option<ExitStatus>) -> String {
    exit.map_or_else(String::new, |exit| format!(": its process {}", describe_exit(exit)))
}

impl From<PeerFault> for HandshakeError {
    fn from(fault: PeerFault) -> Self {
        Self::Fault(fault.into())
    }
}

/// A session to be: the memory is there, the hellos are not yet exchanged.
#[derive(Debug)]
#[must_use = "the peer waits for the hello"]
pub struct Handshake<R: Role> {
    link: Link,
    process: Option<Process>,
    config: Config,
    hello: Vec<u8>,
    start: Instant,
    /// What B opens the memory by: kept until it has.
    _memory: Option<Memory>,
    role: PhantomData<R>,
}

/// What B opens the memory by.
#[derive(Debug)]
enum Memory {
    Fds(HalfFds),
    #[cfg(feature = "named-segment")]
    Named {
        /// The object goes with its name, and without it if B has not opened it.
        _name: rapace_core::named::SegmentName,
    },
}

impl Memory {
    fn fds(&self) -> Option<&HalfFds> {
        match self {
            Self::Fds(fds) => Some(fds),
            #[cfg(feature = "named-segment")]
            Self::Named { .. } => None,
        }
    }
}

fn create_segment(config: &Config, geometry: Geometry, nonce: u64) -> Result<(Segment, Offer, Memory), SegmentError> {
    let offer = |backing| Offer::new(backing, nonce, geometry);
    match config.backing {
        SegmentBacking::Sealed => {
            let (segment, fds) = Segment::create(geometry, nonce, config.prefault)?;
            Ok((segment, offer(Backing::Sealed), Memory::Fds(fds)))
        }
        #[cfg(feature = "named-segment")]
        SegmentBacking::NamedForTrustedPeers => {
            let (segment, name) = Segment::create_named(geometry, nonce, config.prefault)?;
            Ok((segment, offer(Backing::Named(name.as_str().to_owned())), Memory::Named { _name: name }))
        }
    }
}

/// Opens a named segment, if this side has chosen to take one.
fn open_named(config: &Config, offer: &Offer) -> Result<Result<Segment, SegmentError>, Status> {
    #[cfg(feature = "named-segment")]
    if let (SegmentBacking::NamedForTrustedPeers, Backing::Named(name)) = (config.backing, &offer.backing) {
        return Ok(Segment::open_named(offer, name));
    }
    let message = format!("O5: the offer is {:?}, but {:?} is taken here", offer.backing, config.backing);
    Err(Status::new(Code::PermissionDenied, message))
}

impl Handshake<PeerA> {
    /// Makes the memory and offers it over the socket, to a process of ours or to a peer that has connected.
    ///
    /// # Errors
    ///
    /// A configuration out of bounds (before anything is made), and whatever the operating system refuses.
    pub fn offer(socket: Socket, process: Option<Process>, config: Config) -> Result<Self, HandshakeError> {
        let geometry = Geometry::new(config.geometry)?;
        let hello = own_hello::<PeerA>(&config)?;
        let socket = socket.for_host()?;
        let nonce = fresh_nonce();
        let (segment, offer, memory) = create_segment(&config, geometry, nonce)?;
        let start = Instant::now();
        let sent = socket.send_offer(&offer, memory.fds());
        let link = Link::new(segment, socket);
        let mut this = Self { link, process, config, hello, start, _memory: Some(memory), role: PhantomData };
        match sent {
            Ok(()) => Ok(this),
            Err(SocketError::PeerGone) => Err(this.peer_gone()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Handshake<PeerB> {
    /// Waits for the host's offer and maps its memory.
    ///
    /// The host is told if the offer cannot be taken.
    ///
    /// # Errors
    ///
    /// No offer within the start timeout, or one that breaks a rule or names another version.
    pub fn accept(socket: Socket, config: Config) -> Result<Self, HandshakeError> {
        let hello = own_hello::<PeerB>(&config)?;
        let start = Instant::now();
        // A time beyond what the clock can say is as good as a year.
        let deadline = start.checked_add(config.timeouts.start).unwrap_or(start + Duration::from_secs(365 * 24 * 3600));
        let refuse = |socket: &Socket, code: Code, error: &dyn std::error::Error| {
            // The host learns of it by the end of the socket if this does not reach it.
            let _ = socket.send_refusal(code.raw(), &error.to_string());
        };
        let (offer, fds) = socket.recv_offer(deadline).inspect_err(|error| match error {
            SocketError::Offer(OfferError::Version { .. }) => refuse(&socket, Code::FailedPrecondition, error),
            SocketError::PeerGone | SocketError::DeadlinePassed => {}
            _ => refuse(&socket, Code::InvalidArgument, error),
        })?;
        let segment = match fds {
            Some(fds) => Segment::accept(&offer, fds),
            None => open_named(&config, &offer)
                .inspect_err(|status| refuse(&socket, status.code, status))
                .map_err(HandshakeError::Refused)?,
        };
        let segment = segment.inspect_err(|error| refuse(&socket, Code::InvalidArgument, error))?;
        let link = Link::new(segment, socket);
        Ok(Self { link, process: None, config, hello, start, _memory: None, role: PhantomData })
    }
}

impl<R: Role> Handshake<R> {
    /// Exchanges the hellos. `handler` serves the peer's calls from then on.
    ///
    /// # Errors
    ///
    /// A refusal by either side, with the reason; the peer's death or silence; a broken rule.
    pub fn finish(mut self, handler: impl Handler) -> Result<Session<R>, HandshakeError> {
        let mut greeting = self.greet(&handler)?;
        loop {
            if let Some(peer) = self.step(&mut greeting)? {
                return self.open(peer, handler);
            }
            let left = self.left(&greeting)?;
            if !self.fall_asleep()? {
                let ready =
                    self.link.socket().wait(self.process.as_ref().map(|process| process.as_fd()), Some(left))?;
                greeting.ended = ready.hangup || ready.process;
            }
            greeting.ended |= self.wake_up()?.ended;
        }
    }

    /// Has its own hello ready to be sent.
    pub(crate) fn greet(&mut self, handler: &impl Handler) -> Result<Greeting, HandshakeError> {
        if self.config.registry.services().is_empty() {
            self.config.registry = handler.registry().map_err(HandshakeError::OwnHello)?;
            self.hello = own_hello::<R>(&self.config)?;
        }
        let mut greeting = Greeting::default();
        greeting.outbox.push(
            Ticket::Control,
            Class::Control,
            FrameHeader::control(Verb::Hello),
            std::mem::take(&mut self.hello),
        );
        self.link.set_pulse(Pulse::Active);
        Ok(greeting)
    }

    /// Takes what has come and sends what there is room for; gives the peer once both sides have agreed.
    pub(crate) fn step(&mut self, greeting: &mut Greeting) -> Result<Option<PeerInfo>, HandshakeError> {
        greeting.outbox.flush(&mut self.link, |_| {})?;
        crash_point(if greeting.outbox.is_empty() { Point::HelloSent } else { Point::HelloHalfSent });
        // Once nothing is due, a frame that comes before our answer has gone out is one out of order.
        while greeting.due().is_some() || !greeting.outbox.is_empty() {
            let Some(frame) = self.link.receive()? else { break };
            self.link.beat();
            if let Err(error) = greeting.handle(frame, &mut self.link, &self.config, R::SIDE) {
                self.link.flush();
                return Err(error);
            }
        }
        greeting.outbox.flush(&mut self.link, |_| {})?;
        crash_point(if greeting.outbox.is_empty() { Point::HelloSent } else { Point::HelloHalfSent });
        if greeting.heard && greeting.outbox.is_empty() {
            crash_point(Point::AcceptSent);
        }
        self.link.flush();
        if greeting.due().is_none()
            && greeting.outbox.is_empty()
            && let Some(peer) = greeting.peer.take()
        {
            return Ok(Some(peer));
        }
        if greeting.ended { Err(self.peer_gone()) } else { Ok(None) }
    }

    /// Both sides have agreed.
    pub(crate) fn open(self, peer: PeerInfo, handler: impl Handler) -> Result<Session<R>, HandshakeError> {
        crash_point(Point::SessionOpen);
        debug!(peer = %peer.name, version = %peer.version, side = %R::SIDE, "session open");
        Ok(Session::new(self.link, self.process, self.config, peer, Box::new(handler))?)
    }

    /// How long the peer still has.
    pub(crate) fn left(&self, greeting: &Greeting) -> Result<Duration, HandshakeError> {
        let waited = self.config.timeouts.start;
        let left = waited.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return Err(HandshakeError::TimedOut { due: greeting.due().unwrap_or("room for the hello"), waited });
        }
        Ok(left)
    }

    /// Announces a sleep; says whether something has come already, so that there is none.
    pub(crate) fn fall_asleep(&mut self) -> Result<bool, HandshakeError> {
        self.link.arm(Interest::FramesAndRoom);
        Ok(self.link.has_news(Interest::FramesAndRoom)?)
    }

    /// Reads the socket behind a sleep.
    pub(crate) fn wake_up(&mut self) -> Result<SocketNews, HandshakeError> {
        self.link.disarm();
        let news = self.link.read_socket()?;
        match news.refusal {
            Some(refusal) => Err(HandshakeError::RefusedByPeer(refused_offer(refusal))),
            None => Ok(news),
        }
    }

    /// What the socket and the process are watched by.
    #[cfg(feature = "tokio")]
    pub(crate) fn fds(&self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        let process = self.process.as_ref().map(|process| process.as_fd().try_clone_to_owned()).transpose()?;
        Ok((self.link.socket().as_fd().try_clone_to_owned()?, process))
    }

    fn peer_gone(&mut self) -> HandshakeError {
        // A refusal that was sent in time says more than an exit code.
        if let Ok(news) = self.link.read_socket()
            && let Some(refusal) = news.refusal
        {
            return HandshakeError::RefusedByPeer(refused_offer(refusal));
        }
        HandshakeError::PeerGone(self.process.as_mut().and_then(|process| process.wait(EXIT_PATIENCE)))
    }
}

/// The status of an offer that was refused: with this code, for its version (SPEC O4).
fn refused_offer(refusal: Refusal) -> Status {
    match Code::from_raw(refusal.code) {
        Code::FailedPrecondition => RefusalReason::Version.status(refusal.text),
        code => Status::new(code, refusal.text),
    }
}

/// How long the exit status of a process may take behind the end of its socket.
pub(crate) const EXIT_PATIENCE: Duration = Duration::from_millis(100);

/// The exchange of hellos, as a state machine.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    outbox: Outbox,
    hello: Vec<u8>,
    peer: Option<PeerInfo>,
    heard: bool,
    accepted: bool,
    /// The peer is gone: what it has sent before counts.
    pub(crate) ended: bool,
}

impl Greeting {
    /// What the peer has yet to send.
    fn due(&self) -> Option<&'static str> {
        match (self.heard, self.accepted) {
            (false, _) => Some("hello"),
            (true, false) => Some("answer to the hello"),
            (true, true) => None,
        }
    }

    fn handle(
        &mut self,
        frame: Frame,
        link: &mut Link,
        config: &Config,
        side: rapace_core::Side,
    ) -> Result<(), HandshakeError> {
        let header = frame.header;
        let out_of_order =
            Fault::Order { kind: header.kind.raw(), method: header.method, expected: self.due().unwrap_or("nothing") };
        let mut body = Vec::new();
        if self.hello.len() + frame.payload.bytes() > HELLO_BYTES_MAX {
            let found = self.hello.len() + frame.payload.bytes();
            link.discard(frame.payload);
            return Err(Fault::HelloSize { found, bound: HELLO_BYTES_MAX }.into());
        }
        link.take_payload(frame.payload, &mut body);
        if header.kind != Kind::Control {
            return Err(out_of_order.into());
        }
        if header.flags.has(Flags::CREDIT) {
            return Err(Fault::ControlFlags { verb: header.method, found: header.flags.raw() }.into());
        }
        let more = header.flags.has(Flags::MORE);
        match header.verb() {
            Some(Verb::Hello) if !self.heard => {
                if more && body.is_empty() {
                    return Err(Fault::EmptyPiece { channel: 0 }.into());
                }
                self.hello.append(&mut body);
                if !more {
                    self.heard = true;
                    crash_point(Point::HelloReceived);
                    self.answer(config, side, link)?;
                }
                Ok(())
            }
            Some(Verb::Accept) if self.heard && !self.accepted => {
                if !body.is_empty() || more {
                    let fault = Fault::ControlBody { verb: header.method, found: body.len(), expected: 0 };
                    return Err(fault.into());
                }
                self.accepted = true;
                Ok(())
            }
            Some(Verb::Refuse) if !more => Err(HandshakeError::RefusedByPeer(Status::decode(&body))),
            _ => Err(out_of_order.into()),
        }
    }

    /// The peer's hello has come: accepts or refuses it.
    fn answer(&mut self, config: &Config, side: rapace_core::Side, link: &mut Link) -> Result<(), HandshakeError> {
        let checked = Hello::decode(&self.hello).and_then(|hello| hello.check(side, &config.registry));
        self.hello = Vec::new();
        match checked {
            Ok(peer) => {
                self.peer = Some(peer);
                self.outbox.push(Ticket::Control, Class::Control, FrameHeader::control(Verb::Accept), Vec::new());
                Ok(())
            }
            Err(status) => {
                let header = FrameHeader::control(Verb::Refuse);
                let body = status.encode_within(link.chunk_bytes(Class::Control));
                self.outbox.push(Ticket::Control, Class::Control, header, body);
                self.outbox.flush(link, |_| {})?;
                Err(HandshakeError::Refused(status))
            }
        }
    }
}

fn own_hello<R: Role>(config: &Config) -> Result<Vec<u8>, HandshakeError> {
    config.limits.check()?;
    let hello = Hello::new(R::SIDE, &config.limits, &config.name, &config.version, &config.registry);
    let bytes = hello.encode().map_err(HandshakeError::OwnHello)?;
    // What we would refuse, we do not send.
    hello.check(R::SIDE.peer(), &config.registry).map_err(HandshakeError::OwnHello)?;
    Ok(bytes)
}

/// Tells the sessions of this process apart: the process id above a counter, never 0.
fn fresh_nonce() -> u64 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // Publishes nothing.
    u64::from(std::process::id()) << 32 | u64::from(NEXT.fetch_add(1, Ordering::Relaxed))
}
