//! A stream of the caller's on its way to the handler: a short queue, whose writer waits when it is full.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::Mutex;
use rapace_session::{CallError, Code, Status};

/// Items that the writer may be ahead of the reader.
const ITEMS_MAX: usize = 16;

struct Queue<T> {
    items: VecDeque<T>,
    end: Option<End>,
    /// The reader is gone: nothing more is wanted.
    is_unwanted: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Why no more items come.
enum End {
    /// The last one was there.
    Finished,
    /// The caller has gone, or has its answer.
    Broken,
    /// The reader has been told.
    Told,
}

/// The caller's end.
pub(super) struct QueueWriter<T>(Arc<Mutex<Queue<T>>>);

/// The handler's end.
pub(crate) struct QueueReader<T>(Arc<Mutex<Queue<T>>>);

/// Both ends of a queue.
pub(super) fn queue<T>() -> (QueueWriter<T>, QueueReader<T>) {
    let queue = Queue { items: VecDeque::new(), end: None, is_unwanted: false, reader: None, writer: None };
    let queue = Arc::new(Mutex::new(queue));
    (QueueWriter(Arc::clone(&queue)), QueueReader(queue))
}

impl<T> QueueWriter<T> {
    /// Sends a stream to its end, or until nobody wants it.
    pub(super) async fn send_all(self, stream: impl Stream<Item = T>) {
        let mut stream = pin!(stream);
        std::future::poll_fn(|cx| {
            // No more at a time than there is room for: the reader has its turn then.
            for _ in 0..ITEMS_MAX {
                match self.poll_room(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
                match stream.as_mut().poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(item) => {
                        if self.push(item) {
                            return Poll::Ready(());
                        }
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Ready when there is room, or with `false` when it is not wanted.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut queue = self.0.lock();
        if queue.is_unwanted {
            return Poll::Ready(false);
        }
        // Also while there is room: the reader may go at any time.
        let former = queue.writer.replace(cx.waker().clone());
        let has_room = queue.items.len() < ITEMS_MAX;
        drop(queue);
        drop(former);
        if has_room { Poll::Ready(true) } else { Poll::Pending }
    }

    /// Appends an item, or the end; says whether it was that.
    fn push(&self, item: Option<T>) -> bool {
        let mut queue = self.0.lock();
        let is_end = item.is_none();
        match item {
            Some(item) => queue.items.push_back(item),
            None => queue.end = Some(End::Finished),
        }
        wake(queue.reader.take(), queue);
        is_end
    }
}

impl<T> Drop for QueueWriter<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        if queue.end.is_none() {
            queue.end = Some(End::Broken);
        }
        wake(queue.reader.take(), queue);
    }
}

impl<T> QueueReader<T> {
    /// The next item; none behind the last, or behind an error.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        let mut queue = self.0.lock();
        if let Some(item) = queue.items.pop_front() {
            wake(queue.writer.take(), queue);
            return Poll::Ready(Some(Ok(item)));
        }
        match queue.end.replace(End::Told) {
            None => {
                queue.end = None;
                let former = queue.reader.replace(cx.waker().clone());
                drop(queue);
                drop(former);
                Poll::Pending
            }
            Some(End::Broken) => {
                let status = Status::new(Code::Cancelled, "the caller takes no more part in the call");
                Poll::Ready(Some(Err(CallError::Status(status))))
            }
            Some(End::Finished | End::Told) => Poll::Ready(None),
        }
    }
}

impl<T> Drop for QueueReader<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.is_unwanted = true;
        let items = std::mem::take(&mut queue.items);
        wake(queue.writer.take(), queue);
        drop(items);
    }
}

/// Wakes somebody, without the lock.
fn wake<G>(waker: Option<Waker>, lock: G) {
    drop(lock);
    if let Some(waker) = waker {
        waker.wake();
    }
}
