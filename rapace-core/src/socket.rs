//! The one socket of a session: it brings the memory, wakes a sleeper, and its end is death (SPEC section 3).
//!
//! Every call is made with `MSG_DONTWAIT`, and those that send with `MSG_NOSIGNAL`: only [`Socket::wait`] and what
//! takes a deadline ever block. What the peer sends is read in bounded steps into bounded buffers, and no descriptor is
//! kept but those of an offer that is taken.

mod delivery;
mod guard;
mod listener;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair, sockopt};
use rustix::process::{Pid, PidfdFlags};
use thiserror::Error;

use self::guard::{Guard, Next};
pub use self::listener::Listener;
use crate::fault::PeerFault;
use crate::offer::OfferError;

/// The only byte of a bell.
pub const BELL: u8 = 0x01;
/// The first byte of a refusal.
pub const REFUSAL_KIND: u8 = 0x03;
/// The longest text of a refusal, in bytes.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 1024;

/// Bytes of a refusal before its text: the kind and the code.
const REFUSAL_HEAD_BYTES: usize = 5;
const REFUSAL_BYTES_MAX: usize = REFUSAL_HEAD_BYTES + REFUSAL_TEXT_BYTES_MAX;

/// One end of a connected pair of `AF_UNIX` `SOCK_SEQPACKET` sockets.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    guard: Guard,
}

/// Why a socket could not be had, or brought no offer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The caller's fault: the descriptor is something else. On standard input it means that no host started this program.
    #[error("E2: the descriptor is not a socket")]
    NotASocket,
    /// The caller's fault: the socket is of another kind.
    #[error("E2: the socket has domain {domain} and type {kind}, but must have 1 (AF_UNIX) and 5 (SOCK_SEQPACKET)")]
    WrongSocket {
        /// Its address family.
        domain: u16,
        /// Its type.
        kind: u32,
    },
    /// The caller's fault: somebody listens at this path.
    #[error("{} is in use by another listener", .path.display())]
    PathInUse {
        /// The path.
        path: PathBuf,
    },
    /// The caller's fault: what is at this path is not a socket, and is not replaced.
    #[error("{} exists and is not a socket", .path.display())]
    PathNotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The peer has gone.
    #[error("K5: the peer closed the socket")]
    PeerGone,
    /// Nothing came in time.
    #[error("the deadline has passed")]
    DeadlinePassed,
    /// The peer's fault: its first message is not an offer that can be taken.
    #[error("{0}")]
    Offer(OfferError),
    /// The peer's fault: the offer came with too few or too many descriptors.
    #[error("O2: {found} descriptors came with the offer, but there must be {expected}")]
    DescriptorCount {
        /// How many came.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// The peer's fault, or this process can open no more files: not all descriptors came through.
    #[error("O2: only {found} of the descriptors that came with the offer could be taken")]
    DescriptorsTruncated {
        /// How many came through.
        found: usize,
    },
    /// The operating system refused.
    #[error("cannot {operation}: {error}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Why the peer did not take the offer (SPEC K3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub code: u32,
    /// The reason, as the peer gives it: at most 1,024 bytes of any text.
    pub text: String,
}

/// Whose process is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process, as it was when it connected. It may be gone by now, and its id another one's.
    pub process_id: u32,
    /// Its effective user then.
    pub user_id: u32,
}

/// What became of a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ring {
    /// It is on its way.
    Rung,
    /// The socket's buffer is full of earlier ones, so a wake-up is on its way already.
    Full,
    /// There is nobody to ring.
    PeerGone,
}

/// What [`Socket::drain`] read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Bells.
    pub bells: usize,
    /// A refusal; reading stops behind it.
    pub refusal: Option<Refusal>,
    /// The peer is gone.
    pub ended: bool,
    /// Reading stopped at the limit or a refusal, so there may be more.
    pub more: bool,
}

/// What [`Socket::wait`] waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Something can be read from the socket: messages, or its end.
    pub socket: bool,
    /// The other end is closed. Messages from before may still be there.
    pub hangup: bool,
    /// The process has ended.
    pub process: bool,
    /// The alarm can be read.
    pub alarm: bool,
}

impl Socket {
    /// A connected pair, close-on-exec. The first end is the host's: it takes no descriptors.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { guard: Guard::of(&a)?, fd: a }, Self { guard: Guard::Open, fd: b }))
    }

    /// Connects, as B, to a host that listens at `path` (SPEC E4).
    ///
    /// # Errors
    ///
    /// When nobody listens there, or has no room in its queue at present.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, SocketError> {
        listener::connect(path.as_ref()).map(|fd| Self { fd, guard: Guard::Open })
    }

    /// Takes a descriptor that was inherited or received, if it is such a socket: as a plugin's end, unless
    /// [`for_host`](Self::for_host) follows.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, SocketError> {
        let looking = |errno| match errno {
            Errno::NOTSOCK => SocketError::NotASocket,
            errno => os("look at the socket")(errno),
        };
        let domain = sockopt::socket_domain(&fd).map_err(looking)?;
        let kind = sockopt::socket_type(&fd).map_err(looking)?;
        if domain != AddressFamily::UNIX || kind != SocketType::SEQPACKET {
            return Err(SocketError::WrongSocket { domain: domain.as_raw(), kind: kind.as_raw() });
        }
        Ok(Self { fd, guard: Guard::Open })
    }

    /// The same as a host's end: from now on it takes no descriptors. (What was sent before is not held back by the kernel.)
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn for_host(self) -> io::Result<Self> {
        match self {
            Self { fd, guard: Guard::Open } => Ok(Self { guard: Guard::of(&fd)?, fd }),
            guarded => Ok(guarded),
        }
    }

    /// Takes the socket that is standard input, and puts `/dev/null` in its place (SPEC E1 to E3).
    ///
    /// # Errors
    ///
    /// When standard input is something else: nothing has been changed then.
    pub fn from_stdin() -> Result<Self, SocketError> {
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(os("duplicate standard input"))?;
        let socket = Self::from_fd(fd)?;
        let null = std::fs::File::open("/dev/null").map_err(os("open /dev/null"))?;
        nix::unistd::dup2_stdin(null).map_err(os("replace standard input"))?;
        Ok(socket)
    }

    /// Who connected, or made the pair.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        let found = sockopt::socket_peercred(self)?;
        let process_id = found.pid.as_raw_pid().unsigned_abs();
        Ok(PeerCredentials { process_id, user_id: found.uid.as_raw() })
    }

    /// Gives the descriptor up, to be inherited or sent.
    pub fn into_fd(self) -> OwnedFd {
        self.guard.release();
        self.fd
    }

    /// Tells the peer why its offer is not taken. Text beyond 1,024 bytes is cut.
    ///
    /// # Errors
    ///
    /// When the peer has gone, or the operating system refuses.
    pub fn send_refusal(&self, code: u32, text: &str) -> Result<(), SocketError> {
        let mut end = text.len().min(REFUSAL_TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let message = [&[REFUSAL_KIND], &code.to_le_bytes()[..], &text.as_bytes()[..end]].concat();
        self.send(&message).map_err(failed("send the refusal"))
    }

    /// Rings the peer: one datagram, and no waiting.
    ///
    /// # Errors
    ///
    /// When the operating system refuses for a reason that is none of the outcomes.
    pub fn ring(&self) -> io::Result<Ring> {
        match self.send(&[BELL]) {
            Ok(()) => Ok(Ring::Rung),
            Err(Errno::AGAIN) => Ok(Ring::Full),
            Err(errno) if means_gone(errno) => Ok(Ring::PeerGone),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads at most `limit` messages, without waiting. Descriptors that come with them are discarded by the kernel, or not
    /// let through at all.
    ///
    /// # Errors
    ///
    /// The first message that is neither a bell nor a refusal, or that brings a host descriptors which the kernel does not
    /// keep out (SPEC K6).
    pub fn drain(&self, limit: usize) -> Result<Drained, PeerFault> {
        let mut drained = Drained::default();
        // One byte more than the longest, so that a longer one is seen to be too long.
        let mut buffer = [0; REFUSAL_BYTES_MAX + 1];
        for _ in 0..limit {
            match self.guard.next(self.as_fd()) {
                Next::Read => {}
                Next::Leave => return Ok(drained),
                Next::Forbidden => return Err(PeerFault::Descriptors),
            }
            let message = match retry_on_intr(|| recv(self, &mut buffer[..], RecvFlags::DONTWAIT)) {
                Ok((_, bytes)) => &buffer[..bytes],
                Err(Errno::AGAIN) => return Ok(drained),
                // K5: an error is an end.
                Err(_) => return Ok(Drained { ended: true, ..drained }),
            };
            match message {
                [BELL] => drained.bells += 1,
                // The end of the file, or an empty message, looks the same.
                [] if self.has_ended() => return Ok(Drained { ended: true, ..drained }),
                [REFUSAL_KIND, rest @ ..] => {
                    let refusal = Refusal::decode(rest);
                    let fault = PeerFault::Datagram { kind: REFUSAL_KIND, bytes: message.len() };
                    return Ok(Drained { refusal: Some(refusal.ok_or(fault)?), more: true, ..drained });
                }
                other => {
                    let kind = other.first().copied().unwrap_or(0);
                    return Err(PeerFault::Datagram { kind, bytes: other.len() });
                }
            }
        }
        Ok(Drained { more: true, ..drained })
    }

    /// Waits until the socket has something, its other end is closed, `process` (a pidfd) has ended, or `timeout` is
    /// over; `None` is without end. Signals do not end the wait.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn wait(&self, process: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Readiness> {
        self.wait_or_alarm(process, None, timeout)
    }

    /// The same, which ends too when `alarm` (an eventfd) can be read.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn wait_or_alarm(
        &self,
        process: Option<BorrowedFd<'_>>,
        alarm: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Readiness> {
        let start = Instant::now();
        // What is not there is the socket again, of which nothing is asked.
        let beside = |fd: Option<BorrowedFd<'_>>| if fd.is_some() { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(self, PollFlags::IN | PollFlags::RDHUP),
            PollFd::from_borrowed_fd(process.unwrap_or(self.as_fd()), beside(process)),
            PollFd::from_borrowed_fd(alarm.unwrap_or(self.as_fd()), beside(alarm)),
        ];
        let mut left = timeout;
        while let Err(errno) = poll(&mut fds, left.and_then(timespec).as_ref()) {
            if errno != Errno::INTR {
                return Err(errno.into());
            }
            left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        }
        let [socket, beside @ ..] = fds.each_ref().map(PollFd::revents);
        Ok(Readiness {
            socket: !socket.is_empty(),
            hangup: socket.intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR),
            process: process.is_some() && !beside[0].is_empty(),
            alarm: alarm.is_some() && !beside[1].is_empty(),
        })
    }

    /// Ends the connection both ways, whoever else holds this end: the peer sees the end of the socket.
    pub fn shutdown(&self) {
        // It can only fail when the connection has ended already.
        let _ = rustix::net::shutdown(self, rustix::net::Shutdown::Both);
    }

    fn send(&self, message: &[u8]) -> Result<(), Errno> {
        retry_on_intr(|| send(self, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)).map(drop)
    }

    /// Whether the peer will send no more, though messages may still be there.
    fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::RDHUP)];
        retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))).is_err() || !fds[0].revents().is_empty()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Refusal {
    /// Reads what follows the kind, unless it is malformed.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (code, text) = bytes.split_first_chunk()?;
        if text.len() > REFUSAL_TEXT_BYTES_MAX {
            return None;
        }
        Some(Self { code: u32::from_le_bytes(*code), text: std::str::from_utf8(text).ok()?.to_owned() })
    }
}

/// A pidfd: it becomes readable when the process ends. To be opened before the process is waited for, while its id is
/// sure to be its own.
///
/// # Errors
///
/// When there is no such process, or the kernel has no pidfds (`ENOSYS`).
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Repeats `attempt` until it does not have to wait, or the deadline passes.
fn until<T>(
    fd: BorrowedFd<'_>,
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<Result<T, Errno>, SocketError> {
    loop {
        match retry_on_intr(&mut attempt) {
            Err(Errno::AGAIN) => {}
            result => return Ok(result),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SocketError::DeadlinePassed);
        }
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timespec(left).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(os("wait for the socket")(errno)),
        }
    }
}

/// The same time in the kernel's form; one that is too long for it is without end.
fn timespec(time: Duration) -> Option<Timespec> {
    Timespec::try_from(time).ok()
}

fn means_gone(errno: Errno) -> bool {
    matches!(errno, Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNREFUSED)
}

fn failed(operation: &'static str) -> impl FnOnce(Errno) -> SocketError {
    move |errno| if means_gone(errno) { SocketError::PeerGone } else { os(operation)(errno) }
}

fn os<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> SocketError {
    move |error| SocketError::Os { operation, error: error.into() }
}
