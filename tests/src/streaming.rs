//! Handlers of calls with items.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rapace_session::{Body, CallError, IncomingCall, Items, Router, Status};

use crate::method;
use crate::pattern::{word, words};
use crate::stream::{Kind, Load, rest};

/// What became of the calls of [`method::HOLD_ITEMS`].
#[derive(Debug, Default)]
pub struct HeldStreams {
    begun: AtomicU64,
    cancelled: AtomicU64,
}

/// Adds the methods that both sides have.
#[must_use]
pub fn with_streams(router: Router) -> Router {
    let held = Arc::new(HeldStreams::default());
    let counted = Arc::clone(&held);
    router
        .method(method::SEND_ITEMS, |call: IncomingCall| {
            call.run_async(|call| async move {
                let result = send_items(&call).await;
                answer_count(call, result);
            });
        })
        .method(method::TAKE_ITEMS, |call: IncomingCall| {
            call.run_async(|call| async move {
                let result = take_items(&call).await;
                answer_count(call, result);
            });
        })
        .method(method::ECHO_ITEMS, |call: IncomingCall| {
            call.run_async(|call| async move {
                let result = echo_items(&call).await;
                answer_count(call, result);
            });
        })
        .method(method::HOLD_ITEMS, move |call: IncomingCall| {
            let held = Arc::clone(&held);
            call.run_async(|call| hold_items(held, call));
        })
        .method(method::HELD_ITEMS, move |call: IncomingCall| {
            let counts = [&counted.begun, &counted.cancelled].map(|count| count.load(Ordering::SeqCst));
            call.reply(&words(&counts));
        })
        .method(method::PANIC_LATER, |call: IncomingCall| call.run_async(panic_later))
        .method(method::DROP_AMID, |call: IncomingCall| call.run_async(drop_amid))
}

/// Answers with a count, or with what went wrong.
pub fn answer_count(call: IncomingCall, result: Result<u64, CallError>) {
    match result {
        Ok(count) => call.reply(&words(&[count])),
        Err(error) => call.fail(Status::new(error.code(), error.to_string())),
    }
}

/// The next item of the caller.
///
/// # Errors
///
/// As [`Items::poll_next`].
pub async fn next_item(items: &mut Items) -> Result<Option<Body>, CallError> {
    poll_fn(|cx| items.poll_next(cx)).await.transpose()
}

async fn send_items(call: &IncomingCall) -> Result<u64, CallError> {
    let load = Load::of(call.body(), Kind::Server);
    for number in 0..load.count {
        let item = load.item(number);
        poll_fn(|cx| call.poll_send(cx, &item)).await?;
    }
    Ok(load.count)
}

async fn take_items(call: &IncomingCall) -> Result<u64, CallError> {
    let (load, mut items, mut count) = (Load::of(call.body(), Kind::Client), call.items(), 0);
    while let Some(item) = next_item(&mut items).await? {
        load.check(count, &item)?;
        count += 1;
    }
    Ok(count)
}

async fn echo_items(call: &IncomingCall) -> Result<u64, CallError> {
    let (mut items, mut count) = (call.items(), 0);
    while let Some(item) = next_item(&mut items).await? {
        poll_fn(|cx| call.poll_send(cx, &item)).await?;
        count += 1;
    }
    Ok(count)
}

async fn hold_items(held: Arc<HeldStreams>, call: IncomingCall) {
    held.begun.fetch_add(1, Ordering::SeqCst);
    poll_fn(|cx| call.poll_cancelled(cx)).await;
    held.cancelled.fetch_add(1, Ordering::SeqCst);
    // It never answers: dropped, the call is over.
    drop(call);
}

/// Not in place, but when the executor has it.
async fn panic_later(call: IncomingCall) {
    rest().await;
    rest().await;
    panic!("as the caller of {} wants it", call.method());
}

async fn drop_amid(call: IncomingCall) {
    for number in 0..word(call.body(), 0) {
        if poll_fn(|cx| call.poll_send(cx, &words(&[number]))).await.is_err() {
            return;
        }
    }
}
