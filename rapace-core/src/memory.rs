//! The two mappings of a segment, and the only file of the project with `unsafe`. One function, `before_exec`, has nothing to
//! do with memory: it is here for its `unsafe` alone.
//!
//! [`OwnHalf`] is mapped read-write, [`PeerHalf`] read-only. Above this file memory is a slice of atomic words, or bytes
//! that were copied, because the other process may write them at any moment. Two kinds of plain bytes in place are the
//! exceptions: `LentBytes` of the own half, which nothing else touches while they are lent, and `PeerBytes` of a peer that
//! somebody chose to [`Trust`].
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use crate::child::ChildSetup;
use crate::layout::WORD_BYTES;
use crate::lent::LentRanges;
use crate::sync::{AtomicU64, Ordering};
use crate::words::PeerWords;

/// From this size on a string copy makes up for its start-up cost.
const STRING_COPY_BYTES_MIN: usize = 1280;
/// Bytes that a register of the processor's takes at once.
const BLOCK_BYTES: usize = 16;

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
pub struct OwnHalf {
    map: Arc<MmapRaw>,
    /// What [`LentBytes`] exist of `map`, and perhaps more: some may have been dropped.
    lent: LentRanges,
}

impl OwnHalf {
    /// Maps `bytes` of `fd` from `offset`, shared and read-write. The caller has made sure that the file is that long
    /// and stays so: beyond its end lies SIGBUS.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset: u64, bytes: usize, prefault: Prefault) -> io::Result<Self> {
        let map = Arc::new(prefault.options(offset, bytes).map_raw(fd.as_raw_fd())?);
        Ok(Self { map, lent: LentRanges::new() })
    }

    /// The words from `byte_offset`.
    ///
    /// # Panics
    ///
    /// When the offset is not a multiple of 8, the words do not end within the half, or some are lent out: all of that is
    /// this process's own doing.
    #[inline]
    pub fn words(&self, byte_offset: usize, count: usize) -> &[AtomicU64] {
        self.check_not_lent(byte_offset, count.saturating_mul(WORD_BYTES));
        words(&self.map, byte_offset, count)
    }

    /// Copies `bytes` to `byte_offset`.
    ///
    /// # Panics
    ///
    /// When they do not end within the half, or some of the place is lent out.
    #[inline]
    pub fn write(&mut self, byte_offset: usize, bytes: &[u8]) {
        check_range(&self.map, byte_offset, bytes.len());
        self.check_not_lent(byte_offset, bytes.len());
        let start = self.map.as_mut_ptr().wrapping_add(byte_offset);
        // SAFETY: `copy_nonoverlapping` needs
        // - a source valid for reads of its length: it is a slice;
        // - a destination valid for writes of that length: the mapping is readable and writable and lives as long as
        //   `self`, and `check_range` put both ends of the destination into it;
        // - alignment: that of `u8` is 1;
        // - no overlap: the only slices of bytes into this mapping are those of `LentBytes`, and `check_not_lent` found
        //   none of them at the destination, so `bytes` lies elsewhere;
        // - no data race: `&mut self` excludes every reference that `words` has given out, and `check_not_lent` all
        //   others of this process at the destination. Whatever another process does with the pages reaches neither
        //   this process's references nor its private memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) }
    }

    /// Lends `bytes` bytes from `byte_offset`, for this process to fill in place, until [`OwnHalf::take_back`].
    ///
    /// # Panics
    ///
    /// When there are none, they do not end within the half, or some are lent out already.
    pub(crate) fn lend(&mut self, byte_offset: usize, bytes: usize) -> LentBytes {
        check_range(&self.map, byte_offset, bytes);
        let range = byte_offset..byte_offset + bytes;
        self.lent.add(&range);
        LentBytes { map: Arc::clone(&self.map), range }
    }

    /// Ends a loan. One that is dropped instead stays lent out for good.
    ///
    /// # Panics
    ///
    /// When the bytes are not of this half.
    pub(crate) fn take_back(&mut self, bytes: LentBytes) {
        assert!(self.lent_out(&bytes), "bytes {:?} were lent by another half", bytes.range);
        self.lent.remove(&bytes.range);
    }

    /// Whether the bytes are of this half.
    pub(crate) fn lent_out(&self, bytes: &LentBytes) -> bool {
        Arc::ptr_eq(&self.map, &bytes.map)
    }

    #[inline]
    fn check_not_lent(&self, byte_offset: usize, bytes: usize) {
        let end = byte_offset.saturating_add(bytes);
        assert!(!self.lent.meets(byte_offset, end), "bytes {byte_offset} to {end} of the own half are lent out");
    }
}

/// Bytes of one's own half, lent by [`OwnHalf::lend`]: they are nobody else's in this process, and no other process's
/// (SPEC P1).
#[derive(Debug)]
pub(crate) struct LentBytes {
    map: Arc<MmapRaw>,
    /// Checked against `map`, and entered into the half's `lent`, for as long as this exists.
    range: Range<usize>,
}

impl Deref for LentBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: as in `deref_mut`, but for `&self`: others may read through this same value, nobody writes.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().wrapping_add(self.range.start), self.range.len()) }
    }
}

impl DerefMut for LentBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.map.as_mut_ptr().wrapping_add(self.range.start);
        // SAFETY: `from_raw_parts_mut` needs
        // - one live allocation, readable and writable: the mapping of an `OwnHalf` is both, `self` keeps it, and `lend`
        //   checked that the range lies within it, so that its size does not overflow either;
        // - alignment: that of `u8` is 1;
        // - initialised elements: pages of a file always hold bytes, zeros or what was written there before;
        // - no other access in this process while the slice lives: it borrows `self` exclusively, `self` is not `Clone`,
        //   and `lend` makes no two that meet (`LentRanges::add`). The half makes no access and no reference to a lent
        //   range (`check_not_lent`); `lend` took it by `&mut`, so the slices that `words` gave out before are gone. The
        //   range leaves `lent` only in `take_back`, which consumes `self`;
        // - no other process's writes: this is the own half, and only its owner writes it (SPEC P1). The kernel holds
        //   B to that for the half of A, which is sealed against writers (O1). A, which could write to B's half, is
        //   trusted by B with its memory, and so are both with a named segment (O5).
        unsafe { std::slice::from_raw_parts_mut(start, self.range.len()) }
    }
}

/// The choice to read a peer's payloads in place.
///
/// Rust takes the bytes behind a `&[u8]` not to change. Of a payload in the peer's half that holds only if the peer keeps
/// to SPEC S2, and nothing can be done against one that does not. So the choice is that whoever writes the other half
/// is as much to be trusted as this process itself: a plugin's host is, which made the memory; a host's plugin is not.
#[derive(Clone, Copy, Debug)]
pub struct Trust(());

impl Trust {
    /// Relies on the peer, for the soundness of this process, to leave payloads alone until they have been returned.
    pub fn peer_leaves_payloads_alone() -> Self {
        Self(())
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

    /// Bytes of a trusted peer, in place. The caller sees to it that they are a payload that has been accepted, and that it
    /// is not returned before the result is gone: this process's part of SPEC S2.
    ///
    /// # Panics
    ///
    /// When they do not end within the half.
    pub(crate) fn in_place(half: &Arc<Self>, _trust: Trust, byte_offset: usize, bytes: usize) -> PeerBytes {
        check_range(&half.0, byte_offset, bytes);
        PeerBytes { half: Arc::clone(half), range: byte_offset..byte_offset + bytes }
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
        if bytes >= STRING_COPY_BYTES_MIN {
            copy_string(from, to)
        } else if bytes >= BLOCK_BYTES {
            copy_blocks(from, to)
        } else {
            copy_words(from, to)
        }
        let bytes_after = into.len() + bytes;
        // SAFETY: `set_len` needs
        // - a length within the capacity: `to` was `bytes` bytes of the spare capacity;
        // - initialised elements up to there: both copies write every byte of `to`, or panic.
        unsafe { into.set_len(bytes_after) }
    }
}

/// Bytes of a trusted peer's half, read in place: see [`PeerHalf::in_place`].
#[derive(Debug)]
pub(crate) struct PeerBytes {
    half: Arc<PeerHalf>,
    /// Checked against `half`.
    range: Range<usize>,
}

impl PeerBytes {
    /// Whether they are of this half.
    pub(crate) fn are_of(&self, half: &Arc<PeerHalf>) -> bool {
        Arc::ptr_eq(&self.half, half)
    }
}

impl Deref for PeerBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let start = self.half.0.as_ptr().wrapping_add(self.range.start);
        // SAFETY: `from_raw_parts` needs
        // - one live, readable allocation: `self` keeps the mapping, and `in_place` checked that the range lies within
        //   it, so that its size does not overflow either;
        // - alignment: that of `u8` is 1;
        // - initialised elements: pages of a file always hold bytes;
        // - no write while the slice lives. This process has the half mapped read-only, and makes nothing but loads
        //   there. That the peer does not write is *relied upon*, and is what a `Trust` says: SPEC S2 forbids it until
        //   the payload is returned, and `Link::return_view` returns it behind the end of `self`. Before, the payload
        //   was written and published by a Release store, which the Acquire fence in `Consumer::take` pairs with. A
        //   peer that writes all the same makes this undefined behaviour, which is why no other peer gets here.
        unsafe { std::slice::from_raw_parts(start, self.range.len()) }
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
    //   other stores, with exclusive access to the half, and `LentBytes` do, which `check_not_lent` keeps apart from the
    //   slice. Another process's stores are atomic or not as it likes: a load gives some value, and nothing is
    //   assumed of it.
    // Of a read-only mapping the slice only reaches `PeerWords` and the copies below, which make nothing but relaxed
    // loads of 8 bytes; those are plain loads on all 64-bit targets, as `std::sync::atomic` states. A slice of
    // `PeerBytes` beside it is read, too, and loads do not disturb each other.
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

/// Copies in blocks of [`BLOCK_BYTES`], the last of which ends where `to` does and may overlap the one before it.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn copy_blocks(from: &[AtomicU64], to: &mut [MaybeUninit<u8>]) {
    assert!(to.len() >= BLOCK_BYTES && to.len() <= size_of_val(from));
    // SAFETY: each of the pairs of `movups` reads `BLOCK_BYTES` bytes `at` bytes, or `last` bytes, behind the beginning of
    // `from`, and writes them as far behind that of `to`, which needs
    // - a source that can be read and a destination that can be written: at the top of the loop `at` is 0 or below `last`,
    //   so a block ends `last + BLOCK_BYTES` bytes behind either beginning at the latest, which is the end of `to`; `from`
    //   is not shorter. `to` is borrowed exclusively, and so is apart from `from`;
    // - no alignment: `movups` asks for none;
    // - the operands as declared: `at` and `block` are outputs; it uses no stack, and the flags that it changes are not
    //   claimed to be preserved; it touches memory, so neither `nomem` nor `readonly` is claimed.
    // What was said of the source in `copy_string` holds here.
    unsafe {
        std::arch::asm!(
            "2:",
            "movups {block}, [{from} + {at}]",
            "movups [{to} + {at}], {block}",
            "add {at}, 16",
            "cmp {at}, {last}",
            "jb 2b",
            "movups {block}, [{from} + {last}]",
            "movups [{to} + {last}], {block}",
            from = in(reg) from.as_ptr(),
            to = in(reg) to.as_mut_ptr(),
            last = in(reg) to.len() - BLOCK_BYTES,
            at = inout(reg) 0usize => _,
            block = out(xmm_reg) _,
            options(nostack),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use {copy_words as copy_blocks, copy_words as copy_string};

/// Has the children of a command set themselves up between fork and exec.
pub(crate) fn before_exec(command: &mut Command, setup: ChildSetup) {
    // SAFETY: `pre_exec` needs a closure that may run in a child which has been forked from a process with threads: it has
    // this one thread, and a copy of the memory as it was at that moment, locks that others held included.
    // - It takes no lock, allocates nothing and frees nothing: `ChildSetup::run` goes through two vectors that were filled
    //   before, and makes the system calls `write` and `prlimit`, on Linux by rustix without the C library. Its error is
    //   the number of one, which `io::Error` holds in place.
    // - It does not panic: nothing in it indexes, unwraps or calculates.
    // - It touches no descriptors but those that `setup` owns, which the child has copies of, and drops none.
    // - The child's copy of `setup` is never dropped: what follows is `execve` or `_exit`.
    unsafe { command.pre_exec(move || setup.run()) };
}

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
        for bytes in (0..300).chain(around - 9..around + 9).chain([BYTES - 64]) {
            for offset in [0, 8, 64] {
                let mut out = vec![7];
                peer.copy_out(offset, bytes, &mut out);
                assert_eq!(out[0], 7);
                assert!(out[1..] == pattern[offset..offset + bytes], "{bytes} bytes from {offset}");
            }
        }
    }

    #[test]
    fn what_ends_with_the_half_is_copied_out() {
        let (mut own, peer) = halves();
        let pattern: Vec<u8> = (1u8..251).cycle().take(BYTES).collect();
        own.write(0, &pattern);
        for bytes in (8..=2048).step_by(8) {
            let mut out = Vec::new();
            peer.copy_out(BYTES - bytes, bytes, &mut out);
            assert!(out == pattern[BYTES - bytes..], "the last {bytes} bytes");
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
    fn lent_bytes_are_the_bytes_of_the_half() {
        let (mut own, peer) = halves();
        own.write(4096, b"before");
        let mut lent = own.lend(4096, 64);
        assert_eq!(&lent[..7], b"before\0");
        lent[3..6].copy_from_slice(b"!!!");
        own.write(4090, b"beside");
        own.write(4160, b"behind");
        assert_eq!(own.words(0, 4096 / 8).len(), 512);
        own.take_back(lent);
        own.write(4101, b"?");
        let mut out = Vec::new();
        peer.copy_out(4096 - 8, 16, &mut out);
        assert_eq!(out, *b"\0\0besidebef!!?\0\0");
    }

    #[test]
    #[should_panic(expected = "bytes 4159 to 4161 of the own half are lent out")]
    fn a_write_into_lent_bytes_is_our_own_bug() {
        let mut own = halves().0;
        let _lent = own.lend(4096, 64);
        own.write(4159, &[0, 0]);
    }

    #[test]
    #[should_panic(expected = "bytes 4088 to 4104 of the own half are lent out")]
    fn words_of_lent_bytes_are_our_own_bug() {
        let mut own = halves().0;
        let _lent = own.lend(4096, 64);
        own.words(4088, 2);
    }

    #[test]
    #[should_panic(expected = "bytes 4096..4104 of the own half are lent out already")]
    fn bytes_that_were_dropped_stay_lent() {
        let mut own = halves().0;
        drop(own.lend(4096, 64));
        drop(own.lend(4096, 8));
    }

    #[test]
    #[should_panic(expected = "bytes 4096..4104 were lent by another half")]
    fn another_halfs_bytes_are_not_taken_back() {
        let (mut own, mut other) = (halves().0, halves().0);
        let (_lent, others) = (own.lend(4096, 8), other.lend(4096, 8));
        own.take_back(others);
    }

    #[test]
    #[should_panic(expected = "64 bytes from 16328 do not fit")]
    fn a_loan_past_the_end_is_our_own_bug() {
        drop(halves().0.lend(BYTES - 56, 64));
    }

    #[test]
    #[should_panic(expected = "9 bytes from 16376 do not fit")]
    fn a_place_past_the_end_is_our_own_bug() {
        drop(PeerHalf::in_place(&Arc::new(halves().1), Trust::peer_leaves_payloads_alone(), BYTES - 8, 9));
    }

    #[test]
    fn bytes_in_place_outlive_their_half() {
        let (mut own, peer) = halves();
        own.write(BYTES - 5, b"after");
        let bytes = PeerHalf::in_place(&Arc::new(peer), Trust::peer_leaves_payloads_alone(), BYTES - 5, 5);
        let mut lent = own.lend(0, 64);
        drop(own);
        lent.fill(1);
        assert_eq!(&*bytes, b"after");
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_copy_past_the_end_is_our_own_bug() {
        halves().1.copy_out(BYTES - 8, 9, &mut Vec::new());
    }
}
