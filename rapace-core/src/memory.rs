//! The two mappings of a segment, and the only file of the project with `unsafe`.
//!
//! [`OwnHalf`] is mapped read-write, [`PeerHalf`] read-only. Above this file memory is a slice of atomic words, or bytes
//! that were copied. No reference to plain bytes of a mapping exists anywhere, because the other process may write
//! them at any moment.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::{MmapOptions, MmapRaw};

use crate::layout::WORD_BYTES;
use crate::sync::{AtomicU64, Ordering};
use crate::words::PeerWords;

/// From this size on a string copy makes up for its start-up cost.
const STRING_COPY_BYTES_MIN: usize = 1024;

/// When the pages of a mapping are allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefault {
    /// Each at its first use: memory that is never used costs nothing.
    #[default]
    Lazy,
    /// All at once, as far as memory goes: no page fault later.
    Now,
}

impl Prefault {
    fn options(self, offset: u64, bytes: usize) -> MmapOptions {
        assert!(offset.is_multiple_of(WORD_BYTES as u64), "a half begins at byte {offset} of its file");
        let mut options = MmapOptions::new();
        options.offset(offset).len(bytes);
        if self == Self::Now {
            options.populate();
        }
        options
    }
}

/// This process's half: the one that it writes, alone.
#[derive(Debug)]
pub struct OwnHalf(MmapRaw);

impl OwnHalf {
    /// Maps `bytes` of `fd` from `offset`, shared and read-write. The caller has made sure that the file is that long
    /// and stays so: beyond its end lies SIGBUS.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset: u64, bytes: usize, prefault: Prefault) -> io::Result<Self> {
        prefault.options(offset, bytes).map_raw(fd.as_raw_fd()).map(Self)
    }

    /// The words from `byte_offset`.
    ///
    /// # Panics
    ///
    /// When the offset is not a multiple of 8, or the words do not end within the half: both are this process's own.
    #[inline]
    pub fn words(&self, byte_offset: usize, count: usize) -> &[AtomicU64] {
        words(&self.0, byte_offset, count)
    }

    /// Copies `bytes` to `byte_offset`.
    ///
    /// # Panics
    ///
    /// When they do not end within the half.
    #[inline]
    pub fn write(&mut self, byte_offset: usize, bytes: &[u8]) {
        check_range(&self.0, byte_offset, bytes.len());
        let start = self.0.as_mut_ptr().wrapping_add(byte_offset);
        // SAFETY: `copy_nonoverlapping` needs
        // - a source valid for reads of its length: it is a slice;
        // - a destination valid for writes of that length: the mapping is readable and writable and lives as long as
        //   `self`, and `check_range` put both ends of the destination into it;
        // - alignment: that of `u8` is 1;
        // - no overlap: this file hands out no slice of bytes into a mapping, so `bytes` lies elsewhere;
        // - no data race: `&mut self` excludes every reference of this process into the mapping. Whatever another
        //   process does with the pages reaches neither this process's references nor its private memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) }
    }
}

/// The peer's half: this process reads it and cannot write it.
#[derive(Debug)]
pub struct PeerHalf(MmapRaw);

impl PeerHalf {
    /// Maps `bytes` of `fd` from `offset`, shared and read-only; see [`OwnHalf::map`] for the size.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset: u64, bytes: usize, prefault: Prefault) -> io::Result<Self> {
        prefault.options(offset, bytes).map_raw_read_only(fd.as_raw_fd()).map(Self)
    }

    /// The words from `byte_offset`.
    ///
    /// # Panics
    ///
    /// When the offset is not a multiple of 8, or the words do not end within the half: both have been checked.
    #[inline]
    pub fn words(&self, byte_offset: usize, count: usize) -> PeerWords<'_> {
        PeerWords::new(words(&self.0, byte_offset, count))
    }

    /// Appends a copy of `bytes` bytes from `byte_offset` to `into`.
    ///
    /// The peer may be writing meanwhile; then any mixture of old and new bytes comes out.
    ///
    /// # Panics
    ///
    /// When the offset is not a multiple of 8, or the bytes do not end within the half: both have been checked.
    #[inline]
    pub fn copy_out(&self, byte_offset: usize, bytes: usize, into: &mut Vec<u8>) {
        let from = words(&self.0, byte_offset, bytes.div_ceil(WORD_BYTES));
        into.reserve(bytes);
        let to = &mut into.spare_capacity_mut()[..bytes];
        if bytes < STRING_COPY_BYTES_MIN {
            copy_words(from, to)
        } else {
            copy_string(from, to)
        }
        let bytes_after = into.len() + bytes;
        // SAFETY: `set_len` needs
        // - a length within the capacity: `to` was `bytes` bytes of the spare capacity;
        // - initialised elements up to there: both copies write every byte of `to`, or panic.
        unsafe { into.set_len(bytes_after) }
    }
}

/// The words of a mapping, for loads, and for stores by the owner of a writable one.
#[inline]
fn words(map: &MmapRaw, byte_offset: usize, count: usize) -> &[AtomicU64] {
    assert!(byte_offset.is_multiple_of(WORD_BYTES), "word at byte {byte_offset}, which is no multiple of {WORD_BYTES}");
    check_range(map, byte_offset, count.saturating_mul(WORD_BYTES));
    let start = map.as_ptr().wrapping_add(byte_offset).cast::<AtomicU64>();
    // SAFETY: `from_raw_parts` needs
    // - one live allocation: the mapping lives as long as `map`, which the result borrows, and `check_range` put both
    //   ends of the slice into it, so that its size does not overflow either;
    // - alignment: a mapping begins at a page or, by the assertion in `options`, a multiple of 8 behind it, and
    //   `byte_offset` is a multiple of 8;
    // - initialised elements: pages of a file always hold bytes, and any 8 bytes are a valid `AtomicU64`;
    // - no mutation except through `UnsafeCell`: an `AtomicU64` is one. In this process only `OwnHalf::write` makes
    //   other accesses, with exclusive access to the mapping. Another process's stores are atomic or not as it
    //   likes: a load gives some value, and nothing is assumed of it.
    // Of a read-only mapping the slice only reaches `PeerWords` and the copies below, which make nothing but relaxed
    // loads of 8 bytes; those are plain loads on all 64-bit targets, as `std::sync::atomic` states.
    unsafe { std::slice::from_raw_parts(start, count) }
}

#[inline]
fn check_range(map: &MmapRaw, byte_offset: usize, bytes: usize) {
    let half = map.len();
    assert!(
        byte_offset <= half && bytes <= half - byte_offset,
        "{bytes} bytes from {byte_offset} do not fit a half of {half} bytes"
    );
}

/// Copies word by word. The last word is cut if `to` ends within it.
fn copy_words(from: &[AtomicU64], to: &mut [MaybeUninit<u8>]) {
    let (whole, tail) = to.as_chunks_mut::<WORD_BYTES>();
    assert!(from.len() == whole.len() + usize::from(!tail.is_empty()));
    let (from_whole, from_tail) = from.split_at(whole.len());
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed).to_ne_bytes().map(MaybeUninit::new);
    for (to, from) in whole.iter_mut().zip(from_whole) {
        *to = load(from);
    }
    if let Some(from) = from_tail.first() {
        tail.copy_from_slice(&load(from)[..tail.len()]);
    }
}

/// Copies with the processor's string instruction, which moves whole cache lines once it runs.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn copy_string(from: &[AtomicU64], to: &mut [MaybeUninit<u8>]) {
    assert!(to.len() <= size_of_val(from));
    // SAFETY: `rep movsb` reads `rcx` bytes upwards from `rsi` and writes them upwards from `rdi`, which needs
    // - a source that can be read: `from`, which is not shorter than `to`;
    // - a destination that can be written: all of `to`, which is borrowed exclusively, and so is apart from `from`;
    // - a clear direction flag: `asm!` guarantees it at the entry, and nothing here sets it;
    // - the operands as declared: the three registers that it changes are outputs; it uses no stack and leaves the
    //   flags alone; it touches memory, so neither `nomem` nor `readonly` is claimed.
    // The source may change meanwhile. To the abstract machine this block is a bytewise relaxed atomic load of each
    // byte of `from` and a write of its value to `to`: the compiler cannot look inside, so it can neither repeat
    // a load nor take two of them to agree.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") to.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use copy_words as copy_string;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    const BYTES: usize = 4 * 4096;

    fn halves() -> (OwnHalf, PeerHalf) {
        let fd = memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&fd, i64::try_from(BYTES).unwrap()).unwrap();
        let own = OwnHalf::map(fd.as_fd(), 0, BYTES, Prefault::Lazy).unwrap();
        (own, PeerHalf::map(fd.as_fd(), 0, BYTES, Prefault::Now).unwrap())
    }

    #[test]
    fn what_is_written_is_copied_out_at_every_length_and_offset() {
        let (mut own, peer) = halves();
        let pattern: Vec<u8> = (0u8..251).cycle().take(BYTES).collect();
        own.write(0, &pattern);
        let around = STRING_COPY_BYTES_MIN;
        for bytes in (0..100).chain(around - 9..around + 9).chain([BYTES - 64]) {
            for offset in [0, 8, 64] {
                let mut out = vec![7];
                peer.copy_out(offset, bytes, &mut out);
                assert_eq!(out[0], 7);
                assert!(out[1..] == pattern[offset..offset + bytes], "{bytes} bytes from {offset}");
            }
        }
    }

    #[test]
    fn a_write_changes_its_bytes_alone() {
        let (mut own, peer) = halves();
        own.write(13, &[0xff; 6]);
        let mut out = Vec::new();
        peer.copy_out(8, 16, &mut out);
        assert_eq!(out, [0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn words_are_shared() {
        let (own, peer) = halves();
        own.words(BYTES - 8, 1)[0].store(0x0807_0605_0403_0201, Ordering::Release);
        assert_eq!(peer.words(BYTES - 16, 2).load(1), 0x0807_0605_0403_0201);
        assert_eq!(peer.words(BYTES, 0).len(), 0);
        let mut out = Vec::new();
        peer.copy_out(BYTES - 8, 3, &mut out);
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "16 bytes from 16376 do not fit a half of 16384 bytes")]
    fn words_past_the_end_are_our_own_bug() {
        halves().0.words(BYTES - 8, 2);
    }

    #[test]
    #[should_panic(expected = "0 bytes from 16392 do not fit")]
    fn an_offset_past_the_end_is_our_own_bug() {
        halves().1.words(BYTES + 8, 0);
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_count_that_overflows_is_our_own_bug() {
        halves().1.words(0, 1 << 61);
    }

    #[test]
    #[should_panic(expected = "no multiple of 8")]
    fn a_misaligned_word_is_our_own_bug() {
        halves().1.words(4, 1);
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_write_past_the_end_is_our_own_bug() {
        halves().0.write(BYTES - 1, &[0, 0]);
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_copy_past_the_end_is_our_own_bug() {
        halves().1.copy_out(BYTES - 8, 9, &mut Vec::new());
    }
}
