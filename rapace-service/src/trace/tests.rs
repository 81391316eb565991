use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rapace_registry::MethodKind;
use rapace_session::Code;

use super::place::{TRACEPARENT, TRACESTATE};
use super::recorder::{Record, Recorder, unheard};
use super::*;

static GET: MethodInfo = MethodInfo { service: "demo.Kv", name: "get", id: 1, kind: MethodKind::Unary };

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn given(traceparent: &str) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert(TRACEPARENT, traceparent).unwrap();
    metadata
}

/// Polls once.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn check_ids(span: &Record, context: TraceContext, parent: Option<TraceContext>) {
    assert_eq!(span.fields["trace_id"], context.trace_id.to_string());
    assert_eq!(span.fields["span_id"], context.span_id.to_string());
    assert_eq!(span.fields.get("parent_span_id"), parent.map(|parent| parent.span_id.to_string()).as_ref());
}

#[test]
fn a_callers_and_a_callees_span_share_a_trace_and_so_do_nested_calls() {
    let recorder = Recorder::new();
    let mut metadata = [Metadata::new(), Metadata::new()];
    let [outer, serve, inner] = recorder.run(|| {
        let outer = client_span(&GET, "plugin", &mut metadata[0]);
        let serve = server_span(&GET, "host", &metadata[0]);
        let inner = serve.run(|| client_span(&GET, "host", &mut metadata[1]));
        [outer, serve, inner].map(|span| span.context().unwrap())
    });
    let spans = recorder.spans();
    assert_eq!(spans.iter().map(|span| span.name).collect::<Vec<_>>(), ["rapace.call", "rapace.serve", "rapace.call"]);
    check_ids(&spans[0], outer, None);
    check_ids(&spans[1], serve, Some(outer));
    check_ids(&spans[2], inner, None);
    assert_eq!((serve.trace_id, inner.trace_id), (outer.trace_id, outer.trace_id));
    assert!(serve.span_id != outer.span_id && inner.span_id != serve.span_id);
    for (metadata, sent) in metadata.iter().zip([outer, inner]) {
        assert_eq!(metadata.get(TRACEPARENT), Some(sent.to_string().as_bytes()));
        assert_eq!(metadata.iter().count(), 1);
    }
    for (span, peer) in spans.iter().zip(["plugin", "host", "host"]) {
        assert_eq!((span.target, span.level), ("rapace::trace", tracing::Level::DEBUG));
        for (field, expected) in [("rpc.service", "demo.Kv"), ("rpc.method", "get"), ("peer", peer)] {
            assert_eq!(span.fields[field], expected);
        }
    }
    // The call is made within its handler's span; the handler's span has no parent in its process.
    assert_eq!(spans.iter().map(|span| span.within).collect::<Vec<_>>(), [None, None, Some("rapace.serve")]);
}

#[test]
fn a_thread_that_serves_while_it_waits_does_not_mix_the_traces() {
    let recorder = Recorder::new();
    recorder.run(|| {
        client_span(&GET, "plugin", &mut Metadata::new()).run(|| {
            let serve = server_span(&GET, "plugin", &Metadata::new());
            assert_ne!(serve.context().unwrap().trace_id, current().unwrap().trace_id);
        });
    });
    assert_eq!(recorder.spans()[1].within, None);
    // Without a listener the handler is part of no trace, though the thread is.
    let place = Place::received(&given(GIVEN));
    let waiting = CallSpan::new(Span::none(), place, export::Remote::none(), CallSide::Callee);
    waiting.run(|| {
        assert_eq!(unheard(|| server_span(&GET, "plugin", &Metadata::new())).run(current), None);
        assert_eq!(current(), waiting.context());
    });
}

#[test]
fn where_nothing_listens_a_trace_is_not_begun_but_goes_on() {
    unheard(|| {
        let mut metadata = Metadata::new();
        let span = client_span(&GET, "plugin", &mut metadata);
        assert!(span.span().is_disabled() && span.context().is_none() && metadata.is_empty());
        // What came is known all the same.
        let serve = server_span(&GET, "host", &given(GIVEN));
        assert!(serve.span().is_disabled());
        serve.run(|| {
            assert_eq!(current().unwrap().to_string(), GIVEN);
            let _ = client_span(&GET, "plugin", &mut metadata);
        });
        assert_eq!(metadata, given(GIVEN));
    });
}

#[test]
fn what_vendors_say_of_a_trace_goes_on_with_it() {
    let mut came = given(GIVEN);
    came.insert(TRACESTATE, "congo=t61").unwrap();
    let nested = || {
        let [mut first, mut second] = [Metadata::new(), Metadata::new()];
        server_span(&GET, "host", &came).run(|| {
            let _ = client_span(&GET, "plugin", &mut first);
            // A call that has nothing to do with it, which this thread serves meanwhile.
            let _ = server_span(&GET, "host", &given(GIVEN)).run(|| client_span(&GET, "plugin", &mut second));
            let mut own = given(GIVEN);
            let _ = client_span(&GET, "plugin", &mut own);
            assert_eq!(own, given(GIVEN));
        });
        let mut outside = Metadata::new();
        let _ = client_span(&GET, "plugin", &mut outside);
        assert_eq!(outside.get(TRACESTATE), None);
        (first, second)
    };
    for (first, second) in [unheard(nested), Recorder::new().run(nested)] {
        assert_eq!(first.get(TRACESTATE), Some(&b"congo=t61"[..]));
        assert!(second.get(TRACEPARENT).is_some());
        assert_eq!(second.get(TRACESTATE), None);
    }
}

#[test]
fn a_span_says_how_its_call_ended() {
    let recorder = Recorder::new();
    recorder.run(|| {
        let outcomes = || client_span(&GET, "plugin", &mut Metadata::new()).outcome();
        outcomes().end(None);
        outcomes().end(Some(Code::NotFound));
        drop(outcomes());
        let serve = server_span(&GET, "host", &Metadata::new()).outcome();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _serve = serve;
            panic!("the handler");
        }));
        assert!(panicked.is_err());
    });
    let said = |span: &Record| ["rpc.response.status_code", "error.type"].map(|field| span.fields.get(field).cloned());
    let failed = |code: &str| [Some(code.to_owned()), Some(code.to_owned())];
    let spans = recorder.spans();
    assert_eq!(said(&spans[0]), [Some("Ok".to_owned()), None]);
    for (span, code) in spans[1..].iter().zip(["NotFound", "Cancelled", "Internal"]) {
        assert_eq!(said(span), failed(code));
    }
}

#[test]
fn a_traceparent_of_the_users_stays() {
    let recorder = Recorder::new();
    recorder.run(|| {
        let mut metadata = given(GIVEN);
        let span = client_span(&GET, "plugin", &mut metadata);
        assert_eq!(span.context().unwrap().to_string(), GIVEN);
        assert_eq!(metadata, given(GIVEN));
        // One that is none stays as well, and is ignored on both sides.
        let mut metadata = given("00-what");
        assert!(client_span(&GET, "plugin", &mut metadata).context().unwrap().sampled);
        assert_eq!(metadata, given("00-what"));
        assert!(server_span(&GET, "host", &metadata).context().unwrap().sampled);
    });
    let spans = recorder.spans();
    assert_eq!(spans[0].fields["span_id"], "00f067aa0ba902b7");
    assert_eq!(spans[2].fields.get("parent_span_id"), None);
}

#[test]
fn a_future_is_in_its_span_whenever_it_is_polled_and_dropped() {
    /// Says where it is when it is dropped.
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            tracing::info!("dropped");
        }
    }
    let recorder = Recorder::new();
    recorder.run(|| {
        let span = server_span(&GET, "host", &given(GIVEN));
        let context = span.context();
        {
            let mut future = pin!(span.wrap(async {
                let _last = Last;
                for _ in 0..2 {
                    assert_eq!(current(), context);
                    tracing::info!("polled");
                    std::future::poll_fn({
                        let mut first = true;
                        move |_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
                    })
                    .await;
                }
            }));
            for _ in 0..2 {
                assert_eq!(poll(future.as_mut()), Poll::Pending);
                assert_eq!(current(), None);
                tracing::info!("outside");
            }
        }
    });
    let events = recorder.events();
    let within: Vec<_> = events.iter().map(|event| (event.fields["message"].as_str(), event.within)).collect();
    let serve = Some("rapace.serve");
    assert_eq!(
        within,
        [("polled", serve), ("outside", None), ("polled", serve), ("outside", None), ("dropped", serve)]
    );
}
