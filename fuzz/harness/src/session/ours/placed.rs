//! The user's bodies that are written where they are sent from, and calls as futures, which are dropped at any time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Arbitrary;
use rapace_session::{CallError, CallOptions, Draft, Reply, Role};

use super::{Ours, at_once, small_metadata};
use crate::session::script::Size;

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(in crate::session) enum PlacedOp {
    Call(Size, Options),
    Start(Size, Options),
    /// Writes a body in so many pieces, and keeps it.
    Write {
        size: Size,
        pieces: u8,
        options: Options,
    },
    /// Sends what was written, perhaps with options that it was not written for.
    Send(u8, Options),
    Discard(u8),
    /// Makes a call as a future and polls it once.
    Future(Size, Options),
    Poll(u8),
    Forget(u8),
    Reply {
        which: u8,
        size: Size,
        pieces: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(in crate::session) enum Options {
    None,
    AtOnce,
    Later,
    Metadata,
    Idempotent,
}

impl Options {
    fn make(self) -> CallOptions {
        match self {
            Self::None => CallOptions::new(),
            Self::AtOnce => at_once(),
            Self::Later => CallOptions::new().deadline(Duration::from_secs(3600)),
            Self::Metadata => CallOptions::new().metadata(small_metadata()),
            Self::Idempotent => CallOptions::new().idempotent(),
        }
    }
}

/// What was written and not sent, and calls that are futures.
#[derive(Default)]
pub(super) struct Placed {
    drafts: Vec<(Draft, Vec<u8>)>,
    futures: Vec<(CallFuture, Vec<u8>)>,
}

type CallFuture = Pin<Box<dyn Future<Output = Result<Reply, CallError>>>>;

impl<R: Role> Ours<R> {
    pub(in crate::session) fn place(&mut self, op: PlacedOp) {
        let caller = self.session.caller();
        match op {
            PlacedOp::Call(size, options) => {
                let body = crate::pattern(size.bytes());
                // Whoever waits for the peer in earnest does so for ever: it is asked by the same thread.
                let options = options.make().deadline(Duration::ZERO);
                let outcome = caller.call_in_place(1, body.len(), |place| place.copy_from_slice(&body), &options);
                self.judge(outcome, &body);
            }
            PlacedOp::Start(size, options) => {
                let body = crate::pattern(size.bytes());
                let options = options.make();
                // It waits for room.
                let options = if options.get_deadline().is_some() { at_once() } else { options };
                match caller.start_in_place(1, body.len(), |place| place.copy_from_slice(&body), &options) {
                    Ok(call) => self.calls.push((call, body)),
                    Err(error) => self.judge(Err(error), &body),
                }
            }
            PlacedOp::Write { size, pieces, options } => {
                let (body, options) = (crate::pattern(size.bytes()), options.make());
                let mut writer = caller.draft(&options);
                write(&body, pieces, |piece| writer.extend(piece));
                let draft = writer.finish();
                assert!(*draft == *body, "another body was written");
                self.placed.drafts.push((draft, body));
            }
            PlacedOp::Send(which, options) => {
                if let Some((draft, body)) = take(&mut self.placed.drafts, which) {
                    assert!(*draft == *body, "a body was written to");
                    let outcome = caller.call_draft(1, draft, &options.make().deadline(Duration::ZERO));
                    self.judge(outcome, &body);
                }
            }
            PlacedOp::Discard(which) => drop(take(&mut self.placed.drafts, which)),
            PlacedOp::Future(size, options) => {
                let (body, options) = (crate::pattern(size.bytes()), options.make());
                let sent = body.clone();
                self.poll((Box::pin(async move { caller.call(1, &sent, &options).await }), body));
            }
            PlacedOp::Poll(which) => {
                if let Some(call) = take(&mut self.placed.futures, which) {
                    self.poll(call);
                }
            }
            PlacedOp::Forget(which) => drop(take(&mut self.placed.futures, which)),
            PlacedOp::Reply { which, size, pieces } => self.desk.answer_in_place(which, size, pieces),
        }
    }

    fn poll(&mut self, (mut call, body): (CallFuture, Vec<u8>)) {
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => self.judge(outcome, &body),
            Poll::Pending => self.placed.futures.push((call, body)),
        }
    }

    /// Discards what was written and not sent.
    pub(in crate::session) fn discard_drafts(&mut self) {
        self.placed.drafts.clear();
    }

    /// Polls all futures.
    pub(in crate::session) fn poll_all(&mut self) {
        for call in std::mem::take(&mut self.placed.futures) {
            self.poll(call);
        }
    }

    /// Whether there are some that are not ready.
    pub(in crate::session) fn has_futures(&self) -> bool {
        !self.placed.futures.is_empty()
    }
}

/// Writes a body in pieces: some bytes at first, as a length would be, and then up to four that are about as long.
pub(in crate::session) fn write(body: &[u8], pieces: u8, mut extend: impl FnMut(&[u8])) {
    let (head, rest) = body.split_at(body.len().min(pieces.into()));
    extend(head);
    rest.chunks(rest.len().div_ceil(usize::from(pieces % 5).max(1)).max(1)).for_each(&mut extend);
}

fn take<T>(list: &mut Vec<T>, which: u8) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(usize::from(which) % list.len()))
}
