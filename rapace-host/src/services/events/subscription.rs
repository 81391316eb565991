//! One who has subscribed.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use rapace_host_api::events::Delivery;
use rapace_service::Stream;

use super::hub::Hub;

/// A subscription: a stream of what is published, which ends with the host. Dropped, it stands no more.
#[must_use = "what is dropped is subscribed to nothing"]
pub struct Subscription {
    hub: Arc<Hub>,
    number: u64,
}

impl Subscription {
    pub(super) fn new(hub: Arc<Hub>, number: u64) -> Self {
        Self { hub, number }
    }

    /// What comes next; `None` at the end.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.hub.poll_take(self.number, cx)).await
    }

    /// What comes next, waited for by this thread; `None` at the end.
    pub fn recv(&mut self) -> Option<Delivery> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match self.hub.poll_take(self.number, &mut Context::from_waker(&waker)) {
                Poll::Ready(next) => return next,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.hub.poll_take(self.number, cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}
