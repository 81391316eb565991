//! Many futures at once, on one thread.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A future of whatever kind.
pub type Job<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs all of them, and gives what they give in the order in which they end.
pub async fn all<T>(mut jobs: Vec<Job<'_, T>>) -> Vec<T> {
    let mut done = Vec::new();
    poll_fn(|cx| {
        jobs.retain_mut(|job| match job.as_mut().poll(cx) {
            Poll::Ready(value) => {
                done.push(value);
                false
            }
            Poll::Pending => true,
        });
        if jobs.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}
