//! Calls by a registry alone, with JSON both ways, through real sessions.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used)]

mod pair;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};

use pair::{Pair, pair};
use rapace_macros::{message, service};
use rapace_service::dynamic::{DynamicClient, DynamicError};
use rapace_service::intercept::{CallEnd, CallStart, Interceptor, Interceptors, SharedInterceptors};
use rapace_service::{Incoming, Services, Stream};
use rapace_session::{CallError, Code, IncomingCall, NoService, Status};
use serde_json::{Value, json};

#[message(crate = "rapace_service")]
#[derive(Eq)]
struct Entry {
    name: String,
    sizes: Vec<u32>,
}

#[service(name = "test.Store", version = "1.0", crate = "rapace_service")]
trait Store {
    async fn nothing(&self);
    async fn double(&self, entry: Entry) -> Entry;
    async fn add(&self, a: i64, b: u8) -> Result<i64, String>;
    async fn sum(&self, scale: u32, numbers: Incoming<u32>) -> u32;
    fn count(&self, to: u8) -> impl Stream<Item = u8>;
    fn echo(&self, words: Incoming<String>) -> impl Stream<Item = String>;
}

#[service(name = "test.Other", version = "1.0", crate = "rapace_service")]
trait Other {
    async fn nothing(&self) -> bool;
}

struct Impl;

struct Count(std::ops::RangeInclusive<u8>);

impl Stream for Count {
    type Item = u8;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<u8>> {
        Poll::Ready(self.0.next())
    }
}

struct Echo(Incoming<String>);

impl Stream for Echo {
    type Item = String;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<String>> {
        Pin::new(&mut self.0).poll_next(cx).map(|word| word?.ok())
    }
}

impl Store for Impl {
    async fn nothing(&self) {}

    async fn double(&self, entry: Entry) -> Entry {
        Entry { sizes: entry.sizes.iter().map(|size| size * 2).collect(), ..entry }
    }

    async fn add(&self, a: i64, b: u8) -> Result<i64, String> {
        a.checked_add(b.into()).ok_or_else(|| format!("{a} and {b}"))
    }

    async fn sum(&self, scale: u32, mut numbers: Incoming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number.unwrap();
        }
        sum * scale
    }

    fn count(&self, to: u8) -> impl Stream<Item = u8> {
        Count(1..=to)
    }

    fn echo(&self, words: Incoming<String>) -> impl Stream<Item = String> {
        Echo(words)
    }
}

impl Other for Impl {
    async fn nothing(&self) -> bool {
        true
    }
}

fn services() -> Services {
    Services::new().add(StoreServer::new(Impl)).add(OtherServer::new(Impl))
}

fn client() -> (Pair, DynamicClient) {
    let services = services();
    let registry = services.registry().unwrap();
    let pair = pair(NoService, services);
    let client = DynamicClient::new(&pair.host, registry);
    (pair, client)
}

#[track_caller]
fn check(client: &DynamicClient, method: &str, arguments: &Value, expected: Result<Value, &str>) {
    let found = client.call_blocking(method, arguments).map_err(|error| error.to_string());
    assert_eq!(found, expected.map_err(str::to_owned), "{method}({arguments})");
}

#[test]
fn a_registry_is_enough_to_call() {
    let (_pair, client) = client();
    check(&client, "test.Store.nothing", &json!(null), Ok(json!(null)));
    check(&client, "test.Other.nothing", &json!(null), Ok(json!(true)));
    let entry = json!({ "name": "a", "sizes": [1, 300] });
    check(&client, "double", &entry, Ok(json!({ "name": "a", "sizes": [2, 600] })));
    check(&client, "add", &json!({ "a": -3, "b": 5 }), Ok(json!({ "Ok": 2 })));
    let refused = format!("{} and 1", i64::MAX);
    check(&client, "test.Store.add", &json!({ "a": i64::MAX, "b": 1 }), Ok(json!({ "Err": refused })));
}

#[test]
fn what_cannot_be_called_says_why_and_where() {
    let (_pair, client) = client();
    let no_method = "there is no method \"test.Store.get\" in the registry";
    check(&client, "test.Store.get", &json!(null), Err(no_method));
    check(&client, "nothing", &json!(null), Err("method \"nothing\" may be test.Other.nothing or test.Store.nothing"));
    let wrong = "test.Store.double: argument: $.sizes[1]: expected u32, found string";
    check(&client, "double", &json!({ "name": "a", "sizes": [1, "2"] }), Err(wrong));
    check(&client, "add", &json!({ "a": 1 }), Err("test.Store.add: argument: $: field `b` is missing"));
    check(&client, "count", &json!(3), Err("test.Store.count has streams: open it"));
    let error = client.open_blocking("add", &json!({ "a": 1, "b": 2 })).unwrap_err();
    assert_eq!(error.to_string(), "test.Store.add has no streams: call it");
}

#[test]
fn a_reply_that_is_not_what_the_registry_says_is_an_error() {
    let registry = services().registry().unwrap();
    let lies = pair(NoService, |call: IncomingCall| call.reply(&[1, b'a', 0xff]));
    let client = DynamicClient::new(&lies.host, registry);
    for (method, arguments) in [("double", json!({ "name": "", "sizes": [] })), ("test.Other.nothing", json!(null))] {
        let error = client.call_blocking(method, &arguments).unwrap_err();
        assert!(error.to_string().contains(": result: $"), "{error}");
    }
}

#[test]
fn a_call_that_fails_says_so() {
    let registry = services().registry().unwrap();
    let empty = pair(NoService, NoService);
    let error = DynamicClient::new(&empty.host, registry).call_blocking("add", &json!({ "a": 1, "b": 2 })).unwrap_err();
    assert!(matches!(&error, DynamicError::Call(CallError::Status(status)) if status.code == Code::Unimplemented));
}

#[test]
fn async_calls_do_the_same() {
    let (pair, client) = client();
    let sum = pair.host.block_on(client.call("add", &json!({ "a": 1, "b": 2 })));
    assert_eq!(sum, Ok(json!({ "Ok": 3 })));
}

#[test]
fn streams_carry_json_both_ways() {
    let (_pair, client) = client();
    let mut sum = client.open_blocking("sum", &json!({ "scale": 10 })).unwrap();
    for number in [1, 2, 3] {
        sum.send_blocking(&json!(number)).unwrap();
    }
    let wrong = sum.send_blocking(&json!(-1)).unwrap_err();
    assert_eq!(wrong.to_string(), "test.Store.sum: item: $: expected u32, found -1");
    assert_eq!(sum.next_blocking(), None);
    assert_eq!(sum.reply_blocking(), Ok(json!(60)));

    let mut count = client.open_blocking("count", &json!(3)).unwrap();
    assert_eq!(
        count.send_blocking(&json!(1)).unwrap_err().to_string(),
        "test.Store.count takes no stream of its caller"
    );
    let counted: Vec<_> = std::iter::from_fn(|| count.next_blocking()).collect();
    assert_eq!(counted, [1, 2, 3].map(|number| Ok(json!(number))));
    assert_eq!(count.reply_blocking().unwrap_err().to_string(), "the call of test.Store.count has ended already");

    let mut echo = client.open_blocking("echo", &json!(null)).unwrap();
    for word in ["one", "two"] {
        echo.send_blocking(&json!(word)).unwrap();
        assert_eq!(echo.next_blocking(), Some(Ok(json!(word))));
    }
    echo.finish();
    assert_eq!(echo.next_blocking(), None);
}

/// Notes the end of each call, with its bytes there and back, and lets none of `nothing` pass.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<String>>>);

impl Ends {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Interceptor for Ends {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        match call.method().name {
            "nothing" => Err(Status::new(Code::ResourceExhausted, "not now")),
            _ => Ok(()),
        }
    }

    fn end(&self, call: &CallEnd<'_>) {
        let (name, code) = (call.method().full_name(), call.code());
        self.0.lock().unwrap().push(format!("{name} {code:?} {} {}", call.request_bytes(), call.response_bytes()));
    }
}

#[test]
fn calls_pass_what_is_around_the_way_to_their_peer() {
    let (pair, _) = client();
    let (ends, around) = (Ends::default(), SharedInterceptors::new());
    around.set(Interceptors::none().with(ends.clone()));
    pair.host.put_around(around.around());
    let client = DynamicClient::new(&pair.host, services().registry().unwrap());
    let sum = json!({ "a": 1, "b": 2 });
    client.call_blocking("add", &sum).unwrap();
    assert_eq!(ends.take(), ["test.Store.add None 2 2"]);
    pair.host.block_on(client.call("add", &sum)).unwrap();
    assert_eq!(ends.take(), ["test.Store.add None 2 2"]);
    for refused in [
        client.call_blocking("test.Store.nothing", &json!(null)),
        pair.host.block_on(client.call("test.Other.nothing", &json!(null))),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, DynamicError::Call(error) if error.code() == Code::ResourceExhausted), "{refused}");
    }
    assert_eq!(ends.take(), [""; 0]);

    let mut sum = client.open_blocking("sum", &json!({ "scale": 10 })).unwrap();
    sum.send_blocking(&json!(1)).unwrap();
    sum.send_blocking(&json!(2)).unwrap();
    assert_eq!((ends.take(), sum.reply_blocking()), (vec![], Ok(json!(30))));
    assert_eq!(ends.take(), ["test.Store.sum None 3 1"]);
    let mut count = client.open_blocking("count", &json!(3)).unwrap();
    assert_eq!(std::iter::from_fn(|| count.next_blocking()).count(), 3);
    assert_eq!(ends.take(), ["test.Store.count None 1 3"]);
    drop(client.open_blocking("count", &json!(3)).unwrap());
    assert_eq!(ends.take(), ["test.Store.count Some(Cancelled) 1 0"]);
}

#[test]
fn methods_are_listed_with_their_signatures() {
    let (_pair, client) = client();
    let listed: Vec<_> =
        client.methods().map(|(service, method)| format!("{}: {}", service.name(), method.signature())).collect();
    assert_eq!(listed.len(), 7);
    assert!(listed.iter().any(|line| line.starts_with("test.Store: add(a: i64, b: u8) -> ")), "{listed:#?}");
}
