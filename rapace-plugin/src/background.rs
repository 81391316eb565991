//! Tasks beside the calls of the host, each on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// What a task does. It ends when it is told to stop.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// The tasks that have been started.
#[derive(Debug, Default)]
pub(crate) struct Background {
    running: Arc<Running>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Running {
    count: Mutex<usize>,
    ended: Condvar,
}

impl Background {
    /// Starts a task; `panicked` hears of it if it panics.
    pub(crate) fn start(&self, task: Task, panicked: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        *self.running.count.lock() += 1;
        let ends = Ends(Arc::clone(&self.running));
        let work = move || {
            let _ends = ends;
            if catch_unwind(AssertUnwindSafe(task)).is_err() {
                panicked();
            }
        };
        let thread = std::thread::Builder::new().name("rapace-background".to_owned()).spawn(work)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Waits until all have ended, or the time is over; says how many go on.
    pub(crate) fn join(&self, deadline: Instant) -> usize {
        let mut count = self.running.count.lock();
        self.running.ended.wait_while_until(&mut count, |count| *count > 0, deadline);
        if *count == 0 {
            drop(count);
            // A panic has been told of.
            std::mem::take(&mut *self.threads.lock()).into_iter().for_each(|thread| drop(thread.join()));
            return 0;
        }
        *count
    }
}

/// A task has ended, in whatever way.
struct Ends(Arc<Running>);

impl Drop for Ends {
    fn drop(&mut self) {
        *self.0.count.lock() -= 1;
        self.0.ended.notify_all();
    }
}

/// Runs a future on this thread, which sleeps meanwhile.
///
/// Not as the session's executor does: a thread that waits on the session is woken for each call that another one serves,
/// and may be held up by a handler. What the future waits for is seen to by the threads that serve.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
