//! What the kernel must refuse to a plugin that holds the halves.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use memmap2::MmapOptions;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};

use super::answer_all;
use crate::Failure;
use crate::raw::Raw;

/// Makes a mapping of standard input writable behind its making: exits with 0 if the kernel lets it.
const MPROTECT: &str = "
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
at = libc.mmap(None, 4096, 1, 1, 0, 0)
assert at != ctypes.c_void_p(-1).value, 'cannot map it'
sys.exit(0 if libc.mprotect(at, 4096, 3) == 0 else 7)
";
const REFUSED: i32 = 7;

/// Tries everything with both halves, says what the kernel did, and is good from then on.
pub(super) fn try_all(raw: &mut Raw) -> Result<(), Failure> {
    let bytes = raw.geometry().half_bytes();
    for (half, fd, is_own) in [("the host's half", &raw.halves.a, false), ("its own half", &raw.halves.b, true)] {
        for (what, result) in attempts(fd, bytes, is_own)? {
            match result {
                Ok(()) => println!("hostile: could {what}: {half}"),
                Err(error) => println!("hostile: could not {what}: {half}: {error}"),
            }
        }
    }
    println!("hostile: has tried all");
    answer_all(raw)
}

/// What must fail, by name. Of its own half a plugin may write every byte, so only the size and the seals are tried there.
fn attempts(fd: &OwnedFd, bytes: usize, is_own: bool) -> Result<Vec<(&'static str, io::Result<()>)>, Failure> {
    let mut file = File::from(fd.try_clone()?);
    let end = i64::try_from(bytes)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let reopen = |options: &mut OpenOptions| options.read(true).write(true).open(&path);
    let seal = |seal| fcntl(fd, FcntlArg::F_ADD_SEALS(seal)).map(drop).map_err(io::Error::from);
    let mut attempts = vec![
        ("truncate it", file.set_len(0)),
        ("cut a page off", file.set_len(bytes as u64 - 4096)),
        ("truncate it by opening", reopen(OpenOptions::new().truncate(true)).map(drop)),
        ("make it larger", file.set_len(bytes as u64 + 4096)),
        ("allocate more", fallocate(fd, FallocateFlags::empty(), end, 4096).map_err(io::Error::from)),
        ("collapse a page", fallocate(fd, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, 4096).map_err(io::Error::from)),
        ("seal it against its owner", seal(SealFlag::F_SEAL_WRITE)),
        ("seal it against the future", seal(SealFlag::F_SEAL_FUTURE_WRITE)),
    ];
    if is_own {
        return Ok(attempts);
    }
    let map = |file: &File| MmapOptions::new().len(bytes).map_raw(file).map(drop);
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    attempts.extend([
        ("map it writable", map(&file)),
        ("write to it", file.write(&[1]).map(drop)),
        ("write into it", file.write_at(&[1], 4096).map(drop)),
        ("punch a hole", fallocate(fd, hole, 0, 4096).map_err(io::Error::from)),
        ("make a mapping writable", make_writable(fd)?),
    ]);
    if let Ok(mut reopened) = reopen(&mut OpenOptions::new()) {
        attempts.extend([
            ("map it writable when it is open anew", map(&reopened)),
            ("write to it when it is open anew", reopened.write(&[1]).map(drop)),
        ]);
    }
    Ok(attempts)
}

/// By another program, as that takes calls which this one has no safe way to make.
fn make_writable(fd: &OwnedFd) -> Result<io::Result<()>, Failure> {
    let mut command = Command::new("python3");
    command.args(["-c", MPROTECT]).stdin(Stdio::from(fd.try_clone()?));
    let status = command.status().map_err(|error| format!("this needs python3 on the path: {error}"))?;
    match status.code() {
        Some(0) => Ok(Ok(())),
        Some(REFUSED) => Ok(Err(io::ErrorKind::PermissionDenied.into())),
        _ => Err(format!("python3 could not try: {status}").into()),
    }
}
