//! A disk in memory, which can fail, be full, be slow, and lose what it was not told to keep.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use redb::{Builder, Database, StorageBackend};

use super::PATIENCE;
use crate::services::storage::disk::Place;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct Medium(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// What was written since the last sync: where, what was there, what is.
    unsynced: Vec<(usize, Vec<u8>, Vec<u8>)>,
    syncs: u64,
    opened: u64,
    free_bytes: Option<u64>,
    is_broken: bool,
    is_stuck: bool,
    is_read_stuck: bool,
    /// The database keeps nothing of it in memory.
    is_uncached: bool,
    /// A sync waits until it is not stuck any more.
    waits: bool,
}

impl Medium {
    /// How often it was told to keep what it has.
    pub(super) fn syncs(&self) -> u64 {
        self.0.state.lock().syncs
    }

    /// How often it was opened.
    pub(super) fn opened(&self) -> u64 {
        self.0.state.lock().opened
    }

    pub(super) fn set_broken(&self, is_broken: bool) {
        self.0.state.lock().is_broken = is_broken;
    }

    pub(super) fn set_free_bytes(&self, free: Option<u64>) {
        self.0.state.lock().free_bytes = free;
    }

    /// From now on, or no more, a sync does not come to an end.
    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.0.state.lock().is_stuck = is_stuck;
        self.0.changed.notify_all();
    }

    /// From now on, or no more, a read does not come to an end. Only one that is opened behind `set_uncached` is read.
    pub(super) fn set_read_stuck(&self, is_stuck: bool) {
        self.0.state.lock().is_read_stuck = is_stuck;
        self.0.changed.notify_all();
    }

    pub(super) fn set_uncached(&self) {
        self.0.state.lock().is_uncached = true;
    }

    /// Waits until a sync does not come to an end.
    pub(super) fn wait_stuck(&self) {
        let mut state = self.0.state.lock();
        let waited = self.0.changed.wait_while_for(&mut state, |state| !state.waits, PATIENCE);
        assert!(!waited.timed_out(), "nothing is synced");
    }

    /// What is left when the power fails now: what was synced, and of the rest whatever the disk had got to.
    pub(super) fn after_power_failure(&self, mut is_kept: impl FnMut() -> bool) -> Self {
        let state = self.0.state.lock();
        let mut bytes = state.bytes.clone();
        let mut put = |at: usize, of: &[u8]| {
            let end = bytes.len().min(at + of.len());
            bytes[at.min(end)..end].copy_from_slice(&of[..end.saturating_sub(at)]);
        };
        state.unsynced.iter().rev().for_each(|(at, before, _)| put(*at, before));
        state.unsynced.iter().filter(|_| is_kept()).for_each(|(at, _, after)| put(*at, after));
        let state = State { bytes, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Turns a byte into another.
    pub(super) fn damage(&self, at: usize, by: u8) {
        let mut state = self.0.state.lock();
        let length = state.bytes.len();
        state.bytes[at % length] ^= by;
    }

    /// Cuts what is behind that many bytes.
    pub(super) fn cut(&self, length: usize) {
        self.0.state.lock().bytes.truncate(length);
    }

    pub(super) fn length(&self) -> usize {
        self.0.state.lock().bytes.len()
    }
}

impl Place for Medium {
    fn open(&self) -> Result<Database, redb::Error> {
        let mut builder = Builder::new();
        {
            let mut state = self.0.state.lock();
            state.opened += 1;
            if state.is_uncached {
                builder.set_cache_size(0);
            }
        }
        builder.set_check_integrity_on_open(true);
        Ok(builder.create_with_backend(self.clone())?)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.0.state.lock().free_bytes
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn broken() -> io::Error {
    io::Error::other("the disk is broken")
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while state.is_read_stuck {
            self.0.changed.wait(&mut state);
        }
        let found = state.bytes.get(place(offset)..).and_then(|bytes| bytes.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.state.lock().bytes.resize(place(len), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.syncs += 1;
        while state.is_stuck {
            state.waits = true;
            self.0.changed.notify_all();
            self.0.changed.wait(&mut state);
        }
        state.waits = false;
        if state.is_broken {
            return Err(broken());
        }
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.state.lock();
        if state.is_broken {
            return Err(broken());
        }
        let at = place(offset);
        let before = state.bytes[at..at + data.len()].to_vec();
        state.bytes[at..at + data.len()].copy_from_slice(data);
        state.unsynced.push((at, before, data.to_vec()));
        Ok(())
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Medium").finish()
    }
}
