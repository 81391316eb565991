//! Interceptors and traces around typed calls, through real sessions.
#![allow(clippy::unwrap_used)]

mod pair;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use pair::{Pair, pair};
use rapace_macros::service;
use rapace_service::intercept::{
    BearerToken, CallEnd, CallMetrics, CallSide, CallStart, Interceptor, Rate, RateLimit, RequireBearer,
};
use rapace_service::{Context, Services};
use rapace_session::{CallError, Code, PeerA, Session, Status};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

#[service(name = "test.Watched", version = "1.0", crate = "rapace_service")]
trait Watched {
    async fn double(&self, number: u32) -> u32;
    async fn length(&self, bytes: &[u8]) -> u64;
    async fn panics(&self);
    async fn waits(&self, ctx: &Context);
    async fn call_back(&self, ctx: &Context, number: u32) -> u32;
}

struct Impl;

impl Watched for Impl {
    async fn double(&self, number: u32) -> u32 {
        number * 2
    }

    async fn length(&self, bytes: &[u8]) -> u64 {
        bytes.len() as u64
    }

    async fn panics(&self) {
        panic!("on purpose");
    }

    async fn waits(&self, ctx: &Context) {
        ctx.cancelled().await;
    }

    async fn call_back(&self, ctx: &Context, number: u32) -> u32 {
        WatchedClient::new(ctx).double(number).await.unwrap()
    }
}

/// How a call of a method ended on a side.
type End = (CallSide, &'static str, Option<Code>);

/// The ends of calls, for a test to wait for.
#[derive(Clone, Default)]
struct Ends(Arc<(Mutex<Vec<End>>, Condvar)>);

impl Interceptor for Ends {
    fn end(&self, call: &CallEnd<'_>) {
        self.0.0.lock().unwrap().push((call.side(), call.method().name, call.code()));
        self.0.1.notify_all();
    }
}

impl Ends {
    fn wait_for(&self, count: usize) -> Vec<End> {
        let (ends, more) = (self.0.0.lock().unwrap(), &self.0.1);
        let limit = Duration::from_secs(10);
        let (ends, _) = more.wait_timeout_while(ends, limit, |ends| ends.len() < count).unwrap();
        ends.clone()
    }
}

fn served(services: Services) -> (Pair, WatchedClient) {
    // Before the first span of any test: a place in the code that nobody listened to at its first turn may stay silent.
    LazyLock::force(&SPANS);
    let pair = pair(Services::new().add(WatchedServer::new(Impl)), services.add(WatchedServer::new(Impl)));
    let client = WatchedClient::new(&pair.host);
    (pair, client)
}

#[track_caller]
fn check_code<T: fmt::Debug>(result: Result<T, CallError>, code: Code) {
    assert_eq!(result.unwrap_err().code(), code);
}

#[test]
fn a_token_lets_its_bearer_call_and_nobody_else() {
    let require = RequireBearer::new(["secret"]).unwrap().exempt("test.Watched.panics");
    let (_pair, client) = served(Services::new().intercept(require));
    check_code(client.blocking().double(1), Code::Unauthenticated);
    check_code(client.intercepted_by(BearerToken::new("guess").unwrap()).blocking().double(1), Code::Unauthenticated);
    assert_eq!(client.intercepted_by(BearerToken::new("secret").unwrap()).blocking().double(1), Ok(2));
    check_code(client.blocking().panics(), Code::Internal);
}

#[test]
fn a_caller_holds_itself_down_before_anything_is_sent() {
    let there = CallMetrics::new();
    let (_pair, client) = served(Services::new().intercept(there.clone()));
    let hour = Rate::new(1, Duration::from_secs(3600), 1).unwrap();
    let client = client.intercepted_by(RateLimit::per_method(hour)).blocking();
    assert_eq!(client.double(1), Ok(2));
    let Err(CallError::Status(status)) = client.double(1) else { panic!("it passed") };
    assert!(RateLimit::retry_after(&status).unwrap() > Duration::from_secs(3500), "{status}");
    assert_eq!(there.snapshot().methods[0].calls(), 1);
}

#[test]
fn a_large_request_takes_slots_only_when_its_interceptors_have_let_it_pass() {
    struct Watches(Session<PeerA>, u32);
    impl Interceptor for Watches {
        fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
            assert_eq!(self.0.stats().slots_free, self.1, "before {:?} is sent", call.method().name);
            Ok(())
        }
    }
    let (pair, client) = served(Services::new());
    let watches = Watches(pair.host.clone(), pair.host.stats().slots_free);
    let client = client.intercepted_by(BearerToken::new("secret").unwrap()).intercepted_by(watches);
    // Nearly all slots that requests have, and the token comes before them.
    let client = client.with_deadline(Duration::from_secs(5)).blocking();
    assert_eq!(client.length(&[1; 400 * 4096]), Ok(400 * 4096));
}

#[test]
fn both_sides_count_the_same_calls() {
    let (here, there, ends) = (CallMetrics::new(), CallMetrics::new(), Ends::default());
    let (pair, client) = served(Services::new().intercept(ends.clone()).intercept(there.clone()));
    let client = client.intercepted_by(here.clone());
    for number in 0..5 {
        assert_eq!(client.blocking().double(number), Ok(number * 2));
    }
    check_code(client.blocking().panics(), Code::Internal);
    {
        // The call is there once the callee has begun it, and is given up then.
        let mut waits = std::pin::pin!(client.waits());
        pair.host.block_on(std::future::poll_fn(|cx| {
            assert!(waits.as_mut().poll(cx).is_pending());
            let begun = there.snapshot().methods.iter().any(|method| method.method == "waits");
            if begun {
                std::task::Poll::Ready(())
            } else {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        }));
    }
    assert_eq!(
        ends.wait_for(7)[5..],
        [(CallSide::Callee, "panics", Some(Code::Internal)), (CallSide::Callee, "waits", None)]
    );
    let row = |metrics: &CallMetrics, name| {
        let methods = metrics.snapshot().methods;
        let row = methods.into_iter().find(|method| method.method == name).unwrap();
        (row.side, row.ok, row.errors.clone(), row.in_flight, row.request_bytes, row.response_bytes)
    };
    assert_eq!(row(&here, "double"), (CallSide::Caller, 5, vec![], 0, 5, 5));
    assert_eq!(row(&there, "double"), (CallSide::Callee, 5, vec![], 0, 5, 5));
    assert_eq!(row(&here, "panics"), (CallSide::Caller, 0, vec![(Code::Internal, 1)], 0, 0, 0));
    assert_eq!(row(&there, "panics"), (CallSide::Callee, 0, vec![(Code::Internal, 1)], 0, 0, 0));
    assert_eq!(row(&here, "waits"), (CallSide::Caller, 0, vec![(Code::Cancelled, 1)], 0, 0, 0));
    assert_eq!(row(&there, "waits"), (CallSide::Callee, 1, vec![], 0, 0, 0));
}

/// A span's name and fields.
type Span = (&'static str, BTreeMap<&'static str, String>);

type LayerContext<'a, S> = tracing_subscriber::layer::Context<'a, S>;

/// Keeps the spans of calls.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

/// The threads of both sides listen, in all tests; the calls of each are told apart by their method.
static SPANS: LazyLock<Spans> = LazyLock::new(|| {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans.clone())).unwrap();
    spans
});

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        if span.metadata().target() == "rapace::trace" {
            let mut fields = Fields::default();
            span.record(&mut fields);
            let mut spans = self.0.lock().unwrap();
            context.span(id).unwrap().extensions_mut().insert(spans.len());
            spans.push((span.metadata().name(), fields.0));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        let place: Option<usize> = context.span(id).unwrap().extensions().get().copied();
        if let Some(place) = place {
            let mut fields = Fields::default();
            values.record(&mut fields);
            self.0.lock().unwrap()[place].1.append(&mut fields.0);
        }
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

#[test]
fn a_trace_goes_there_and_back_again() {
    let (_pair, client) = served(Services::new());
    assert_eq!(client.blocking().call_back(4), Ok(8));
    let spans = SPANS.0.lock().unwrap().clone();
    let first = spans.iter().find(|(_, fields)| fields["rpc.method"] == "call_back").unwrap();
    let trace: Vec<_> =
        spans.iter().filter(|(_, fields)| fields.get("trace_id") == Some(&first.1["trace_id"])).collect();
    let [call, serve, back, serve_back] = &trace[..] else { panic!("{trace:#?}") };
    for (span, name, method, peer) in [
        (call, "rapace.call", "call_back", "plugin"),
        (serve, "rapace.serve", "call_back", "host"),
        (back, "rapace.call", "double", "host"),
        (serve_back, "rapace.serve", "double", "plugin"),
    ] {
        assert_eq!((span.0, &*span.1["rpc.method"], &*span.1["peer"]), (name, method, peer));
    }
    assert_eq!(serve.1["parent_span_id"], call.1["span_id"]);
    assert_eq!(serve_back.1["parent_span_id"], back.1["span_id"]);
}
