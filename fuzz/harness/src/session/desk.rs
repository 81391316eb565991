//! The session's handlers: some answer at once, others hold their calls until the script says what becomes of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use rapace_session::{Code, IncomingCall, Items, Status};

use super::items::{counts, is_item, item};
use super::ours::{at_once, small_metadata, write};
use super::script::Size;
use super::{DEPTH_MAX, ECHO, MESSAGE_BYTES_MAX, METADATA_BYTES_MAX};

/// The handler's state.
#[derive(Debug, Default)]
pub(super) struct Desk {
    held: Mutex<Vec<Held>>,
    /// What was wrong with a call. The session catches a handler's panics, so it is said later.
    complaint: Mutex<Option<String>>,
    lied: AtomicBool,
}

/// A call that is held, and how far its streams have come.
#[derive(Debug)]
struct Held {
    call: IncomingCall,
    items: Items,
    sent: u64,
    taken: u64,
    ended: bool,
    failed: bool,
}

impl Desk {
    /// Takes note of whether the peer has lied.
    pub(super) fn note(&self, lied: bool) {
        self.lied.store(lied, Ordering::Relaxed);
    }

    pub(super) fn lied(&self) -> bool {
        self.lied.load(Ordering::Relaxed)
    }

    pub(super) fn complaint(&self) -> Option<String> {
        self.complaint.lock().expect("no panic holds this lock").take()
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().expect("no panic holds this lock")
    }

    pub(super) fn handle(&self, call: IncomingCall) {
        let metadata = call.metadata().iter().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>();
        let sound = call.body().len() <= MESSAGE_BYTES_MAX
            && metadata <= METADATA_BYTES_MAX
            && (1..=DEPTH_MAX).contains(&call.depth())
            && (self.lied() || call.body() == crate::pattern(call.body().len()));
        if !sound {
            *self.complaint.lock().expect("no panic holds this lock") = Some(format!("{call:?}"));
        }
        let action = call.method() % 10;
        if action == 1 {
            let items = call.items();
            self.held().push(Held { call, items, sent: 0, taken: 0, ended: false, failed: false });
        } else {
            act(call, action);
        }
    }

    /// One of the calls that are held sends an item, if it may.
    pub(super) fn send_item(&self, which: u8, size: Size) {
        let mut held = self.held();
        let count = held.len().max(1);
        let Some(Held { call, sent, .. }) = held.get_mut(usize::from(which) % count) else { return };
        let mut context = Context::from_waker(Waker::noop());
        match call.poll_send(&mut context, &item(*sent, size.bytes())) {
            Poll::Ready(Ok(())) => {
                assert!(call.streams().receives, "an item to a caller that takes none");
                *sent += 1;
            }
            Poll::Ready(Err(error)) => assert!(!error.to_string().is_empty()),
            Poll::Pending => {}
        }
    }

    /// One of the calls that are held takes an item, if there is one.
    pub(super) fn take_item(&self, which: u8) {
        let mut held = self.held();
        let count = held.len().max(1);
        let Some(Held { call, items, taken, ended, failed, .. }) = held.get_mut(usize::from(which) % count) else {
            return;
        };
        let before = *ended;
        match items.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(body))) => {
                assert!(call.streams().sends && !before, "an item where there is none");
                assert!(self.lied() || is_item(&body, *taken), "another item than that of number {taken}");
                *taken += 1;
            }
            Poll::Ready(Some(Err(error))) => *failed = !error.to_string().is_empty(),
            Poll::Ready(None) => *ended = !*failed,
            Poll::Pending => assert!(!before, "a stream goes on behind its end"),
        }
    }

    /// Answers one of the calls that are held.
    pub(super) fn answer(&self, which: u8, action: u8) {
        let mut held = self.held();
        let count = held.len();
        let held_call = (count > 0).then(|| held.swap_remove(usize::from(which) % count));
        drop(held);
        if let Some(Held { call, sent, taken, ended, .. }) = held_call {
            if call.streams().any() && u32::from(action) % 10 == ECHO {
                return call.reply(&counts(sent, ended.then_some(taken)));
            }
            // A panic outside a handler is the user's own.
            act(call, if action % 10 == 3 { 4 } else { u32::from(action % 10) });
        }
    }

    /// Answers one of the calls that are held with a body that is written where it is sent from: at once, or in pieces.
    pub(super) fn answer_in_place(&self, which: u8, size: Size, pieces: u8) {
        let mut held = self.held();
        let count = held.len();
        let held_call = (count > 0).then(|| held.swap_remove(usize::from(which) % count));
        drop(held);
        let Some(Held { call, sent, taken, ended, .. }) = held_call else { return };
        let has_streams = call.streams().any();
        let body = if has_streams { counts(sent, ended.then_some(taken)) } else { crate::pattern(size.bytes()) };
        if pieces.is_multiple_of(5) {
            return call.reply_in_place(body.len(), |place| place.copy_from_slice(&body));
        }
        let mut writer = call.draft();
        write(&body, pieces, |piece| writer.extend(piece));
        let draft = writer.finish();
        call.reply_draft(draft);
    }

    /// Answers all that are held.
    pub(super) fn answer_all(&self) {
        while !self.held().is_empty() {
            self.answer(0, 0);
        }
    }
}

/// Ends a call, in one of ten ways.
fn act(mut call: IncomingCall, action: u32) {
    match action {
        ECHO => {
            let body = call.take_body();
            call.reply(&body);
        }
        2 => call.fail(Status { details: vec![7; 100], ..Status::new(Code::NotFound, "not here") }),
        // The fuzzer's own hook would end the process at a plain panic.
        3 => std::panic::resume_unwind(Box::new("the handler panics")),
        4 => drop(call),
        5 => {
            let nested = call.call_back(1, call.body(), &at_once());
            call.fail(Status::new(nested.map_or_else(|error| error.code(), |_| Code::Internal), "nested"));
        }
        6 => call.reply_with(b"decorated", &small_metadata()),
        7 => call.reply(&crate::pattern(9000)),
        8 => call.reply(&crate::pattern(20_000)),
        _ if call.is_cancelled() => call.fail(Status::new(Code::Cancelled, "")),
        _ => call.unimplemented(),
    }
}
