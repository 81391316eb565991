//! What the clients of all async systems do with a call of theirs.

use std::collections::VecDeque;
use std::future::Future;
use std::task::Poll;

use futures::poll;
use tokio::runtime::{Builder, Runtime};

use crate::Error;
use crate::work::Work;

/// How many payloads one way are under way at a time, where each is a call.
const ONE_WAY_DEPTH: usize = 8;

/// One thread, on either side: with one connection, a second would only be in the way.
pub fn runtime() -> Result<Runtime, Error> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// One call after the other.
pub async fn sequential<R, F>(work: &mut Work, mut call: impl FnMut(Vec<u8>) -> F) -> Result<(), Error>
where
    R: AsRef<[u8]>,
    F: Future<Output = Result<R, Error>>,
{
    while let Some(body) = work.begin_owned() {
        let reply = call(body).await?;
        work.end(reply.as_ref())?;
    }
    Ok(())
}

/// As many calls at a time as the work says.
pub async fn in_flight<R, F>(work: &mut Work, call: impl FnMut(Vec<u8>) -> F) -> Result<(), Error>
where
    R: AsRef<[u8]>,
    F: Future<Output = Result<R, Error>>,
{
    at_a_time(work.depth(), work, call, |work, reply| work.end(reply.as_ref())).await
}

/// Payloads one way, each a call that is answered with its sum.
pub async fn one_way<F>(work: &mut Work, call: impl FnMut(Vec<u8>) -> F) -> Result<(), Error>
where
    F: Future<Output = Result<u64, Error>>,
{
    let mut total = 0u64;
    let add = |_: &mut Work, sum| {
        total = total.wrapping_add(sum);
        Ok(())
    };
    at_a_time(ONE_WAY_DEPTH, work, call, add).await?;
    work.settle(total)
}

/// Each call is polled once, which sends it, and the oldest is awaited: with answers that come in order it costs all systems
/// less than `FuturesUnordered`.
async fn at_a_time<R, F>(
    depth: usize,
    work: &mut Work,
    mut call: impl FnMut(Vec<u8>) -> F,
    mut end: impl FnMut(&mut Work, R) -> Result<(), Error>,
) -> Result<(), Error>
where
    F: Future<Output = Result<R, Error>>,
{
    let mut open = VecDeque::with_capacity(depth);
    loop {
        while open.len() < depth {
            let Some(body) = work.begin_owned() else { break };
            let mut call = Box::pin(call(body));
            match poll!(&mut call) {
                Poll::Ready(reply) => end(work, reply?)?,
                Poll::Pending => open.push_back(call),
            }
        }
        let Some(oldest) = open.pop_front() else { return Ok(()) };
        end(work, oldest.await?)?;
    }
}
