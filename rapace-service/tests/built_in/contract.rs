//! A service with a method of each kind, and an implementation of it.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::thread::{self, ThreadId};

use rapace_macros::{message, service};
use rapace_service::{Context, Incoming, Stream};

#[message(crate = "rapace_service")]
#[derive(Eq)]
pub(crate) enum Refusal {
    Zero,
    Large { found: i64 },
}

#[message(crate = "rapace_service")]
pub(crate) struct Blob {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

#[service(name = "test.Everything", version = "1.0", crate = "rapace_service")]
pub(crate) trait EverythingService {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn checked(&self, number: i64) -> Result<i64, Refusal>;
    async fn lent(&self, text: &str, bytes: &[u8]) -> Option<Vec<u8>>;
    async fn bytes(&self, fail: bool, bytes: Vec<u8>) -> Result<Vec<u8>, Vec<u8>>;
    async fn blob(&self, blob: Blob) -> Blob;
    async fn nothing(&self);
    async fn r#type(&self, call: u8, context: u8, direct: u8, answer: u8) -> u8;
    /// What the context says.
    async fn about(&self, ctx: &Context, text: &str) -> String;
    /// Answers when another thread says so.
    async fn later(&self, number: u64) -> u64;
    async fn never(&self);
    async fn panics(&self);
    async fn panics_later(&self) -> Result<u8, String>;
    /// Where the bytes lie, and whether this is the thread that calls.
    async fn place(&self, bytes: Vec<u8>) -> (u64, bool);
    async fn clone(&self) -> u8;

    async fn sum(&self, scale: u64, numbers: Incoming<u64>) -> u64;
    async fn first(&self, ctx: &Context, numbers: Incoming<u64>) -> Result<u64, String>;
    fn count(&self, to: u64) -> impl Stream<Item = u64>;
    fn letters(&self, ctx: &Context, word: &str, bytes: &[u8]) -> impl Stream<Item = String>;
    async fn later_letters(&self, word: &str) -> impl Stream<Item = Vec<u8>>;
    fn endless(&self) -> impl Stream<Item = u64>;
    fn breaks(&self, after: u64) -> impl Stream<Item = u64>;
    fn echo(&self, words: Incoming<String>) -> impl Stream<Item = Result<String, Refusal>>;
}

/// The implementation, and what is seen of it.
#[derive(Clone, Default)]
pub(crate) struct Everything {
    /// Items of `endless` that were made.
    pub(crate) made: Arc<AtomicU64>,
    /// Handlers and streams that have been dropped before their end.
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) caller: Option<ThreadId>,
}

/// Counts when it is dropped.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A stream of an iterator, which is not ready before each item.
struct Slow<I>(I, bool);

impl<I: Iterator + Unpin> Stream for Slow<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<I::Item>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.next())
    }
}

pub(crate) fn slow<I: Iterator + Unpin>(items: I) -> impl Stream<Item = I::Item> + Unpin {
    Slow(items, false)
}

struct Echo(Incoming<String>);

impl Stream for Echo {
    type Item = Result<String, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|word| {
            let word = word?.ok()?;
            Some(if word.is_empty() { Err(Refusal::Zero) } else { Ok(word.to_uppercase()) })
        })
    }
}

/// Ready once another thread has run.
async fn another_thread() {
    let done = Arc::new(AtomicBool::new(false));
    let mut started = false;
    poll_fn(|cx| {
        if done.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut started, true) {
            cx.waker().wake_by_ref();
        } else {
            let (done, waker) = (Arc::clone(&done), cx.waker().clone());
            thread::spawn(move || {
                done.store(true, Ordering::SeqCst);
                waker.wake();
            });
        }
        Poll::Pending
    })
    .await;
}

impl EverythingService for Everything {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn checked(&self, number: i64) -> Result<i64, Refusal> {
        match number {
            0 => Err(Refusal::Zero),
            found @ 100.. => Err(Refusal::Large { found }),
            number => Ok(-number),
        }
    }

    async fn lent(&self, text: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        (!text.is_empty()).then(|| [text.as_bytes(), bytes].concat())
    }

    async fn bytes(&self, fail: bool, mut bytes: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        bytes.reverse();
        if fail { Err(bytes) } else { Ok(bytes) }
    }

    async fn blob(&self, mut blob: Blob) -> Blob {
        blob.name.push('!');
        blob
    }

    async fn nothing(&self) {}

    async fn r#type(&self, call: u8, context: u8, direct: u8, answer: u8) -> u8 {
        call + context + direct + answer
    }

    async fn about(&self, ctx: &Context, text: &str) -> String {
        let pairs: Vec<_> = ctx.metadata().iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let has_time = ctx.time_left().is_some_and(|left| !left.is_zero()) && ctx.deadline().is_some();
        let trace = ctx.trace().map(|trace| trace.trace_id.to_string());
        let (method, peer, depth) = (ctx.method().full_name(), ctx.peer(), ctx.depth());
        format!("{text}: {method} {peer} {depth} {pairs:?} {has_time} {} {trace:?}", ctx.is_cancelled())
    }

    async fn later(&self, number: u64) -> u64 {
        another_thread().await;
        number + 1
    }

    async fn never(&self) {
        let _counted = Counted(Arc::clone(&self.dropped));
        pending().await
    }

    async fn panics(&self) {
        panic!("as it should");
    }

    async fn panics_later(&self) -> Result<u8, String> {
        another_thread().await;
        panic!("as it should, too");
    }

    async fn place(&self, bytes: Vec<u8>) -> (u64, bool) {
        (bytes.as_ptr().addr() as u64, self.caller == Some(thread::current().id()))
    }

    async fn clone(&self) -> u8 {
        7
    }

    async fn sum(&self, scale: u64, mut numbers: Incoming<u64>) -> u64 {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number.unwrap();
        }
        sum * scale
    }

    async fn first(&self, ctx: &Context, mut numbers: Incoming<u64>) -> Result<u64, String> {
        numbers.next().await.ok_or_else(|| ctx.method().name.to_owned())?.map_err(|error| error.to_string())
    }

    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        slow(1..=to)
    }

    fn letters(&self, ctx: &Context, word: &str, bytes: &[u8]) -> impl Stream<Item = String> {
        slow(word.chars().zip(bytes).map(|(letter, byte)| format!("{letter}{byte}{}", ctx.depth())))
    }

    async fn later_letters(&self, word: &str) -> impl Stream<Item = Vec<u8>> {
        another_thread().await;
        slow(word.bytes().map(|letter| vec![letter]))
    }

    fn endless(&self) -> impl Stream<Item = u64> {
        let (made, counted) = (Arc::clone(&self.made), Counted(Arc::clone(&self.dropped)));
        slow((0..).inspect(move |_| {
            let _counted = &counted;
            made.fetch_add(1, Ordering::SeqCst);
        }))
    }

    fn breaks(&self, after: u64) -> impl Stream<Item = u64> {
        slow((0..).map(move |item| if item < after { item } else { panic!("as it should, amid items") }))
    }

    fn echo(&self, words: Incoming<String>) -> impl Stream<Item = Result<String, Refusal>> {
        Echo(words)
    }
}
