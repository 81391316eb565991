//! Interceptors around handlers of any kind, and those that a peer gives its clients.
#![allow(clippy::unwrap_used)]

mod pair;

use std::any::Any;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pair::pair;
use rapace_macros::service;
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_service::intercept::{
    BearerToken, CallEnd, CallStart, Intercepted, Interceptor, Interceptors, RequireBearer,
};
use rapace_service::{Client, MethodInfo};
use rapace_session::{AsCaller, CallOptions, Caller, Code, IncomingCall, NoService, PeerA, Router, Session, Status};

const KNOWN: u32 = 1;
const IN_PLACE: u32 = 2;
const DROPS: u32 = 3;
const PANICS: u32 = 4;
const WAITS: u32 = 5;
const REFUSED: u32 = 6;

/// What an interceptor heard: of a begin (method and bytes), or of an end (method, code, bytes of the reply).
#[derive(Clone, Default)]
struct Heard(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Heard {
    fn note(&self, text: String) {
        self.0.0.lock().unwrap().push(text);
        self.0.1.notify_all();
    }

    /// Waits for so many.
    fn wait_for(&self, count: usize) -> Vec<String> {
        let (heard, more) = (self.0.0.lock().unwrap(), &self.0.1);
        let (heard, _) = more.wait_timeout_while(heard, Duration::from_secs(60), |heard| heard.len() < count).unwrap();
        heard.clone()
    }
}

impl Interceptor for Heard {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        self.note(format!("{} {} {}", call.peer(), call.method().full_name(), call.request_bytes()));
        match call.method().name {
            "refused" => Err(Status::new(Code::Aborted, "not that")),
            _ => Ok(()),
        }
    }

    fn end(&self, call: &CallEnd<'_>) {
        self.note(format!("{} {:?} {}", call.method().full_name(), call.code(), call.response_bytes()));
    }
}

fn described() -> Registry {
    let service = Service::builder("test.Bytes", Version::new(1, 0), Provider::Plugin);
    let names = [("known", KNOWN), ("in_place", IN_PLACE), ("drops", DROPS), ("panics", PANICS), ("waits", WAITS)];
    let service = names.iter().fold(service, |service, (name, id)| service.unary::<u8, u8>(*name, *id));
    Registry::builder().service(service.unary::<u8, u8>("refused", REFUSED)).build().unwrap()
}

fn handler() -> Router {
    Router::new()
        .method(KNOWN, |call: IncomingCall| call.reply(b"five!"))
        .method(IN_PLACE, |call: IncomingCall| call.reply_in_place(10_000, |bytes| bytes.fill(1)))
        .method(DROPS, |call: IncomingCall| drop(call))
        .method(PANICS, |_: IncomingCall| panic!("on purpose"))
        .method(WAITS, |call: IncomingCall| {
            call.run_async(|call| async move {
                std::future::pending::<()>().await;
                drop(call);
            });
        })
        .method(REFUSED, |_: IncomingCall| unreachable!("it was refused"))
}

#[test]
fn an_untyped_handlers_calls_are_heard_of_whatever_becomes_of_them() {
    let heard = Heard::default();
    let interceptors = Interceptors::none().with(heard.clone());
    let pair = pair(NoService, Intercepted::new(handler(), &described(), interceptors, "them"));
    let call = |method| pair.host.call(method, b"abc", &CallOptions::new());
    let short = CallOptions::new().deadline(Duration::from_millis(1));
    assert_eq!(&*call(KNOWN).unwrap().body, b"five!");
    assert_eq!(call(IN_PLACE).unwrap().body.len(), 10_000);
    for (method, code) in
        [(DROPS, Code::Internal), (PANICS, Code::Internal), (REFUSED, Code::Aborted), (77, Code::Unimplemented)]
    {
        assert_eq!(call(method).unwrap_err().code(), code);
    }
    // It may be cancelled before it is there, and then nobody has heard of it.
    let waited = std::iter::repeat_with(|| {
        assert_eq!(pair.host.call(WAITS, b"", &short).unwrap_err().code(), Code::DeadlineExceeded);
        heard.0.0.lock().unwrap().len() > 11
    });
    assert!(waited.take(10_000).any(|begun| begun));
    let heard = heard.wait_for(13);
    let expected = [
        "them test.Bytes.known 3",
        "test.Bytes.known None 5",
        "them test.Bytes.in_place 3",
        "test.Bytes.in_place None 10000",
        "them test.Bytes.drops 3",
        "test.Bytes.drops Some(Internal) 0",
        "them test.Bytes.panics 3",
        "test.Bytes.panics Some(Internal) 0",
        "them test.Bytes.refused 3",
        "them unknown.method 3",
        "unknown.method Some(Unimplemented) 0",
    ];
    assert_eq!(heard[..11], expected);
    for text in ["them test.Bytes.waits 0", "test.Bytes.waits Some(Cancelled) 0"] {
        assert!(heard[11..].iter().any(|heard| heard == text), "{heard:?}");
    }
}

#[service(name = "test.Guarded", version = "1.0", crate = "rapace_service")]
trait Guarded {
    #[method(id = 9)]
    async fn double(&self, number: u32) -> u32;
}

struct Impl;

impl Guarded for Impl {
    async fn double(&self, number: u32) -> u32 {
        number * 2
    }
}

/// A peer whose clients say who they are.
struct Introduced(Session<PeerA>);

impl AsCaller for Introduced {
    fn as_caller(&self) -> Caller {
        self.0.as_caller()
    }

    fn interceptors(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(Interceptors::none().with(BearerToken::new("secret").unwrap())))
    }
}

#[test]
fn clients_have_the_interceptors_that_their_peer_gives_them() {
    let require = RequireBearer::new(["secret"]).unwrap();
    let pair = pair(NoService, rapace_service::Services::new().add(GuardedServer::new(Impl)).intercept(require));
    let refused = GuardedClient::new(&pair.host).blocking().double(2).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let introduced = Introduced(pair.host.clone());
    assert_eq!(GuardedClient::new(&introduced).blocking().double(2), Ok(4));
    // Also by bytes.
    let method = &const { MethodInfo::UNKNOWN };
    let reply = Client::new(&introduced).call_bytes(method, 9, &[2], &CallOptions::new()).unwrap();
    assert_eq!(&*reply.body, [4]);
}
