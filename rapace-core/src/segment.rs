//! The memory of a session: two halves, each written by one peer alone, as the kernel keeps it (SPEC O1, O2).
//!
//! ```text
//!                    A's half                                       B's half
//!   sealed           FUTURE_WRITE, SHRINK, GROW, SEAL               SHRINK, GROW, SEAL
//!   mapped by A      read-write, before it was sealed               read-only
//!   mapped by B      read-only: the kernel refuses more             read-write
//! ```
//!
//! Nobody can undo a seal: no half ends before its mappings do, and B cannot write to A's half whatever it does with the
//! descriptor.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use thiserror::Error;

use crate::crash::{Point, crash_point};
use crate::layout::{Geometry, LINE_WORDS, PROTOCOL_MAJOR, PROTOCOL_MINOR, header};
pub use crate::memory::Prefault;
use crate::memory::{OwnHalf, PeerHalf};
use crate::offer::Offer;
use crate::side::Side;
use crate::sync::Ordering;

/// Words of the first line of a half that are in use.
pub const IDENTITY_WORDS: usize = 6;
const _: () = assert!(IDENTITY_WORDS <= LINE_WORDS);

/// The mapped memory of a session, as one side sees it.
#[derive(Debug)]
pub struct Segment {
    /// The half that this side writes.
    pub own: OwnHalf,
    /// The half that the other side writes.
    pub peer: Arc<PeerHalf>,
    /// The layout of both.
    pub geometry: Geometry,
    /// The session's nonce.
    pub nonce: u64,
    /// The minor version of the offer.
    pub minor: u16,
    /// Which side this is.
    pub side: Side,
}

/// The two descriptors that travel with an offer. A host drops them once they are sent: its mappings stay.
#[derive(Debug)]
pub struct HalfFds {
    /// A's half.
    pub a: OwnedFd,
    /// B's half.
    pub b: OwnedFd,
}

/// Why there is no segment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The giver's fault: what cannot be sealed can shrink under a mapping.
    #[error("O2: half {half} is no memfd")]
    NotMemfd {
        /// Which half.
        half: Side,
    },
    /// The giver's fault: a seal is missing.
    #[error("O2: half {half} lacks {}: it has {found}, but must have {expected}", .expected.without(*.found))]
    Seals {
        /// Which half.
        half: Side,
        /// The seals that it has.
        found: Seals,
        /// The seals that it must have.
        expected: Seals,
    },
    /// The giver's fault: the size is not the one of the offer.
    #[error("O2: half {half} has {found} bytes, but the offer says {expected}")]
    Size {
        /// Which half.
        half: Side,
        /// Its size.
        found: u64,
        /// The size that the offer says.
        expected: u64,
    },
    /// The giver's fault: the size of a named segment is not twice that of a half.
    #[error("O5: named segment has {found} bytes, but the offer says {expected}")]
    NamedSize {
        /// Its size.
        found: u64,
        /// The size that the offer says.
        expected: u64,
    },
    /// The operating system refused.
    #[error("cannot {operation} half {half}: {error}")]
    Half {
        /// What was tried.
        operation: &'static str,
        /// On which half.
        half: Side,
        /// Why not.
        error: io::Error,
    },
    /// The operating system refused.
    #[error("cannot {operation} the named segment: {error}")]
    Named {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        error: io::Error,
    },
}

impl Segment {
    /// Makes a fresh segment, as A (SPEC O1), and the descriptors for its offer.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    ///
    /// # Panics
    ///
    /// When the nonce is 0.
    pub fn create(geometry: Geometry, nonce: u64, prefault: Prefault) -> Result<(Self, HalfFds), SegmentError> {
        let bytes = geometry.half_bytes();
        let fds = HalfFds { a: memfd(Side::A, bytes)?, b: memfd(Side::B, bytes)? };
        crash_point(Point::HalvesMade);
        // Before the seals: they spare the mappings that exist, and forbid others.
        let own = OwnHalf::map(fds.a.as_fd(), 0, bytes, prefault).map_err(refused("map", Side::A))?;
        for (half, fd) in [(Side::A, &fds.a), (Side::B, &fds.b)] {
            fcntl(fd, FcntlArg::F_ADD_SEALS(Seals::of(half).0)).map_err(refused("seal", half))?;
        }
        crash_point(Point::HalvesSealed);
        let peer = PeerHalf::map(fds.b.as_fd(), 0, bytes, prefault).map_err(refused("map", Side::B))?;
        Ok((Self::new(own, peer, geometry, nonce, PROTOCOL_MINOR, Side::A), fds))
    }

    /// Maps the segment of an offer, as B, if both halves are what the offer says (SPEC O2).
    ///
    /// # Errors
    ///
    /// When a half has not the seals or the size that it must have, or the operating system refuses.
    pub fn accept(offer: &Offer, fds: HalfFds) -> Result<Self, SegmentError> {
        let bytes = offer.geometry.half_bytes();
        for (half, fd) in [(Side::A, &fds.a), (Side::B, &fds.b)] {
            check_seals(half, fd)?;
            // The seals hold the size, so it is looked at behind them.
            let found = file_bytes(fd).map_err(refused("measure", half))?;
            let expected = bytes as u64;
            if found != expected {
                return Err(SegmentError::Size { half, found, expected });
            }
        }
        let own = OwnHalf::map(fds.b.as_fd(), 0, bytes, Prefault::Lazy).map_err(refused("map", Side::B))?;
        let peer = PeerHalf::map(fds.a.as_fd(), 0, bytes, Prefault::Lazy).map_err(refused("map", Side::A))?;
        Ok(Self::new(own, peer, offer.geometry, offer.nonce, offer.minor, Side::B))
    }

    /// Puts the halves together, and signs one's own (SPEC H3).
    pub(crate) fn new(own: OwnHalf, peer: PeerHalf, geometry: Geometry, nonce: u64, minor: u16, side: Side) -> Self {
        assert_ne!(nonce, 0, "session nonce is 0");
        crash_point(Point::HalvesMapped);
        let line = own.words(header::IDENTITY, IDENTITY_WORDS);
        for (index, (word, value)) in line.iter().zip(identity(side, &geometry, nonce, minor)).enumerate().rev() {
            if index == 0 {
                crash_point(Point::HeaderHalfWritten);
            }
            // Pairs with the Acquire fence of the peer that checks the line; the magic, word 0, comes last.
            word.store(value, Ordering::Release);
        }
        crash_point(Point::HeaderWritten);
        Self { own, peer: Arc::new(peer), geometry, nonce, minor, side }
    }
}

/// The first line of the half of `side` (SPEC section 4), in a session of an offer of this minor version.
pub fn identity(side: Side, geometry: &Geometry, nonce: u64, minor: u16) -> [u64; IDENTITY_WORDS] {
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    [
        side.magic(),
        u64::from(minor) << 16 | u64::from(PROTOCOL_MAJOR),
        geometry.half_bytes() as u64,
        join(geometry.ring_capacity(), geometry.slot_bytes()),
        join(geometry.slot_count(), geometry.return_capacity()),
        nonce,
    ]
}

/// A set of file seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seals(SealFlag);

impl Seals {
    /// The seals that this side's half must have.
    pub fn of(half: Side) -> Self {
        let size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        match half {
            Side::A => Self(size | SealFlag::F_SEAL_FUTURE_WRITE),
            Side::B => Self(size),
        }
    }

    /// Those that are not among `others`.
    pub fn without(self, others: Self) -> Self {
        Self(self.0.difference(others.0))
    }
}

impl fmt::Display for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no seals");
        }
        for (i, (name, _)) in self.0.iter_names().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

fn check_seals(half: Side, fd: &OwnedFd) -> Result<(), SegmentError> {
    let expected = Seals::of(half);
    let found = match fcntl(fd, FcntlArg::F_GET_SEALS) {
        Ok(bits) => Seals(SealFlag::from_bits_truncate(bits)),
        Err(Errno::EINVAL) => return Err(SegmentError::NotMemfd { half }),
        Err(errno) => return Err(refused("read the seals of", half)(errno)),
    };
    if expected.without(found).0.is_empty() { Ok(()) } else { Err(SegmentError::Seals { half, found, expected }) }
}

/// A memfd of `bytes` bytes: close-on-exec, sealable, and not executable where the kernel knows that.
fn memfd(half: Side, bytes: usize) -> Result<OwnedFd, SegmentError> {
    let name = match half {
        Side::A => c"rapace-A",
        Side::B => c"rapace-B",
    };
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let not_executable = MFdFlags::from_bits_retain(nix::libc::MFD_NOEXEC_SEAL);
    let fd = match memfd_create(name, flags | not_executable) {
        // Before Linux 6.3.
        Err(Errno::EINVAL) => memfd_create(name, flags),
        other => other,
    }
    .map_err(refused("create", half))?;
    resize(&fd, bytes).map_err(refused("size", half))?;
    Ok(fd)
}

pub(crate) fn resize(fd: &OwnedFd, bytes: usize) -> Result<(), Errno> {
    ftruncate(fd, i64::try_from(bytes).map_err(|_| Errno::EFBIG)?)
}

pub(crate) fn file_bytes(fd: &OwnedFd) -> Result<u64, Errno> {
    u64::try_from(fstat(fd)?.st_size).map_err(|_| Errno::EOVERFLOW)
}

fn refused<E: Into<io::Error>>(operation: &'static str, half: Side) -> impl FnOnce(E) -> SegmentError {
    move |error| SegmentError::Half { operation, half, error: error.into() }
}
