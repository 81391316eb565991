//! Interceptors around handlers of any kind, and those that a peer gives its clients.
#![allow(clippy::unwrap_used)]

mod pair;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pair::pair;
use rapace_macros::service;
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_service::intercept::{
    BearerToken, CallEnd, CallStart, Intercepted, Interceptor, Interceptors, RequireBearer, SharedInterceptors,
};
use rapace_service::{Client, MethodInfo};
use rapace_session::{CallOptions, CallerSlot, Code, IncomingCall, NoService, Router, Status};

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

#[test]
fn what_is_around_a_way_to_a_peer_holds_for_all_its_clients_as_it_is_when_they_call() {
    let require = RequireBearer::new(["secret"]).unwrap();
    let pair = pair(NoService, rapace_service::Services::new().add(GuardedServer::new(Impl)).intercept(require));
    let (around, slot) = (SharedInterceptors::new(), CallerSlot::new("there is nobody"));
    let before = GuardedClient::new(&pair.host).blocking();
    pair.host.put_around(around.around());
    slot.set(&pair.host);
    slot.put_around(around.around());
    let ways = [pair.host.caller(), slot.caller()];
    let clients = ways.each_ref().map(|way| GuardedClient::new(way).blocking());
    let refused = |client: &GuardedBlockingClient| client.double(2).unwrap_err().code() == Code::Unauthenticated;
    assert!(clients.iter().all(refused));
    around.set(Interceptors::none().with(BearerToken::new("secret").unwrap()));
    for (way, client) in ways.iter().zip(&clients) {
        assert_eq!(client.double(2), Ok(4));
        // By bytes, too.
        let method = &const { MethodInfo::UNKNOWN };
        let reply = Client::new(way).call_bytes(method, 9, &[2], &CallOptions::new()).unwrap();
        assert_eq!(&*reply.body, [4]);
    }
    assert!(refused(&before), "one that was made before there was anything");
    around.set(Interceptors::none());
    assert!(clients.iter().all(refused));
}

#[test]
fn a_call_passes_what_is_around_the_way_and_then_what_is_its_clients_own() {
    let pair = pair(NoService, rapace_service::Services::new().add(GuardedServer::new(Impl)));
    let (heard, around) = (Heard::default(), SharedInterceptors::new());
    pair.host.put_around(around.around());
    around.set(Interceptors::none().with(Named("the way's", heard.clone())));
    let client = GuardedClient::new(&pair.host).intercepted_by(Named("its own", heard.clone()));
    assert_eq!(client.blocking().double(2), Ok(4));
    let expected = ["the way's begins", "its own begins", "its own ends", "the way's ends"];
    assert_eq!(heard.wait_for(4), expected);
}

struct Named(&'static str, Heard);

impl Interceptor for Named {
    fn begin(&self, _: &mut CallStart<'_>) -> Result<(), Status> {
        self.1.note(format!("{} begins", self.0));
        Ok(())
    }

    fn end(&self, _: &CallEnd<'_>) {
        self.1.note(format!("{} ends", self.0));
    }
}
