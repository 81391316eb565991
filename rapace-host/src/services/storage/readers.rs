//! The threads that read: whoever serves plugins hands a read over and is told when it is done, however slow the disk is.

use std::collections::{HashMap, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::disk::{Disk, Fault, View};

/// How many threads read. One plugin has one of them at a time, at most.
pub(super) const READERS: usize = 2;

/// A read that has its plugin's turn.
type Job = Box<dyn FnOnce(&Disk) + Send>;

/// The reads that wait, at most one of each plugin.
#[derive(Default)]
pub(super) struct Readers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The turn of every plugin that ever read: a permit.
    turns: HashMap<Arc<str>, Arc<Semaphore>>,
    is_closed: bool,
}

impl Readers {
    /// The turn of a plugin's reads, which wait for it outside the queue, one behind the other.
    pub(super) fn turn(&self, plugin: &Arc<str>) -> Arc<Semaphore> {
        let mut state = self.state.lock();
        Arc::clone(state.turns.entry(Arc::clone(plugin)).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    /// Adds a read. Its outcome comes unless it is given up.
    pub(super) fn add<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        read: impl FnOnce(&View) -> Result<T, Fault> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, Fault>> {
        let (reply, outcome) = oneshot::channel();
        let job = move |disk: &Disk| {
            // Nobody reads for one who does not wait any more.
            let outcome = (!reply.is_closed()).then(|| disk.read(read));
            // The next one of this plugin is behind those of others that wait already.
            drop(turn);
            drop(outcome.map(|outcome| reply.send(outcome)));
        };
        let mut state = self.state.lock();
        if !state.is_closed {
            state.jobs.push_back(Box::new(job));
            self.changed.notify_one();
        }
        outcome
    }

    /// Reads until it is closed.
    pub(super) fn run(&self, disk: &Disk) {
        while let Some(job) = self.next() {
            // Whoever waits for one that panics sees that it was given up, and the others are read.
            drop(panic::catch_unwind(AssertUnwindSafe(|| job(disk))));
        }
    }

    /// Nothing is read any more, nor what waits.
    pub(super) fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.jobs)
        };
        self.changed.notify_all();
        drop(dropped);
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.jobs.is_empty() && !state.is_closed);
        state.jobs.pop_front()
    }
}
