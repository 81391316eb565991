//! Methods with streams, through real sessions.
#![allow(clippy::unwrap_used)]

mod pair;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use pair::{Pair, pair};
use rapace_macros::{message, service};
use rapace_registry::{MethodId, MethodKind};
use rapace_service::{Context, Described, Error, Incoming, Services, Stream, schema};
use rapace_session::{CallError, CallOptions, Code, NoService};

#[message(crate = "rapace_service")]
#[derive(Eq)]
struct EchoError {
    word: String,
}

#[service(name = "test.Streams", version = "1.0", crate = "rapace_service")]
trait Streams {
    async fn sum(&self, scale: f64, numbers: Incoming<f64>) -> f64;
    async fn total(&self, pieces: Incoming<Vec<u8>>) -> u64;
    /// Takes one and answers.
    async fn first(&self, numbers: Incoming<u64>) -> Result<u64, String>;
    fn count(&self, to: u64) -> impl Stream<Item = u64>;
    fn letters(&self, word: &str, ctxless: &[u8]) -> impl Stream<Item = String>;
    async fn later(&self, ctx: &Context, size: u32, count: u32) -> impl Stream<Item = Vec<u8>>;
    fn echo(&self, words: Incoming<String>) -> impl Stream<Item = Result<String, EchoError>>;
    fn forever(&self, ctx: &Context) -> impl Stream<Item = ()>;
    async fn waits(&self, ctx: &Context) -> u8;
    fn breaks(&self) -> impl Stream<Item = u8>;
}

/// An iterator that lets others run before each item.
struct Slow<I> {
    items: I,
    ready: bool,
}

fn slow<I: Iterator>(items: I) -> Slow<I> {
    Slow { items, ready: false }
}

impl<I: Iterator + Unpin> Stream for Slow<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<I::Item>> {
        self.ready = !self.ready;
        if self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.items.next())
    }
}

/// Says when it is dropped; has one item, and never an end.
struct Forever(Arc<AtomicBool>, bool);

impl Stream for Forever {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<()>> {
        if std::mem::replace(&mut self.1, true) { Poll::Pending } else { Poll::Ready(Some(())) }
    }
}

impl Drop for Forever {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Echo(Incoming<String>);

impl Stream for Echo {
    type Item = Result<String, EchoError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|word| {
            let word = word?.ok()?;
            Some(if word.is_empty() { Err(EchoError { word }) } else { Ok(word.to_uppercase()) })
        })
    }
}

struct Impl {
    dropped: Arc<AtomicBool>,
    events: mpsc::Sender<&'static str>,
}

impl Streams for Impl {
    async fn sum(&self, scale: f64, mut numbers: Incoming<f64>) -> f64 {
        let mut sum = 0.0;
        while let Some(number) = numbers.next().await {
            sum += number.unwrap();
        }
        sum * scale
    }

    async fn total(&self, mut pieces: Incoming<Vec<u8>>) -> u64 {
        let mut total = 0;
        while let Some(piece) = pieces.next().await {
            total += piece.unwrap().len() as u64;
        }
        total
    }

    async fn first(&self, mut numbers: Incoming<u64>) -> Result<u64, String> {
        numbers.next().await.ok_or("there is none")?.map_err(|error| error.to_string())
    }

    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        slow(1..=to)
    }

    fn letters(&self, word: &str, ctxless: &[u8]) -> impl Stream<Item = String> {
        slow(word.chars().zip(ctxless).map(|(letter, byte)| format!("{letter}{byte}")))
    }

    async fn later(&self, ctx: &Context, size: u32, count: u32) -> impl Stream<Item = Vec<u8>> {
        assert_eq!(ctx.method().name, "later");
        slow((0..count).map(move |index| vec![index.to_le_bytes()[0]; size as usize]))
    }

    fn echo(&self, words: Incoming<String>) -> impl Stream<Item = Result<String, EchoError>> {
        Echo(words)
    }

    fn forever(&self, _: &Context) -> impl Stream<Item = ()> {
        Forever(Arc::clone(&self.dropped), false)
    }

    async fn waits(&self, ctx: &Context) -> u8 {
        self.events.send("began").unwrap();
        ctx.cancelled().await;
        self.events.send("cancelled").unwrap();
        7
    }

    fn breaks(&self) -> impl Stream<Item = u8> {
        slow((0..2).map(|item| if item == 0 { item } else { panic!("as it should") }))
    }
}

struct Serving {
    pair: Pair,
    dropped: Arc<AtomicBool>,
    events: mpsc::Receiver<&'static str>,
}

fn serving() -> Serving {
    let dropped = Arc::new(AtomicBool::new(false));
    let (sender, events) = mpsc::channel();
    let implementation = Impl { dropped: Arc::clone(&dropped), events: sender };
    let pair = pair(NoService, Services::new().add(StreamsServer::new(implementation)));
    Serving { pair, dropped, events }
}

async fn collect<T>(mut incoming: Incoming<T>) -> Vec<T> {
    let mut items = Vec::new();
    while let Some(item) = incoming.next().await {
        items.push(item.unwrap());
    }
    items
}

#[test]
fn an_async_client_streams_each_way() {
    let Serving { pair, .. } = serving();
    let client = StreamsClient::new(&pair.host);
    pair.host.block_on(async {
        assert_eq!(client.sum(0.5, slow((1..=1000).map(f64::from))).await, Ok(250_250.0));
        assert_eq!(collect(client.count(1000).await.unwrap()).await, (1..=1000).collect::<Vec<u64>>());
        assert_eq!(collect(client.letters("ab", &[7, 8]).await.unwrap()).await, ["a7", "b8"]);
        assert!(collect(client.count(0).await.unwrap()).await.is_empty());
        let words = ["one", "", "three"].map(str::to_owned);
        let echoed = collect(client.echo(slow(words.into_iter())).await.unwrap()).await;
        assert_eq!(echoed, [Ok("ONE".to_owned()), Err(EchoError { word: String::new() }), Ok("THREE".to_owned())]);
    });
}

#[test]
fn a_blocking_client_streams_each_way() {
    let Serving { pair, .. } = serving();
    let client = StreamsClient::new(&pair.host).blocking();
    assert_eq!(client.sum(2.0, [1.0, 2.5]), Ok(7.0));
    assert_eq!(client.count(3).unwrap().collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2, 3]));
    let words: Vec<String> = (0..500).map(|word| format!("word {word}")).collect();
    let echoed: Vec<_> = client.echo(words.clone()).unwrap().map(|word| word.unwrap().unwrap()).collect();
    assert_eq!(echoed, words.iter().map(|word| word.to_uppercase()).collect::<Vec<_>>());
}

#[test]
fn streams_larger_than_the_shared_memory_flow_both_ways() {
    let Serving { pair, .. } = serving();
    let client = StreamsClient::new(&pair.host).blocking();
    let pieces = (0..200).map(|_| vec![1; 100_000]);
    assert_eq!(client.total(pieces), Ok(20_000_000));
    let mut count = 0;
    for piece in client.later(100_000, 200).unwrap() {
        let piece = piece.unwrap();
        assert!(piece.len() == 100_000 && piece[0] == u8::try_from(count).unwrap());
        count += 1;
    }
    assert_eq!(count, 200);
}

#[test]
fn a_callee_that_has_enough_answers_before_the_stream_ends() {
    let Serving { pair, .. } = serving();
    let client = StreamsClient::new(&pair.host).blocking();
    assert_eq!(client.first(5..), Ok(5));
    assert_eq!(client.first([]), Err(Error::Service("there is none".to_owned())));
}

#[test]
fn a_stream_that_is_dropped_cancels_its_call() {
    let Serving { pair, dropped, .. } = serving();
    let client = StreamsClient::new(&pair.host);
    let mut incoming = pair.host.block_on(client.forever()).unwrap();
    assert_eq!(pair.host.block_on(incoming.next()), Some(Ok(())));
    assert!(!dropped.load(Ordering::SeqCst));
    drop(incoming);
    while !dropped.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    // The session goes on.
    assert_eq!(client.blocking().count(1).unwrap().count(), 1);
}

#[test]
fn a_stream_meets_its_deadline_and_ends_with_it() {
    let Serving { pair, .. } = serving();
    let client = StreamsClient::new(&pair.host).with_deadline(Duration::from_millis(20));
    pair.host.block_on(async {
        let mut incoming = client.forever().await.unwrap();
        // A busy machine may be too slow for the one item.
        let error = loop {
            if let Err(error) = incoming.next().await.unwrap() {
                break error;
            }
        };
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!(incoming.next().await, None);
    });
    let mut incoming = client.blocking().forever().unwrap();
    assert_eq!(incoming.by_ref().filter(Result::is_err).count(), 1);
    assert_eq!(incoming.next(), None);
}

#[test]
fn a_handler_is_told_of_its_cancellation() {
    let Serving { pair, events, .. } = serving();
    let client = StreamsClient::new(&pair.host);
    pair.host.block_on(async {
        let mut call = Box::pin(client.waits());
        // One that is cancelled before its handler begins has none.
        poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            cx.waker().wake_by_ref();
            if events.try_recv() == Ok("began") { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    assert_eq!(events.recv_timeout(Duration::from_secs(20)), Ok("cancelled"));
}

#[test]
fn a_stream_that_breaks_says_of_which_method() {
    let Serving { pair, .. } = serving();
    let items: Vec<_> = StreamsClient::new(&pair.host).blocking().breaks().unwrap().collect();
    let [Ok(0), Err(error)] = &items[..] else { panic!("{items:?}") };
    assert!(error.to_string().contains("the handler of test.Streams.breaks panicked"), "{error}");
}

#[test]
fn a_call_without_its_streams_is_refused() {
    let Serving { pair, .. } = serving();
    let sum = StreamsClient::METHODS[0];
    let error = pair.host.call(sum.id, &[0; 8], &CallOptions::new()).unwrap_err();
    let CallError::Status(status) = error else { panic!("{error}") };
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.message.contains("test.Streams.sum is ClientStreaming"), "{status}");
}

#[test]
fn an_item_that_is_none_is_an_error_on_either_side() {
    let Serving { pair, .. } = serving();
    let first = *StreamsClient::METHODS.iter().find(|method| method.name == "first").unwrap();
    let streams = rapace_session::Streams { sends: true, receives: false };
    let caller = pair.host.caller();
    let error = pair.host.block_on(async {
        let call = caller.open(first.id, b"", streams, &CallOptions::new()).await.unwrap();
        poll_fn(|cx| call.poll_send(cx, &[1, 2, 3])).await.unwrap();
        poll_fn(|cx| call.poll_reply(cx)).await.unwrap_err()
    });
    // The handler has seen it, and answered something else.
    let text = error.to_string();
    assert!(text.contains("an item of test.Streams.first has 3 bytes that are no u64"), "{text}");
}

#[test]
fn the_registry_has_the_kinds_and_both_types_of_a_stream_with_arguments() {
    let registry = Services::new().calls::<StreamsClient>().registry().unwrap();
    let service = registry.service("test.Streams").unwrap();
    let kinds = ["sum", "count", "echo", "waits"].map(|name| service.method(name).unwrap().kind());
    assert_eq!(
        kinds,
        [
            MethodKind::ClientStreaming,
            MethodKind::ServerStreaming,
            MethodKind::BidirectionalStreaming,
            MethodKind::Unary
        ]
    );
    for method in StreamsClient::METHODS {
        assert_eq!(registry.method(MethodId::new(method.id).unwrap()).unwrap().1.kind(), method.kind);
    }
    let (arguments, item) = schema::split_arguments(service.method("sum").unwrap());
    assert_eq!((arguments[0].0, arguments.len()), (Some("scale"), 1));
    assert_eq!(item.unwrap().name, "f64");
    assert_eq!(schema::split_arguments(service.method("echo").unwrap()).1.unwrap().name, "String");
}
