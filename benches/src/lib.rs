//! What the benchmarks between two processes share: the other process, and the physical limits that calls are compared
//! with.

pub mod ends;
pub mod kind;
pub mod neighbour;
pub mod typed;

use std::hint::black_box;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rapace_core::Geometry;
use rapace_core::layout::GeometryConfig;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{HalfFds, Prefault, Segment};
use rapace_core::socket::Socket;
use rapace_session::{Config, Handshake, IncomingCall, NoService, PeerA, PeerB, Process, Session, WaitStrategy};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{RecvFlags, SendFlags};

/// Whatever may go wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Names the role of a process of the benchmark.
const ROLE: &str = "RAPACE_BENCH_ROLE";

/// The word behind the header page that the cache-line benchmark bounces.
const BOUNCED: usize = 4096;
/// Ends it.
const STOP: u64 = u64::MAX;

/// Plays the peer, if this process was started as one. To be called first in `main`.
///
/// # Errors
///
/// Whatever goes wrong in the role.
pub fn play_role() -> Result<bool, Error> {
    let Ok(role) = std::env::var(ROLE) else { return Ok(false) };
    let socket = Socket::from_stdin()?;
    match role.as_str() {
        "cache-line" => bounce(&accept_segment(&socket)?),
        "eventfd" => bounce_eventfd(&socket)?,
        neighbour::ROLE => neighbour::keep_busy(|| socket.drain(1).is_ok_and(|drained| drained.ended)),
        "socket" => while bounce_socket(&socket).is_ok() {},
        other => match other.strip_prefix(TYPED_ROLE) {
            Some(wait) => typed::serve(socket, config(strategy(wait)?))?,
            None => serve(socket, strategy(other)?)?,
        },
    }
    Ok(true)
}

/// Before the strategy, in the role of a process with typed services.
const TYPED_ROLE: &str = "typed-";

fn strategy(name: &str) -> Result<WaitStrategy, Error> {
    Ok(match name {
        "spin" => WaitStrategy::Spin,
        "park" => WaitStrategy::Park,
        "adaptive" => WaitStrategy::Adaptive,
        other => return Err(format!("no such role: {other}").into()),
    })
}

fn config(wait: WaitStrategy) -> Config {
    Config { wait, prefault: Prefault::Now, ..Config::new("bench", env!("CARGO_PKG_VERSION")) }
}

fn serve(socket: Socket, wait: WaitStrategy) -> Result<(), Error> {
    let session =
        Handshake::<PeerB>::accept(socket, config(wait))?.finish(|call: IncomingCall| match call.method() {
            TYPED => match postcard::from_bytes::<u64>(call.body()) {
                Ok(number) => {
                    let mut buffer = [0; 10];
                    match postcard::to_slice(&number.wrapping_add(1), &mut buffer) {
                        Ok(reply) => call.reply(reply),
                        Err(_) => call.unimplemented(),
                    }
                }
                Err(_) => call.unimplemented(),
            },
            _ => {
                let mut call = call;
                let body = call.take_body();
                call.reply(&body);
            }
        })?;
    session.serve();
    Ok(())
}

/// Answers with the same bytes.
pub const ECHO: u32 = 1;
/// Takes a postcard-encoded number and answers with the next.
pub const TYPED: u32 = 2;

fn spawn(role: &str) -> Result<(Socket, Process), Error> {
    let (here, there) = Socket::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).stdin(Stdio::from(there.into_fd()));
    let child = command.spawn()?;
    Ok((here, Process::new(child)?))
}

/// A session with an echoing process; both sides wait in this way.
///
/// # Errors
///
/// When there is no process or no session.
pub fn session(role: &str) -> Result<Session<PeerA>, Error> {
    session_with(role, config(strategy(role)?))
}

/// The same with anything else in this side's configuration. The other side waits as its role says.
///
/// # Errors
///
/// When there is no process or no session.
pub fn session_with(role: &str, config: Config) -> Result<Session<PeerA>, Error> {
    let (socket, process) = spawn(role)?;
    Ok(Handshake::<PeerA>::offer(socket, Some(process), config)?.finish(NoService)?)
}

/// A session with a process that serves [`typed::Typed`]; both sides wait in this way.
///
/// # Errors
///
/// When there is no process or no session.
pub fn typed_session(wait: &str) -> Result<Session<PeerA>, Error> {
    typed_session_with(wait, config(strategy(wait)?))
}

/// The same with anything else in this side's configuration. The other side waits as it is said.
///
/// # Errors
///
/// When there is no process or no session.
pub fn typed_session_with(wait: &str, config: Config) -> Result<Session<PeerA>, Error> {
    session_with(&format!("{TYPED_ROLE}{wait}"), config)
}

/// One cache line that two processes bounce: the physical limit of any call.
#[derive(Debug)]
pub struct CacheLine {
    segment: Segment,
    count: u64,
    _process: Process,
}

impl CacheLine {
    /// Starts the other process.
    ///
    /// # Errors
    ///
    /// When there is no process or no memory.
    pub fn new() -> Result<Self, Error> {
        let (socket, process) = spawn("cache-line")?;
        let geometry = Geometry::new(GeometryConfig::default())?;
        let (segment, fds) = Segment::create(geometry, 1, Prefault::Now)?;
        socket.send_offer(&Offer::new(Backing::Sealed, 1, geometry), Some(&fds))?;
        Ok(Self { segment, count: 0, _process: process })
    }

    /// The time of so many round trips.
    pub fn round_trips(&mut self, count: u64) -> Duration {
        let (own, peer) = (self.segment.own.words(BOUNCED, 1), self.segment.peer.words(BOUNCED, 1));
        let start = Instant::now();
        for _ in 0..count {
            self.count += 1;
            own[0].store(self.count, Ordering::Release);
            while peer.load(0) != self.count {
                std::hint::spin_loop();
            }
        }
        start.elapsed()
    }
}

impl Drop for CacheLine {
    fn drop(&mut self) {
        self.segment.own.words(BOUNCED, 1)[0].store(STOP, Ordering::Release);
    }
}

fn accept_segment(socket: &Socket) -> Result<Segment, Error> {
    let (offer, fds) = socket.recv_offer(Instant::now() + Duration::from_secs(10))?;
    Ok(Segment::accept(&offer, fds.ok_or("no descriptors")?)?)
}

fn bounce(segment: &Segment) {
    let (own, peer) = (segment.own.words(BOUNCED, 1), segment.peer.words(BOUNCED, 1));
    let mut last = 0;
    while last != STOP {
        let value = peer.load(0);
        if value != last {
            last = value;
            own[0].store(value, Ordering::Release);
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Two eventfds that wake a process each: a wake-up through the kernel, there and back.
#[derive(Debug)]
pub struct EventFds {
    fds: HalfFds,
    _process: Process,
}

impl EventFds {
    /// Starts the other process.
    ///
    /// # Errors
    ///
    /// When there is no process or no descriptor.
    pub fn new() -> Result<Self, Error> {
        let (socket, process) = spawn("eventfd")?;
        let fds = HalfFds { a: eventfd(0, EventfdFlags::CLOEXEC)?, b: eventfd(0, EventfdFlags::CLOEXEC)? };
        let offer = Offer::new(Backing::Sealed, 1, Geometry::new(GeometryConfig::default())?);
        socket.send_offer(&offer, Some(&fds))?;
        Ok(Self { fds, _process: process })
    }

    /// The time of so many round trips.
    ///
    /// # Errors
    ///
    /// When a descriptor fails.
    pub fn round_trips(&mut self, count: u64) -> Result<Duration, Error> {
        let start = Instant::now();
        for _ in 0..count {
            signal(&self.fds.a)?;
            await_signal(&self.fds.b)?;
        }
        Ok(start.elapsed())
    }
}

fn signal(fd: &OwnedFd) -> Result<(), Error> {
    rustix::io::write(fd, &1u64.to_ne_bytes())?;
    Ok(())
}

fn await_signal(fd: &OwnedFd) -> Result<(), Error> {
    rustix::io::read(fd, &mut [0u8; 8])?;
    Ok(())
}

fn bounce_eventfd(socket: &Socket) -> Result<(), Error> {
    let (_, fds) = socket.recv_offer(Instant::now() + Duration::from_secs(10))?;
    let fds = fds.ok_or("no descriptors")?;
    // It ends when it is killed: the other process drops it.
    loop {
        await_signal(&fds.a)?;
        signal(&fds.b)?;
    }
}

/// A Unix socket: a message of 8 bytes, there and back, both sides blocking.
#[derive(Debug)]
pub struct UnixSocket {
    socket: Socket,
    _process: Process,
}

impl UnixSocket {
    /// Starts the other process.
    ///
    /// # Errors
    ///
    /// When there is no process.
    pub fn new() -> Result<Self, Error> {
        let (socket, process) = spawn("socket")?;
        Ok(Self { socket, _process: process })
    }

    /// The time of so many round trips.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn round_trips(&mut self, count: u64) -> Result<Duration, Error> {
        let start = Instant::now();
        for number in 0..count {
            rustix::net::send(self.socket.as_fd(), &number.to_le_bytes(), SendFlags::empty())?;
            black_box(rustix::net::recv(self.socket.as_fd(), &mut [0u8; 8][..], RecvFlags::empty())?);
        }
        Ok(start.elapsed())
    }
}

fn bounce_socket(socket: &Socket) -> Result<(), Error> {
    let mut buffer = [0u8; 8];
    let (bytes, _) = rustix::net::recv(socket.as_fd(), &mut buffer[..], RecvFlags::empty())?;
    if bytes == 0 {
        return Err("the end".into());
    }
    rustix::net::send(socket.as_fd(), &buffer, SendFlags::empty())?;
    Ok(())
}
