//! The handshake as a future, so that a peer that takes its time for it holds no thread.

use std::future::poll_fn;
use std::task::Poll;

use tokio::time::timeout;

use super::watch;
use crate::handler::Handler;
use crate::handshake::{Handshake, HandshakeError};
use crate::role::Role;
use crate::session::Session;

impl<R: Role> Handshake<R> {
    /// [`finish`](Self::finish), in a tokio runtime with I/O and time. Dropped, it gives the peer up.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    ///
    /// # Panics
    ///
    /// Outside of such a runtime.
    pub async fn finish_async(mut self, handler: impl Handler) -> Result<Session<R>, HandshakeError> {
        let (socket, process) = self.fds()?;
        let (socket, process) = (watch(socket)?, process.map(watch).transpose()?);
        let mut greeting = self.greet(&handler)?;
        loop {
            if let Some(peer) = self.step(&mut greeting)? {
                return self.open(peer, handler);
            }
            let left = self.left(&greeting)?;
            let mut bell = None;
            if !self.fall_asleep()? {
                let awake = poll_fn(|cx| {
                    if process.as_ref().is_some_and(|process| process.poll_read_ready(cx).is_ready()) {
                        return Poll::Ready(None);
                    }
                    socket.poll_read_ready(cx).map(Some)
                });
                match timeout(left, awake).await {
                    Ok(Some(ready)) => bell = Some(ready?),
                    Ok(None) => greeting.ended = true,
                    // What is due is said at the next look at the clock.
                    Err(_) => {}
                }
            }
            let news = self.wake_up()?;
            greeting.ended |= news.ended;
            if let Some(bell) = &mut bell
                && !news.more
            {
                bell.clear_ready();
            }
        }
    }
}
