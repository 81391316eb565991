//! What the kernel keeps of the promises of a segment, tried by whoever holds its descriptors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::atomic::Ordering;

use memmap2::MmapOptions;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use rapace_core::layout::{Geometry, GeometryConfig, MAGIC_A, MAGIC_B};
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{HalfFds, Prefault, Segment, SegmentError};
use rapace_core::side::Side;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

const NONCE: u64 = 0xfeed;
const SIZE_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);
const HOST_SEALS: SealFlag = SIZE_SEALS.union(SealFlag::F_SEAL_FUTURE_WRITE);

fn geometry() -> Geometry {
    Geometry::new(GeometryConfig { segment_bytes: 256 << 10, ring_capacity: 16, slot_bytes: 1024 }).unwrap()
}

fn offer() -> Offer {
    Offer::new(Backing::Sealed, NONCE, geometry())
}

fn create(prefault: Prefault) -> (Segment, HalfFds) {
    Segment::create(geometry(), NONCE, prefault).unwrap()
}

fn both() -> (Segment, Segment) {
    let (host, fds) = create(Prefault::Lazy);
    (host, Segment::accept(&offer(), fds).unwrap())
}

/// A memfd that somebody else made.
fn memfd(bytes: usize, seals: SealFlag) -> OwnedFd {
    let fd = memfd_create("other", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    File::from(fd.try_clone().unwrap()).set_len(bytes as u64).unwrap();
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    fd
}

fn accept(a: OwnedFd, b: OwnedFd) -> SegmentError {
    Segment::accept(&offer(), HalfFds { a, b }).unwrap_err()
}

/// What a holder of `fd` may try: everything that must fail, by name.
fn attempts(fd: &OwnedFd) -> Vec<(&'static str, io::Result<()>)> {
    let bytes = geometry().half_bytes();
    let mut file = File::from(fd.try_clone().unwrap());
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let reopen = |options: &mut OpenOptions| options.read(true).write(true).open(&path);
    let mut reopened = reopen(&mut OpenOptions::new()).unwrap();
    let map = |file: &File| MmapOptions::new().len(bytes).map_raw(file).map(drop);
    let _read_only = MmapOptions::new().len(bytes).map_raw_read_only(fd).unwrap();
    let hole = |from, len| {
        fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, len).map_err(io::Error::from)
    };
    vec![
        ("map it writable", map(&file)),
        ("map it writable when it is open anew", map(&reopened)),
        ("write to it", file.write(&[1]).map(drop)),
        ("write into it", file.write_at(&[1], 4096).map(drop)),
        ("write to it when it is open anew", reopened.write(&[1]).map(drop)),
        ("punch a hole", hole(0, 4096)),
        ("zero a range", fallocate(fd, FallocateFlags::ZERO_RANGE, 0, 4096).map_err(io::Error::from)),
        ("truncate it", file.set_len(0)),
        ("cut a page off", file.set_len(bytes as u64 - 4096)),
        ("truncate it by opening", reopen(OpenOptions::new().truncate(true)).map(drop)),
        ("make it larger", file.set_len(bytes as u64 + 4096)),
        ("allocate more", fallocate(fd, FallocateFlags::empty(), bytes as u64, 4096).map_err(io::Error::from)),
        ("add a seal", fcntl(fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).map(drop).map_err(io::Error::from)),
    ]
}

#[test]
fn a_holder_of_the_hosts_half_can_neither_write_nor_resize_it() {
    let (host, fds) = create(Prefault::Lazy);
    for (what, result) in attempts(&fds.a) {
        let error = result.expect_err(what);
        // The kernel does not know how to zero a range of a memfd at all.
        let expected = if what == "zero a range" { Errno::EOPNOTSUPP } else { Errno::EPERM };
        assert_eq!(error.raw_os_error(), Some(expected as i32), "{what}: {error}");
    }
    host.own.words(4096, 1)[0].store(7, Ordering::Release);
    assert_eq!(Segment::accept(&offer(), fds).unwrap().peer.words(4096, 1).load(0), 7);
}

#[test]
fn a_holder_of_the_plugins_half_can_write_but_not_resize_it() {
    let (_host, fds) = create(Prefault::Lazy);
    for (what, result) in attempts(&fds.b) {
        let resizes = ["truncate", "cut", "larger", "more", "seal"].iter().any(|word| what.contains(word));
        if resizes {
            let error = result.expect_err(what);
            assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32), "{what}: {error}");
        } else if what != "zero a range" {
            result.expect(what);
        }
    }
}

#[test]
fn each_side_sees_what_the_other_writes() {
    let (mut host, mut plugin) = both();
    assert_eq!((host.side, plugin.side), (Side::A, Side::B));
    assert_eq!((plugin.geometry, plugin.nonce, plugin.minor), (host.geometry, NONCE, 0));
    let last = geometry().half_bytes() - 8;
    for (from, to, word) in [(&mut host.own, &plugin.peer, 1), (&mut plugin.own, &host.peer, 2)] {
        from.words(last, 1)[0].store(word, Ordering::Release);
        from.write(8192, b"payload");
        assert_eq!(to.words(last, 1).load(0), word);
        let mut bytes = Vec::new();
        to.copy_out(8192, 7, &mut bytes);
        assert_eq!(bytes, b"payload");
    }
}

#[test]
fn each_half_is_signed_by_its_owner() {
    let (host, plugin) = both();
    for (peer, magic) in [(&plugin.peer, MAGIC_A), (&host.peer, MAGIC_B)] {
        let line: Vec<u64> = (0..8).map(|word| peer.words(0, 8).load(word)).collect();
        let g = geometry();
        let (slots, returns) = (u64::from(g.slot_count()), u64::from(g.return_capacity()));
        assert_eq!(line, [magic, 1, 128 << 10, 1024 << 32 | 16, returns << 32 | slots, NONCE, 0, 0]);
    }
}

#[test]
fn the_plugins_line_follows_the_minor_version_of_the_offer() {
    let (host, fds) = create(Prefault::Lazy);
    let plugin = Segment::accept(&Offer { minor: 3, ..offer() }, fds).unwrap();
    assert_eq!((plugin.minor, host.peer.words(8, 1).load(0)), (3, 3 << 16 | 1));
}

#[test]
fn a_missing_seal_is_named_with_its_half() {
    let bytes = geometry().half_bytes();
    let missing = |seal| (memfd(bytes, HOST_SEALS.difference(seal)), memfd(bytes, SIZE_SEALS.difference(seal)));
    let good = || (memfd(bytes, HOST_SEALS), memfd(bytes, SIZE_SEALS));
    for (seal, name) in [
        (SealFlag::F_SEAL_SHRINK, "F_SEAL_SHRINK"),
        (SealFlag::F_SEAL_GROW, "F_SEAL_GROW"),
        (SealFlag::F_SEAL_SEAL, "F_SEAL_SEAL"),
    ] {
        let text = accept(missing(seal).0, good().1).to_string();
        assert!(text.starts_with(&format!("O2: half A lacks {name}: it has F_SEAL_")), "{text}");
        let text = accept(good().0, missing(seal).1).to_string();
        assert!(text.starts_with(&format!("O2: half B lacks {name}: it has F_SEAL_")), "{text}");
    }
    let text = accept(good().1, good().1).to_string();
    assert!(text.starts_with("O2: half A lacks F_SEAL_FUTURE_WRITE: it has F_SEAL_SEAL | F_SEAL_SHRINK"), "{text}");
    let text = accept(memfd(bytes, SealFlag::empty()), good().1).to_string();
    assert!(text.contains("it has no seals, but must have F_SEAL_SEAL | F_SEAL_SHRINK"), "{text}");
    let (a, b) = good();
    assert!(Segment::accept(&offer(), HalfFds { a, b }).is_ok());
}

#[test]
fn a_half_of_another_size_is_refused() {
    let bytes = geometry().half_bytes();
    for wrong in [0, 4096, bytes - 4096, bytes + 1, 2 * bytes] {
        for half in [Side::A, Side::B] {
            let size = |side| if side == half { wrong } else { bytes };
            let error = accept(memfd(size(Side::A), HOST_SEALS), memfd(size(Side::B), SIZE_SEALS));
            let expected = format!("O2: half {half} has {wrong} bytes, but the offer says {bytes}");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn what_is_no_memfd_is_refused() {
    let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
    let others = || [open("/dev/null"), open("/"), open("/proc/self/exe"), io::pipe().unwrap().0.into()];
    for other in others() {
        let (_host, fds) = create(Prefault::Lazy);
        assert!(matches!(accept(other, fds.b), SegmentError::NotMemfd { half: Side::A }));
    }
    for other in others() {
        let (_host, fds) = create(Prefault::Lazy);
        assert!(matches!(accept(fds.a, other), SegmentError::NotMemfd { half: Side::B }));
    }
}

#[test]
fn a_half_that_the_plugin_may_not_write_is_refused() {
    let bytes = geometry().half_bytes();
    let error = accept(memfd(bytes, HOST_SEALS), memfd(bytes, HOST_SEALS));
    assert!(error.to_string().starts_with("cannot map half B: "), "{error}");
}

#[test]
fn halves_are_close_on_exec_and_not_executable() {
    let knows_noexec = memfd_create("probe", MemfdFlags::NOEXEC_SEAL).is_ok();
    let (_host, fds) = create(Prefault::Lazy);
    for fd in [&fds.a, &fds.b] {
        let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        let file = File::from(fd.try_clone().unwrap());
        if knows_noexec {
            assert_eq!(file.metadata().unwrap().mode() & 0o111, 0);
            assert!(file.set_permissions(fs::Permissions::from_mode(0o700)).is_err());
        }
    }
}

#[test]
fn memory_is_allocated_when_it_is_asked_for() {
    let half = geometry().half_bytes() as u64;
    let used = |fds: &HalfFds| {
        [&fds.a, &fds.b].map(|fd| File::from(fd.try_clone().unwrap()).metadata().unwrap().blocks() * 512)
    };
    assert_eq!(used(&create(Prefault::Now).1), [half, half]);
    let [a, b] = used(&create(Prefault::Lazy).1);
    assert!(a < half && b == 0, "{a} bytes and {b} bytes");
}

#[test]
fn bytes_that_are_copied_while_the_peer_writes_are_bytes_that_it_wrote() {
    const BYTES: usize = 64 << 10;
    let (host, mut plugin) = both();
    plugin.own.write(8192, &[0x11; BYTES]);
    let writer = std::thread::spawn(move || {
        for byte in [0xee, 0x11].repeat(500) {
            plugin.own.write(8192, &[byte; BYTES]);
        }
    });
    while !writer.is_finished() {
        for bytes in [24, 1000, BYTES] {
            let mut copy = Vec::new();
            host.peer.copy_out(8192, bytes, &mut copy);
            assert_eq!(copy.len(), bytes);
            assert!(copy.iter().all(|&byte| byte == 0x11 || byte == 0xee));
        }
    }
    writer.join().unwrap();
}

#[cfg(feature = "named-segment")]
mod named {
    use super::*;

    fn in_file_system(name: &str) -> std::path::PathBuf {
        std::path::Path::new("/dev/shm").join(name.trim_start_matches('/'))
    }

    #[test]
    fn a_named_segment_joins_both_sides_and_loses_its_name() {
        let (mut host, name) = Segment::create_named(geometry(), NONCE, Prefault::Lazy).unwrap();
        let path = in_file_system(name.as_str());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mut plugin = Segment::open_named(&offer(), name.as_str()).unwrap();
        assert!(!path.exists());
        for (from, to) in [(&mut host.own, &plugin.peer), (&mut plugin.own, &host.peer)] {
            from.write(4096, b"named");
            let mut bytes = Vec::new();
            to.copy_out(4096, 5, &mut bytes);
            assert_eq!(bytes, b"named");
        }
        assert_eq!([plugin.peer.words(0, 1).load(0), host.peer.words(0, 1).load(0)], [MAGIC_A, MAGIC_B]);
        assert!(Segment::open_named(&offer(), name.as_str()).is_err());
    }

    #[test]
    fn a_name_that_nobody_opened_goes_with_the_host() {
        let (_host, name) = Segment::create_named(geometry(), NONCE, Prefault::Now).unwrap();
        let path = in_file_system(name.as_str());
        assert!(path.exists());
        drop(name);
        assert!(!path.exists());
    }

    #[test]
    fn a_named_segment_of_another_size_is_refused_and_keeps_its_name() {
        let (_host, name) = Segment::create_named(geometry(), NONCE, Prefault::Lazy).unwrap();
        let other = Geometry::new(GeometryConfig::default()).unwrap();
        let error = Segment::open_named(&Offer::new(Backing::Sealed, NONCE, other), name.as_str()).unwrap_err();
        assert_eq!(error.to_string(), "O5: named segment has 262144 bytes, but the offer says 4194304");
        assert!(in_file_system(name.as_str()).exists());
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        for name in ["", "/", "/rapace-there-is-none", "/../etc/passwd", "/a\0b"] {
            let error = Segment::open_named(&offer(), name).unwrap_err();
            assert!(error.to_string().starts_with("cannot open the named segment: "), "{name}: {error}");
        }
    }
}
