//! Handlers that wait for something other than this session's ring: futures that the threads which wait on the session
//! poll between the calls that they serve.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use crate::shared::Shared;

/// What a handler has yet to do.
pub(crate) type Future = Pin<Box<dyn std::future::Future<Output = ()> + Send>>;

/// Names a task as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    place: usize,
    serial: u64,
}

/// A task that is to be polled by who has taken it out.
pub(crate) struct Runnable {
    pub(crate) id: TaskId,
    pub(crate) depth: u8,
    pub(crate) future: Future,
    pub(crate) waker: Waker,
}

struct Task {
    serial: u64,
    /// How deep in a chain of nested calls its call is.
    depth: u8,
    waker: Waker,
    /// Taken out while somebody polls it.
    future: Option<Future>,
    /// It is in the queue, or to be put there when it has been polled.
    ready: bool,
}

/// The tasks of a session.
#[derive(Default)]
pub(crate) struct Tasks {
    places: Vec<Option<Task>>,
    free: Vec<usize>,
    ready: VecDeque<TaskId>,
    serial: u64,
}

/// Puts its task into the queue.
struct TaskWaker {
    shared: Weak<Shared>,
    id: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.wake_task(self.id);
        }
    }
}

impl Tasks {
    /// What is kept for a task beside its future. Lists that have grown may be half empty.
    pub(crate) const BYTES_EACH: usize =
        size_of::<TaskWaker>() + 2 * (size_of::<Option<Task>>() + size_of::<TaskId>() + size_of::<usize>());

    /// Adds one, which is ready.
    pub(crate) fn add(&mut self, shared: &Arc<Shared>, depth: u8, future: Future) {
        self.serial += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let id = TaskId { place, serial: self.serial };
        let waker = Waker::from(Arc::new(TaskWaker { shared: Arc::downgrade(shared), id }));
        self.places[place] = Some(Task { serial: id.serial, depth, waker, future: Some(future), ready: true });
        self.ready.push_back(id);
    }

    fn get(&mut self, id: TaskId) -> Option<&mut Task> {
        self.places.get_mut(id.place)?.as_mut().filter(|task| task.serial == id.serial)
    }

    /// One is to be polled; says whether that is news.
    pub(crate) fn wake(&mut self, id: TaskId) -> bool {
        let Some(task) = self.get(id) else { return false };
        let news = !std::mem::replace(&mut task.ready, true);
        // One that is being polled goes into the queue behind that.
        let queued = news && task.future.is_some();
        if queued {
            self.ready.push_back(id);
        }
        queued
    }

    /// Takes out one that a thread may poll which runs a handler of depth `below`: see SPEC C6.
    pub(crate) fn next(&mut self, below: u8) -> Option<Runnable> {
        let at = self.ready.iter().position(|id| self.depth(*id) > below)?;
        let id = self.ready.remove(at)?;
        let task = self.get(id)?;
        task.ready = false;
        let future = task.future.take()?;
        Some(Runnable { id, depth: task.depth, future, waker: task.waker.clone() })
    }

    /// Whether there is one.
    pub(crate) fn has_next(&self, below: u8) -> bool {
        self.ready.iter().any(|id| self.depth(*id) > below)
    }

    fn depth(&self, id: TaskId) -> u8 {
        self.places.get(id.place).and_then(Option::as_ref).map_or(0, |task| task.depth)
    }

    /// One was polled: it goes on, or is done. Gives the future back if nobody wants it any more.
    pub(crate) fn put_back(&mut self, id: TaskId, future: Option<Future>) -> Option<Future> {
        let Some(task) = self.get(id) else { return future };
        match future {
            Some(future) => {
                task.future = Some(future);
                if task.ready {
                    self.ready.push_back(id);
                }
            }
            None => {
                self.places[id.place] = None;
                self.free.push(id.place);
            }
        }
        None
    }

    /// Takes out all of them: the session has ended. They are to be dropped without the session's lock.
    pub(crate) fn clear(&mut self) -> Vec<Future> {
        self.ready.clear();
        self.free.clear();
        std::mem::take(&mut self.places).into_iter().flatten().filter_map(|task| task.future).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("count", &self.count()).field("ready", &self.ready).finish()
    }
}
