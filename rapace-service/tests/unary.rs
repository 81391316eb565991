//! Methods with one request and one reply, through real sessions.
#![allow(clippy::unwrap_used)]

mod pair;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pair::{Pair, pair};
use rapace_macros::{message, service};
use rapace_registry::{MethodId, MethodKind};
use rapace_service::{Context, Described, Error, Services};
use rapace_session::{CallError, CallOptions, Code, IncomingCall, Metadata, NoService};

/// What may go wrong with a division.
#[message(crate = "rapace_service")]
#[derive(Eq)]
enum DivisionError {
    ByZero,
    Overflow { dividend: i64 },
}

#[message(crate = "rapace_service")]
struct Blob {
    name: String,
    bytes: Vec<u8>,
    more: Option<Vec<u8>>,
}

/// Calculates.
#[service(name = "test.Calculator", version = "1.2", crate = "rapace_service")]
trait Calculator {
    /// Adds.
    async fn add(&self, a: i64, b: i64) -> i64;
    #[method(id = 7, name = "divide")]
    async fn div(&self, ctx: &Context, dividend: i64, divisor: i64) -> Result<i64, DivisionError>;
    async fn get(&self, key: &str, hint: &[u8]) -> Option<Vec<u8>>;
    async fn fetch(&self, fail: bool) -> Result<Vec<u8>, Vec<u8>>;
    async fn blob(&self, blob: Blob) -> Blob;
    async fn bytes(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn nothing(&self);
    async fn r#type(&self, r#struct: u8, implementation: u8, context: u8) -> u8;
    async fn panics(&self);
}

#[derive(Default)]
struct Impl {
    nothings: AtomicU32,
}

impl Calculator for Impl {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn div(&self, ctx: &Context, dividend: i64, divisor: i64) -> Result<i64, DivisionError> {
        assert_eq!((ctx.method().name, ctx.peer(), ctx.depth()), ("divide", "host", 1));
        assert!(ctx.metadata().is_empty() && ctx.deadline().is_none() && !ctx.is_cancelled());
        match divisor {
            0 => Err(DivisionError::ByZero),
            _ => dividend.checked_div(divisor).ok_or(DivisionError::Overflow { dividend }),
        }
    }

    async fn get(&self, key: &str, hint: &[u8]) -> Option<Vec<u8>> {
        (!key.is_empty()).then(|| [key.as_bytes(), hint].concat())
    }

    async fn fetch(&self, fail: bool) -> Result<Vec<u8>, Vec<u8>> {
        if fail { Err(vec![2; 3]) } else { Ok(vec![1; 2]) }
    }

    async fn blob(&self, mut blob: Blob) -> Blob {
        blob.name.push('!');
        blob.more = Some(blob.bytes.clone());
        blob
    }

    async fn bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.reverse();
        bytes
    }

    async fn nothing(&self) {
        self.nothings.fetch_add(1, Ordering::Relaxed);
    }

    async fn r#type(&self, r#struct: u8, implementation: u8, context: u8) -> u8 {
        r#struct + implementation + context
    }

    async fn panics(&self) {
        panic!("as it should");
    }
}

fn serving() -> Pair {
    pair(NoService, Services::new().add(CalculatorServer::new(Impl::default())))
}

#[test]
fn a_blocking_client_gets_what_the_implementation_returns() {
    let pair = serving();
    let client = CalculatorClient::new(&pair.host).blocking();
    assert_eq!(client.add(2, -5), Ok(-3));
    assert_eq!(client.div(7, 2), Ok(3));
    assert_eq!(client.div(7, 0), Err(Error::Service(DivisionError::ByZero)));
    assert_eq!(client.div(i64::MIN, -1), Err(Error::Service(DivisionError::Overflow { dividend: i64::MIN })));
    assert_eq!(client.get("", b"x"), Ok(None));
    assert_eq!(client.get("k", b"h"), Ok(Some(b"kh".to_vec())));
    assert_eq!(client.fetch(false), Ok(vec![1, 1]));
    assert_eq!(client.fetch(true), Err(Error::Service(vec![2, 2, 2])));
    assert_eq!(client.nothing(), Ok(()));
    assert_eq!(client.r#type(1, 2, 3), Ok(6));
}

#[test]
fn an_async_client_gets_the_same() {
    let pair = serving();
    let client = CalculatorClient::new(&pair.host);
    pair.host.block_on(async {
        assert_eq!(client.add(2, -5).await, Ok(-3));
        assert_eq!(client.div(7, 0).await, Err(Error::Service(DivisionError::ByZero)));
        assert_eq!(client.get("k", b"h").await, Ok(Some(b"kh".to_vec())));
        let key = String::from("borrowed");
        assert_eq!(client.get(&key, &[]).await, Ok(Some(b"borrowed".to_vec())));
        assert_eq!(client.nothing().await, Ok(()));
    });
}

#[test]
fn bytes_of_any_size_come_back() {
    let pair = serving();
    let client = CalculatorClient::new(&pair.host).blocking();
    for size in [0, 1, 23, 24, 25, 4096, 100_000, 3 << 20] {
        let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
        let mut reversed = bytes.clone();
        reversed.reverse();
        assert!(client.bytes(bytes.clone()) == Ok(reversed), "{size} bytes");
        let blob = Blob { name: "b".to_owned(), bytes: bytes.clone(), more: None };
        let expected = Blob { name: "b!".to_owned(), more: Some(bytes), ..blob.clone() };
        assert!(client.blob(blob) == Ok(expected), "{size} bytes");
    }
}

#[test]
fn a_request_that_is_none_is_an_invalid_argument() {
    let pair = serving();
    let id = CalculatorClient::METHODS[0].id;
    for (body, found) in [(&b""[..], "0 bytes"), (&[2, 4, 6], "3 bytes")] {
        let error = pair.host.call(id, body, &CallOptions::new()).unwrap_err();
        let CallError::Status(status) = error else { panic!("{error}") };
        assert_eq!(status.code, Code::InvalidArgument);
        for part in ["test.Calculator.add", "(i64, i64)", found] {
            assert!(status.message.contains(part), "{status}");
        }
    }
}

#[test]
fn a_reply_that_is_none_is_data_loss_at_the_caller() {
    let pair = pair(NoService, |call: IncomingCall| call.reply(&[1, 2]));
    let error = CalculatorClient::new(&pair.host).blocking().add(1, 2).unwrap_err();
    assert_eq!(error.code(), Code::DataLoss);
    for part in ["test.Calculator.add", "2 bytes", "i64", "1 bytes follow"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn an_unknown_method_is_unimplemented() {
    let pair = serving();
    let error = pair.host.call(9999, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.to_string().contains("9999"), "{error}");
}

#[test]
fn a_panic_is_internal_and_the_session_goes_on() {
    let pair = serving();
    let client = CalculatorClient::new(&pair.host).blocking();
    assert_eq!(client.panics().unwrap_err().code(), Code::Internal);
    assert_eq!(client.add(1, 1), Ok(2));
}

#[test]
fn a_client_has_its_deadline_and_metadata() {
    let held = Mutex::new(Vec::new());
    let never = pair(NoService, move |call: IncomingCall| held.lock().unwrap().push(call));
    let client = CalculatorClient::new(&never.host).with_deadline(Duration::from_millis(5)).blocking();
    assert_eq!(client.nothing(), Err(CallError::DeadlineExceeded { waited: Duration::from_millis(5) }));

    let pair = pair(NoService, |call: IncomingCall| {
        let pairs: Vec<_> = call.metadata().iter().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
        assert_eq!(pairs, [("own".to_owned(), b"1".to_vec())]);
        assert!(call.time_left().is_some_and(|left| left <= Duration::from_secs(9)));
        call.reply(&[]);
    });
    let mut metadata = Metadata::new();
    metadata.insert("own", "1").unwrap();
    let client = CalculatorClient::new(&pair.host).with_metadata(metadata).with_deadline(Duration::from_secs(9));
    assert_eq!(client.blocking().nothing(), Ok(()));
    assert_eq!(pair.host.block_on(client.nothing()), Ok(()));
}

#[test]
fn a_table_of_methods_has_the_ids_of_the_registry() {
    let registry = Services::new().calls::<CalculatorClient>().registry().unwrap();
    for method in CalculatorClient::METHODS {
        let (service, described) = registry.method(MethodId::new(method.id).unwrap()).unwrap();
        assert_eq!((service.name(), described.name()), (method.service, method.name));
        assert_eq!((described.kind(), method.kind), (MethodKind::Unary, MethodKind::Unary));
    }
    assert_eq!(CalculatorClient::METHODS[0].id, MethodId::derived("test.Calculator", "add").get());
    assert_eq!(CalculatorClient::METHODS[1].id, 7);
    assert_eq!(CalculatorClient::METHODS[7].name, "type");
    let service = registry.service("test.Calculator").unwrap();
    assert_eq!(service.version().to_string(), "1.2");
    assert_eq!(service.method("get").unwrap().argument().name, "get");
    assert_eq!(service.method("bytes").unwrap().argument().name, "Vec<T>");
}

#[service(name = "test.Other", version = "1.0", provider = "host", crate = "rapace_service")]
trait Other {
    async fn back(&self, ctx: &Context, depth: u8) -> u8;
}

#[service(name = "test.Clash", version = "1.0", crate = "rapace_service")]
trait Clash {
    #[method(id = 7)]
    async fn seven(&self);
}

struct Nested;

impl Other for Nested {
    async fn back(&self, ctx: &Context, depth: u8) -> u8 {
        match depth {
            0 => ctx.depth(),
            _ => OtherClient::new(ctx).back(depth - 1).await.unwrap(),
        }
    }
}

impl Clash for Nested {
    async fn seven(&self) {}
}

#[test]
fn a_handler_calls_its_caller_back() {
    let pair = pair(Services::new().add(OtherServer::new(Nested)), Services::new().add(OtherServer::new(Nested)));
    assert_eq!(OtherClient::new(&pair.host).blocking().back(5), Ok(6));
}

#[test]
fn several_services_share_a_session() {
    let calculator = Arc::new(Impl::default());
    let services =
        Services::new().add(CalculatorServer::from_arc(Arc::clone(&calculator))).add(OtherServer::new(Nested));
    assert_eq!(services.methods().count(), 10);
    let pair = pair(NoService, services);
    assert_eq!(OtherClient::new(&pair.host).blocking().back(0), Ok(1));
    assert_eq!(CalculatorClient::new(&pair.host).blocking().nothing(), Ok(()));
    assert_eq!(calculator.nothings.load(Ordering::Relaxed), 1);
}

#[test]
fn a_registry_has_what_is_served_and_what_is_called() {
    let both = Services::new().add(OtherServer::new(Nested)).calls::<OtherClient>().calls::<CalculatorClient>();
    let names: Vec<_> = both.registry().unwrap().services().iter().map(|service| service.name().to_owned()).collect();
    assert_eq!(names, ["test.Calculator", "test.Other"]);
    let clash = Services::new().add(CalculatorServer::new(Impl::default())).add(ClashServer::new(Nested));
    let error = clash.registry().unwrap_err().to_string();
    assert!(error.contains("7") && error.contains("divide") && error.contains("seven"), "{error}");
}

#[test]
fn a_service_that_comes_later_is_described_at_once_and_refused_until_it_is_there() {
    let later = rapace_service::Later::new();
    let services = Services::new().add_later(&later);
    assert!(services.registry().unwrap().service("test.Calculator").is_some());
    let pair = pair(NoService, services);
    let calculator = CalculatorClient::new(&pair.host).blocking();
    let error = calculator.add(1, 2).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(
        error.to_string(),
        "FailedPrecondition: test.Calculator is not ready: what makes it, as initialize does, has not come, or has failed"
    );
    assert!(later.set(CalculatorServer::new(Impl::default())).is_ok());
    assert_eq!(calculator.add(1, 2), Ok(3));
    assert!(later.set(CalculatorServer::new(Impl::default())).is_err());
}
