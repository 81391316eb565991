//! Memory that client and server share, and nothing else: rapace's segment, of which nothing is used but its bytes.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rapace_core::Geometry;
use rapace_core::layout::GeometryConfig;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{HalfFds, Prefault, Segment};
use rapace_core::socket::Socket;

use super::NAME;
use crate::Error;
use crate::server::{Server, command};

/// Where the word of each side is, and its payload.
const WORD: usize = 4096;
const PAYLOAD: usize = 8192;

/// How long a server waits for its memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// The memory, as one side sees it: it writes its own half and reads the other's.
#[derive(Debug)]
pub(super) struct Shared(Segment);

impl Shared {
    /// Makes it, and starts a server that has it.
    pub(super) fn start(mode: &str, place: &Path) -> Result<(Self, Server), Error> {
        let geometry = Geometry::new(GeometryConfig::default())?;
        let (segment, fds) = Segment::create(geometry, 1, Prefault::Now)?;
        Ok((Self(segment), start_with(mode, place, &fds)?))
    }

    /// The server's view.
    pub(super) fn inherited() -> Result<Self, Error> {
        let (offer, fds) = inherited()?;
        Ok(Self(Segment::accept(&offer, fds)?))
    }

    /// Publishes a word, and what was written before it.
    #[inline]
    pub(super) fn publish(&self, word: u64) {
        self.0.own.words(WORD, 1)[0].store(word, Ordering::Release);
    }

    /// The other side's word, and what it wrote before it.
    #[inline]
    pub(super) fn published(&self) -> u64 {
        let word = self.0.peer.words(WORD, 1).load(0);
        // Pairs with the store in `publish`.
        fence(Ordering::Acquire);
        word
    }

    /// Writes this side's payload.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.0.own.write(PAYLOAD, bytes);
    }

    /// Reads the other side's payload.
    pub(super) fn read(&self, bytes: usize, into: &mut Vec<u8>) {
        into.clear();
        self.0.peer.copy_out(PAYLOAD, bytes, into);
    }
}

/// Starts a server that has these two descriptors.
pub(super) fn start_with(mode: &str, place: &Path, fds: &HalfFds) -> Result<Server, Error> {
    let (here, there) = Socket::pair()?;
    let offer = Offer::new(Backing::Sealed, 1, Geometry::new(GeometryConfig::default())?);
    here.send_offer(&offer, Some(fds))?;
    Server::start_with(command(NAME, mode, place)?.stdin(Stdio::from(there.into_fd())))
}

/// What a server was started with.
pub(super) fn inherited() -> Result<(Offer, HalfFds), Error> {
    let (offer, fds) = Socket::from_stdin()?.recv_offer(Instant::now() + PATIENCE)?;
    Ok((offer, fds.ok_or("no descriptors")?))
}
