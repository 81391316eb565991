//! Spans of calls as OpenTelemetry exports them, where both sides are in one process.
#![allow(clippy::unwrap_used)]

mod pair;

use std::sync::{Arc, Mutex};

use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use pair::pair;
use rapace_macros::service;
use rapace_service::intercept::{CallStart, Interceptor};
use rapace_service::{Context, Services};
use rapace_session::{Code, Metadata, Status as CallStatus};
use tracing::dispatcher::{self, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

#[service(name = "test.Exported", version = "1.0", crate = "rapace_service")]
trait Exported {
    async fn nested(&self, ctx: &Context);
    async fn double(&self, number: u32) -> u32;
    async fn panics(&self);
}

/// Keeps the `traceparent` and `tracestate` of each call.
#[derive(Clone, Default)]
struct Came(Arc<Mutex<Vec<[Option<String>; 2]>>>);

impl Interceptor for Came {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), CallStatus> {
        let value = |key| call.metadata().get(key).map(|value| String::from_utf8(value.to_vec()).unwrap());
        self.0.lock().unwrap().push(["traceparent", "tracestate"].map(value));
        match call.method().name {
            "double" if call.request_bytes() > 1 => Err(CallStatus::new(Code::InvalidArgument, "too large")),
            _ => Ok(()),
        }
    }
}

struct Impl;

impl Exported for Impl {
    async fn nested(&self, ctx: &Context) {
        tracing::info_span!("work").in_scope(|| ());
        let _ = ExportedClient::new(ctx).double(2).await;
    }

    async fn double(&self, number: u32) -> u32 {
        number * 2
    }

    async fn panics(&self) {
        panic!("on purpose");
    }
}

/// What was exported, and the trace context of the calls in their order.
struct Seen {
    spans: Vec<SpanData>,
    came: Vec<[Option<String>; 2]>,
}

/// Calls both ways; what both sides do is over then.
fn called(came: &Came, run: impl FnOnce(&ExportedClient)) {
    let services = || Services::new().add(ExportedServer::new(Impl)).intercept(came.clone());
    let pair = pair(services(), services());
    run(&ExportedClient::new(&pair.host));
}

/// Calls both ways, with an exporter on both sides that sees spans from a level on.
fn exported(level: LevelFilter, sampler: Sampler, run: impl FnOnce(&ExportedClient)) -> Seen {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_sampler(sampler).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_filter(level);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    let came = Came::default();
    dispatcher::with_default(&dispatch, || called(&came, run));
    let mut spans = exporter.get_finished_spans().unwrap();
    spans.sort_by_key(|span| span.start_time);
    let came = came.0.lock().unwrap().clone();
    Seen { spans, came }
}

/// Name, kind and parent of each span; parents by their place.
fn tree(spans: &[SpanData]) -> Vec<(&str, SpanKind, Option<usize>)> {
    let place = |id| spans.iter().position(|span| span.span_context.span_id() == id);
    spans.iter().map(|span| (&*span.name, span.span_kind.clone(), place(span.parent_span_id))).collect()
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

/// The context of a span, as it travels.
fn traceparent(span: &SpanData) -> Option<String> {
    let context = &span.span_context;
    let flags = u8::from(context.is_sampled());
    Some(format!("00-{:032x}-{:016x}-{flags:02x}", context.trace_id(), context.span_id()))
}

#[test]
fn the_ids_of_a_call_are_those_of_its_exported_span() {
    let seen = exported(LevelFilter::DEBUG, Sampler::AlwaysOn, |client| {
        tracing::info_span!("outer").in_scope(|| client.blocking().nested()).unwrap();
    });
    let expected = [
        ("outer", SpanKind::Internal, None),
        ("test.Exported/nested", SpanKind::Client, Some(0)),
        ("test.Exported/nested", SpanKind::Server, Some(1)),
        ("work", SpanKind::Internal, Some(2)),
        ("test.Exported/double", SpanKind::Client, Some(2)),
        ("test.Exported/double", SpanKind::Server, Some(4)),
    ];
    assert_eq!(tree(&seen.spans), expected);
    let [outer, call, serve, _, back, _] = &seen.spans[..] else { unreachable!() };
    assert!(seen.spans.iter().all(|span| span.span_context.trace_id() == outer.span_context.trace_id()));
    assert_eq!(seen.came, [call, back].map(|span| [traceparent(span), None]));
    assert!(serve.parent_span_is_remote && !call.parent_span_is_remote);
    for span in [call, serve] {
        let said = ["rpc.system", "rpc.service", "rpc.method", "rpc.response.status_code", "span_id"];
        let id = span.span_context.span_id().to_string();
        assert_eq!(
            said.map(|key| attribute(span, key)),
            ["rapace", "test.Exported", "nested", "Ok", &id].map(|value| Some(value.to_owned()))
        );
        assert_eq!(span.status, Status::Unset);
    }
}

#[test]
fn where_only_other_spans_are_exported_calls_go_on_from_those() {
    let seen = exported(LevelFilter::INFO, Sampler::AlwaysOn, |client| {
        tracing::info_span!("outer").in_scope(|| client.blocking().nested()).unwrap();
    });
    assert_eq!(tree(&seen.spans), [("outer", SpanKind::Internal, None), ("work", SpanKind::Internal, Some(0))]);
    assert_eq!(seen.came, [[traceparent(&seen.spans[0]), None], [traceparent(&seen.spans[0]), None]]);
}

#[test]
fn what_is_not_sampled_is_exported_by_nobody() {
    let seen = exported(LevelFilter::DEBUG, Sampler::ParentBased(Box::new(Sampler::AlwaysOff)), |client| {
        client.blocking().nested().unwrap();
    });
    assert_eq!(seen.spans.len(), 0);
    let [[Some(call), None], [Some(back), None]] = &seen.came[..] else { panic!("{:?}", seen.came) };
    assert_eq!((&call[..36], &call[52..], &back[52..]), (&back[..36], "-00", "-00"));
}

#[test]
fn a_trace_that_came_from_elsewhere_goes_on_with_what_its_vendors_say() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", text).unwrap();
    metadata.insert("tracestate", "congo=t61").unwrap();
    // Nobody would sample it but for its flag.
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
    let seen = exported(LevelFilter::DEBUG, sampler, |client| {
        client.with_metadata(metadata).blocking().nested().unwrap();
    });
    let [call, serve, _, back, _] = &seen.spans[..] else { panic!("{:?}", tree(&seen.spans)) };
    for span in [call, serve] {
        assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    }
    let state = || Some("congo=t61".to_owned());
    assert_eq!(seen.came, [[Some(text.to_owned()), state()], [traceparent(back), state()]]);
}

#[test]
fn a_failure_is_an_error_of_whoever_is_to_blame() {
    let seen = exported(LevelFilter::DEBUG, Sampler::AlwaysOn, |client| {
        assert!(client.blocking().panics().is_err());
        // Refused by the callee's interceptor.
        assert!(client.blocking().double(1 << 20).is_err());
    });
    let outcomes = seen.spans.iter().map(|span| {
        let said = [attribute(span, "rpc.response.status_code"), attribute(span, "error.type")];
        (span.span_kind.clone(), span.status != Status::Unset, said.map(Option::unwrap))
    });
    let outcome = |kind, is_error, code: &str| (kind, is_error, [code.to_owned(), code.to_owned()]);
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [
            outcome(SpanKind::Client, true, "Internal"),
            outcome(SpanKind::Server, true, "Internal"),
            outcome(SpanKind::Client, true, "InvalidArgument"),
            outcome(SpanKind::Server, false, "InvalidArgument"),
        ]
    );
}

#[test]
fn without_a_layer_of_opentelemetrys_the_ids_are_rapaces_own() {
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_writer(std::io::sink).finish();
    let came = Came::default();
    tracing::subscriber::with_default(subscriber, || called(&came, |client| client.blocking().nested().unwrap()));
    let came = came.0.lock().unwrap();
    let [[Some(call), None], [Some(back), None]] = &came[..] else { panic!("{came:?}") };
    // One trace, and another span.
    assert_eq!(call[..36], back[..36]);
    assert_ne!(call[36..52], back[36..52]);
}
