//! The user's calls with streams.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rapace_session::{CallError, CallOptions, Role, StreamingCall, Streams};

use super::{Ours, at_once};
use crate::session::items::{is_item, item, read_counts};
use crate::session::script::{Size, StreamOp};

/// A call with streams, without an outcome.
pub(super) struct Stream {
    call: StreamingCall,
    streams: Streams,
    sent: u64,
    taken: u64,
    /// Whether no items are left.
    drained: bool,
}

impl<R: Role> Ours<R> {
    /// What this side does of it.
    pub(in crate::session) fn stream(&mut self, op: StreamOp) {
        match op {
            StreamOp::Open { streams, size, deadline } => self.open_stream(streams, size, deadline),
            StreamOp::Send(which, size) => self.send_item(which, size),
            StreamOp::Take(which) => self.take_item(which),
            StreamOp::Finish(which) => self.finish_items(which),
            StreamOp::Drop(which) => self.drop_stream(which),
            StreamOp::Reply(which) => self.take_reply(which),
            StreamOp::HandlerSends(which, size) => self.desk.send_item(which, size),
            StreamOp::HandlerTakes(which) => self.desk.take_item(which),
            _ => {}
        }
    }

    fn open_stream(&mut self, streams: u8, size: Size, deadline: bool) {
        let streams = Streams { sends: streams & 1 != 0, receives: streams & 2 != 0 };
        let options = if deadline { at_once() } else { CallOptions::new() };
        let (caller, body) = (self.session.caller(), crate::pattern(size.bytes()));
        let opening = pin!(caller.open(1, &body, streams, &options));
        match opening.poll(&mut context()) {
            Poll::Ready(Ok(call)) => self.streams.push(Stream { call, streams, sent: 0, taken: 0, drained: false }),
            Poll::Ready(Err(error)) => self.judge(Err(error), &body),
            // It waits for room, and nobody waits for it.
            Poll::Pending => {}
        }
    }

    fn pick_stream(&mut self, which: u8) -> Option<&mut Stream> {
        let count = self.streams.len().max(1);
        self.streams.get_mut(usize::from(which) % count)
    }

    fn send_item(&mut self, which: u8, size: Size) {
        let Some(stream) = self.pick_stream(which) else { return };
        match stream.call.poll_send(&mut context(), &item(stream.sent, size.bytes())) {
            Poll::Ready(Ok(())) => {
                assert!(stream.streams.sends, "an item in a call that sends none");
                stream.sent += 1;
            }
            Poll::Ready(Err(error)) => assert!(!error.to_string().is_empty()),
            Poll::Pending => {}
        }
    }

    fn take_item(&mut self, which: u8) {
        let lied = self.desk.lied();
        if let Some(stream) = self.pick_stream(which) {
            stream.take(lied);
        }
    }

    fn finish_items(&mut self, which: u8) {
        if let Some(stream) = self.pick_stream(which) {
            stream.call.finish();
        }
    }

    fn drop_stream(&mut self, which: u8) {
        if !self.streams.is_empty() {
            self.streams.swap_remove(usize::from(which) % self.streams.len());
        }
    }

    fn take_reply(&mut self, which: u8) {
        let count = self.streams.len();
        if count > 0 {
            let at = usize::from(which) % count;
            if self.streams[at].has_ended(self.desk.lied()) {
                self.streams.swap_remove(at);
            }
        }
    }

    /// Takes all that has come, and what has ended.
    pub(in crate::session) fn drain_streams(&mut self) {
        let lied = self.desk.lied();
        self.streams.retain_mut(|stream| {
            stream.call.finish();
            while stream.take(lied) {}
            !stream.has_ended(lied)
        });
    }
}

impl Stream {
    /// Takes the next item; says whether there was one.
    fn take(&mut self, lied: bool) -> bool {
        match self.call.poll_item(&mut context()) {
            Poll::Ready(Some(body)) => {
                assert!(self.streams.receives && !self.drained, "an item where there is none");
                assert!(lied || is_item(&body, self.taken), "another item than that of number {}", self.taken);
                self.taken += 1;
                true
            }
            Poll::Ready(None) => {
                self.drained = true;
                false
            }
            Poll::Pending => {
                assert!(!self.drained, "a stream goes on behind its end");
                false
            }
        }
    }

    /// Takes the outcome, if there is one.
    fn has_ended(&mut self, lied: bool) -> bool {
        let Poll::Ready(outcome) = self.call.poll_reply(&mut context()) else { return false };
        match outcome {
            Ok(reply) if !lied && self.streams.any() => {
                let (sent, taken) = read_counts(&reply.body).expect("an honest peer counts items");
                assert!(
                    !self.drained || !self.streams.receives || self.taken == sent,
                    "{} of {sent} items",
                    self.taken
                );
                assert!(taken.is_none_or(|taken| taken == self.sent), "{} items, but {taken:?} arrived", self.sent);
            }
            Ok(_) => {}
            Err(CallError::WouldBlock) => panic!("a call that was sent would block"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        true
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
