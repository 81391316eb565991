//! A segment that is found by its name: one object of shared memory with both halves, A's first (SPEC O5).
//!
//! For systems and sandboxes through which no descriptor passes. The kernel does not keep the halves apart here: whoever
//! may open the object may write to all of it, and may shrink it, which ends the other peer by SIGBUS. So both peers must
//! have chosen to trust each other; to keep each from mistakes of its own, it still maps the other's half read-only.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use shared_memory::ShmemConf;

use crate::layout::{Geometry, PROTOCOL_MINOR};
use crate::memory::{OwnHalf, PeerHalf, Prefault};
use crate::offer::Offer;
use crate::segment::{Segment, SegmentError, file_bytes};
use crate::side::Side;

/// The name of a segment, which goes when this is dropped, or when B has opened it. If both die before, it stays until the
/// system restarts, or somebody removes it.
#[derive(Debug)]
pub struct SegmentName(String);

impl SegmentName {
    /// The name, for the offer.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for SegmentName {
    fn drop(&mut self) {
        // Gone already, when B has opened it.
        let _ = shm_unlink(self.0.as_str());
    }
}

impl Segment {
    /// Makes a fresh named segment, as A, that only the same user can open.
    ///
    /// The name is to be kept until B has opened the segment, which its first frame proves.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    ///
    /// # Panics
    ///
    /// When the nonce is 0.
    pub fn create_named(
        geometry: Geometry,
        nonce: u64,
        prefault: Prefault,
    ) -> Result<(Self, SegmentName), SegmentError> {
        let (fd, name) = create(2 * geometry.half_bytes())?;
        Ok((map(&fd, geometry, nonce, PROTOCOL_MINOR, Side::A, prefault)?, name))
    }

    /// Opens the named segment of an offer, as B, and removes its name.
    ///
    /// # Errors
    ///
    /// When there is no such segment, it has not the size that it must have, or the operating system refuses.
    pub fn open_named(offer: &Offer, name: &str) -> Result<Self, SegmentError> {
        let fd = open(name)?;
        let found = file_bytes(&fd).map_err(refused("measure"))?;
        let expected = 2 * offer.geometry.half_bytes() as u64;
        if found != expected {
            return Err(SegmentError::NamedSize { found, expected });
        }
        let segment = map(&fd, offer.geometry, offer.nonce, offer.minor, Side::B, Prefault::Lazy)?;
        drop(SegmentName(name.to_owned()));
        Ok(segment)
    }
}

fn map(
    fd: &OwnedFd,
    geometry: Geometry,
    nonce: u64,
    minor: u16,
    side: Side,
    prefault: Prefault,
) -> Result<Segment, SegmentError> {
    let bytes = geometry.half_bytes();
    let (own, peer) = match side {
        Side::A => (0, bytes as u64),
        Side::B => (bytes as u64, 0),
    };
    let own = OwnHalf::map(fd.as_fd(), own, bytes, prefault).map_err(refused("map"))?;
    let peer = PeerHalf::map(fd.as_fd(), peer, bytes, prefault).map_err(refused("map"))?;
    Ok(Segment::new(own, peer, geometry, nonce, minor, side))
}

/// Creates an object with a name that nobody else has, for the same user alone.
fn create(bytes: usize) -> Result<(OwnedFd, SegmentName), SegmentError> {
    let mut object =
        ShmemConf::new().size(bytes).create().map_err(|error| refused("create")(io::Error::other(error)))?;
    // This mapping covers both halves and is writable; they are mapped one by one, so that only the name is kept of it.
    object.set_owner(false);
    let name = SegmentName(object.get_os_id().to_owned());
    Ok((open(name.as_str())?, name))
}

fn open(name: &str) -> Result<OwnedFd, SegmentError> {
    shm_open(name, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(refused("open"))
}

fn refused<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> SegmentError {
    move |error| SegmentError::Named { operation, error: error.into() }
}
