//! What a plugin does with streams at the wish of its host: it opens some of its own, and reads slowly.

use std::sync::Arc;

use rapace_session::{CallError, IncomingCall, PeerB, Router, Session};
use rapace_tests::cancel::Point;
use rapace_tests::pattern::{word, words};
use rapace_tests::slow;
use rapace_tests::stream::{Kind, Load, check};
use rapace_tests::streaming::answer_count;
use rapace_tests::{join, method};

use crate::plugin::Own;

/// Adds those methods.
pub(crate) fn with_streams(router: Router, own: &Own) -> Router {
    let [cancelling, taking] = [(); 2].map(|()| Arc::clone(own));
    router
        .method(method::LOAD_HOST, |call: IncomingCall| {
            call.run_async(|call| async move {
                let good = load_host(&call).await;
                answer_count(call, Ok(good));
            });
        })
        .method(method::CANCEL_TO_HOST, move |call: IncomingCall| {
            let Some(session) = cancelling.get().cloned() else { return };
            call.run_async(|call| async move {
                let credit = cancel_to_host(&call, &session).await;
                answer_count(call, credit);
            });
        })
        .method(method::TAKE_SLOWLY, move |call: IncomingCall| {
            let Some(session) = taking.get().cloned() else { return };
            call.run_async(|call| take_slowly(call, session));
        })
}

/// How many calls went well.
async fn load_host(call: &IncomingCall) -> u64 {
    let [calls, count, bytes] = [0, 1, 2].map(|index| word(call.body(), index));
    let (Ok(calls), Ok(bytes)) = (usize::try_from(calls), usize::try_from(bytes)) else { return 0 };
    let jobs = Load::mixed(calls, count, bytes).into_iter().map(|load| load.job(call.caller())).collect();
    join::all(jobs).await.into_iter().filter(Result::is_ok).count() as u64
}

async fn cancel_to_host(call: &IncomingCall, session: &Session<PeerB>) -> Result<u64, CallError> {
    let point = usize::try_from(word(call.body(), 0)).ok().and_then(|index| Point::ALL.get(index));
    check(point.is_some(), || "there is no such point".to_owned())?;
    match point {
        // The request of this call itself is nothing that is kept.
        Some(point) => point.cancel(&call.caller(), || session.stats()).await,
        None => Ok(0),
    }
}

async fn take_slowly(call: IncomingCall, session: Session<PeerB>) {
    let (load, mut items) = (Load::of(call.body(), Kind::Client), call.items());
    let taken =
        slow::take_slowly(load, |cx| items.poll_next(cx).map(Option::transpose), || session.stats().inbound_bytes);
    match taken.await {
        Ok((count, most)) => call.reply(&words(&[count, most])),
        Err(error) => answer_count(call, Err(error)),
    }
}
