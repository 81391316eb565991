//! The writes that wait for their turn: a queue for each plugin, and each plugin's turn after that of the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use rapace_host_api::storage::{KEY_BYTES_MAX, StorageError, VALUE_BYTES_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The bytes that a plugin's writes may have in its queue; one that finds no room waits.
const QUEUE_BYTES: u32 = 8 << 20;
/// What a write counts for beside its key and value.
const JOB_BYTES: usize = 256;
/// The most writes that are committed together.
const BATCH_JOBS: usize = 1024;
/// From that many bytes on, no more writes are added to those that are committed together.
const BATCH_BYTES: usize = 8 << 20;

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX + JOB_BYTES <= QUEUE_BYTES as usize);

/// A write, and who waits for it.
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<Written, StorageError>>,
    /// Its room in the queue, and then in the batch.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What is to be written.
pub(super) struct Write {
    /// The name of the space.
    pub(super) space: Arc<str>,
    /// The bytes that the space may have.
    pub(super) bound: Option<u64>,
    pub(super) key: String,
    pub(super) expected: Expected,
    /// None deletes.
    pub(super) value: Option<Vec<u8>>,
}

/// What has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Anything,
    /// That version, or nothing.
    Version(Option<u64>),
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The version of what is there now, if anything is.
    pub(super) version: Option<u64>,
    /// Whether anything was there before.
    pub(super) was_there: bool,
}

impl Write {
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + JOB_BYTES
    }
}

/// What the writer does next.
pub(super) enum Work {
    Batch(Vec<Job>),
    /// Look after the disk.
    Look,
    /// Nobody will write any more.
    End,
}

/// The writes of all plugins.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The plugins whose writes wait, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, VecDeque<Job>>,
    /// The room of every plugin that ever wrote.
    rooms: HashMap<Arc<str>, Arc<Semaphore>>,
    look: bool,
    is_closed: bool,
}

impl Queue {
    /// The room of a plugin's writes.
    pub(super) fn room(&self, plugin: &Arc<str>) -> Arc<Semaphore> {
        let mut state = self.state.lock();
        let room = || Arc::new(Semaphore::new(usize::try_from(QUEUE_BYTES).unwrap_or(usize::MAX)));
        Arc::clone(state.rooms.entry(Arc::clone(plugin)).or_insert_with(room))
    }

    /// Adds a write of a plugin. Behind the end it is dropped, which its caller sees.
    pub(super) fn add(&self, plugin: &Arc<str>, job: Job) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        let State { turns, waiting, .. } = &mut *state;
        let jobs = waiting.entry(Arc::clone(plugin)).or_default();
        if jobs.is_empty() {
            turns.push_back(Arc::clone(plugin));
        }
        jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Something is wrong with the disk: the writer is to look.
    pub(super) fn look(&self) {
        self.state.lock().look = true;
        self.changed.notify_one();
    }

    /// Waits for work; not beyond that time, when the disk is to be looked after.
    pub(super) fn next(&self, until: Option<Instant>) -> Work {
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.look) {
                return Work::Look;
            }
            let batch = state.batch();
            if !batch.is_empty() {
                return Work::Batch(batch);
            }
            if state.is_closed {
                return Work::End;
            }
            match until {
                Some(until) if self.changed.wait_until(&mut state, until).timed_out() => return Work::Look,
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// No more writes are taken; what waits is still done.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Nobody does what waits: its callers see that.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let dropped = (std::mem::take(&mut state.turns), std::mem::take(&mut state.waiting));
        drop(state);
        drop(dropped);
    }
}

impl State {
    /// One write of each plugin, again and again.
    fn batch(&mut self) -> Vec<Job> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_JOBS
            && bytes < BATCH_BYTES
            && let Some(plugin) = self.turns.pop_front()
        {
            let Some(jobs) = self.waiting.get_mut(&plugin) else { continue };
            if let Some(job) = jobs.pop_front() {
                bytes += job.write.bytes();
                batch.push(job);
            }
            if jobs.is_empty() {
                self.waiting.remove(&plugin);
            } else {
                self.turns.push_back(plugin);
            }
        }
        batch
    }
}
