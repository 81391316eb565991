//! What stands around calls: interceptors and traces, on both sides.
#![allow(clippy::unwrap_used)]

mod pair;

use std::sync::{Arc, Mutex};

use pair::pair;
use rapace_macros::service;
use rapace_service::intercept::{CallEnd, CallStart, Interceptor};
use rapace_service::trace::TraceContext;
use rapace_service::{Context, Incoming, Services, Stream};
use rapace_session::{CallError, Code, IncomingCall, Metadata, NoService, Status};

#[service(name = "test.Around", version = "1.0", crate = "rapace_service")]
trait Around {
    async fn length(&self, text: &str) -> u64;
    fn repeat(&self, texts: Incoming<String>) -> impl Stream<Item = String>;
    async fn trace(&self, ctx: &Context) -> Option<String>;
}

struct Impl;

struct Repeated(Incoming<String>);

impl Stream for Repeated {
    type Item = String;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<String>> {
        std::pin::Pin::new(&mut self.0).poll_next(cx).map(|text| Some(text?.unwrap()))
    }
}

impl Around for Impl {
    async fn length(&self, text: &str) -> u64 {
        text.len() as u64
    }

    fn repeat(&self, texts: Incoming<String>) -> impl Stream<Item = String> {
        Repeated(texts)
    }

    async fn trace(&self, ctx: &Context) -> Option<String> {
        ctx.trace().map(|trace| trace.trace_id.to_string())
    }
}

/// Notes every end, adds a pair as a caller, and refuses whoever does not have it as a callee.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Interceptor for Notes {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        if let Some(metadata) = call.metadata_mut() {
            metadata.insert("pass", "yes").unwrap();
            return Ok(());
        }
        match call.metadata().get("pass") {
            Some(_) => Ok(()),
            None => Err(Status::new(Code::PermissionDenied, "no pass")),
        }
    }

    fn end(&self, call: &CallEnd<'_>) {
        let (side, name, peer) = (call.side(), call.method().name, call.peer());
        let bytes = (call.request_bytes(), call.response_bytes());
        self.0.lock().unwrap().push(format!("{side} {name} {peer} {:?} {bytes:?}", call.code()));
    }
}

impl Notes {
    /// What has been noted, once there are as many.
    fn take(&self, count: usize) -> Vec<String> {
        loop {
            let mut notes = self.0.lock().unwrap();
            if notes.len() >= count {
                return std::mem::take(&mut notes);
            }
            drop(notes);
            std::thread::yield_now();
        }
    }
}

#[test]
fn interceptors_of_both_sides_see_each_call_once() {
    let (ours, theirs) = (Notes::default(), Notes::default());
    let services = Services::new().add(AroundServer::new(Impl)).intercept(theirs.clone());
    let pair = pair(NoService, services);
    let client = AroundClient::new(&pair.host).intercepted_by(ours.clone());
    assert_eq!(client.blocking().length("four"), Ok(4));
    assert_eq!(pair.host.block_on(client.length("seven")), Ok(5));
    assert_eq!(ours.take(2), ["caller length plugin None (5, 1)", "caller length plugin None (6, 1)"]);
    assert_eq!(theirs.take(2), ["callee length host None (5, 1)", "callee length host None (6, 1)"]);
    assert_eq!(client.blocking().repeat(["abc", "de"].map(str::to_owned)).unwrap().count(), 2);
    assert_eq!(ours.take(1), ["caller repeat plugin None (7, 7)"]);
    assert_eq!(theirs.take(1), ["callee repeat host None (7, 7)"]);
    let mut given_up = client.blocking().repeat(std::iter::repeat("x".to_owned())).unwrap();
    assert_eq!(given_up.next(), Some(Ok("x".to_owned())));
    drop(given_up);
    assert!(ours.take(1)[0].starts_with("caller repeat plugin Some(Cancelled)"));
    assert!(theirs.take(1)[0].starts_with("callee repeat host Some("));
}

#[test]
fn an_interceptor_refuses_on_either_side() {
    struct Refuse;
    impl Interceptor for Refuse {
        fn begin(&self, _: &mut CallStart<'_>) -> Result<(), Status> {
            Err(Status::new(Code::Unauthenticated, "who are you"))
        }
    }
    let notes = Notes::default();
    let pair = pair(NoService, Services::new().add(AroundServer::new(Impl)).intercept(notes.clone()));
    let client = AroundClient::new(&pair.host);
    assert_eq!(client.blocking().length("").unwrap_err().code(), Code::PermissionDenied);
    let refused = client.intercepted_by(Refuse).blocking();
    let expected = CallError::Status(Status::new(Code::Unauthenticated, "who are you"));
    assert_eq!(refused.length(""), Err(expected.clone()));
    assert_eq!(refused.repeat([]).unwrap_err(), expected);
    assert!(notes.0.lock().unwrap().is_empty());
}

#[test]
fn interceptors_keep_the_metadata_of_the_client() {
    let handler = |call: IncomingCall| {
        let pairs = call.metadata().iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
        assert_eq!(pairs, ["own", "pass"]);
        call.reply(&[0]);
    };
    let pair = pair(NoService, handler);
    let mut metadata = Metadata::new();
    metadata.insert("own", "1").unwrap();
    let client = AroundClient::new(&pair.host).intercepted_by(Notes::default()).with_metadata(metadata);
    assert_eq!(client.blocking().length(""), Ok(0));
}

#[test]
fn a_handler_knows_the_trace_that_it_is_part_of() {
    let pair = pair(NoService, Services::new().add(AroundServer::new(Impl)));
    let client = AroundClient::new(&pair.host);
    assert_eq!(client.blocking().trace(), Ok(None));
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", text).unwrap();
    let trace = client.with_metadata(metadata).blocking().trace().unwrap();
    assert_eq!(trace, TraceContext::parse(text.as_bytes()).ok().map(|trace| trace.trace_id.to_string()));
    assert_eq!(trace.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
}
