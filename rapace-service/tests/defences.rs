//! Peers that send something else, and users who forget something.
#![allow(clippy::unwrap_used)]

mod pair;

use std::future::poll_fn;

use pair::pair;
use rapace_macros::service;
use rapace_service::{Described, Error, Incoming, Services};
use rapace_session::{AsCaller, CallError, CallOptions, Code, NoService, Streams};

#[service(name = "test.Sums", version = "1.0", crate = "rapace_service")]
trait Sums {
    async fn sum(&self, numbers: Incoming<u32>) -> u32;
    async fn negate(&self, number: i32) -> i32;
    async fn parse(&self, text: &str) -> Result<u32, String>;
}

/// The same service, as another version of the program knows it.
mod other {
    use rapace_macros::service;

    #[service(name = "test.Sums", version = "1.0", crate = "rapace_service")]
    pub(super) trait Sums {
        async fn negate(&self, number: u32) -> u32;
    }
}

struct Impl;

impl Sums for Impl {
    async fn sum(&self, mut numbers: Incoming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(Ok(number)) = numbers.next().await {
            sum += number;
        }
        sum
    }

    async fn negate(&self, number: i32) -> i32 {
        -number
    }

    async fn parse(&self, text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }
}

/// A type parameter of the server's that has the name of a trait does no harm.
#[service(name = "test.S", version = "1.0", crate = "rapace_service")]
trait S {
    async fn s(&self);
}

impl S for Impl {
    async fn s(&self) {}
}

#[test]
fn an_item_that_cannot_be_read_fails_the_call_whatever_the_handler_answers() {
    let pair = pair(NoService, Services::new().add(SumsServer::new(Impl)));
    let id = SumsClient::METHODS[0].id;
    let streams = Streams { sends: true, receives: false };
    let error = pair.host.block_on(async {
        let call = pair.host.as_caller().open(id, b"", streams, &CallOptions::new()).await.unwrap();
        for item in [&[1][..], &[2], &[0xff; 7], &[4]] {
            // Behind the third the call may be over.
            let _ = poll_fn(|cx| call.poll_send(cx, item)).await;
        }
        call.finish();
        poll_fn(|cx| call.poll_reply(cx)).await.unwrap_err()
    });
    let CallError::Status(status) = error else { panic!("{error}") };
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.message.starts_with("an item of test.Sums.sum has 7 bytes that are no u32: "), "{status}");
}

#[test]
fn services_tell_the_peer_of_themselves_without_being_asked() {
    // Neither side has put a registry into its configuration.
    let services = Services::new().calls::<other::SumsClient>();
    let pair = pair(services, Services::new().add(SumsServer::new(Impl)));
    assert_eq!(pair.host.peer().registry.services().len(), 1);
    let error = other::SumsClient::new(&pair.host).blocking().negate(6).unwrap_err();
    let CallError::Incompatible { difference } = error else { panic!("{error}") };
    assert!(difference.contains("argument: u32 here, i32 there"), "{difference}");
}

#[test]
fn a_service_that_was_not_added_is_named() {
    let pair = pair(NoService, Services::new().add(SServer::new(Impl)));
    SClient::new(&pair.host).blocking().s().unwrap();
    let error = SumsClient::new(&pair.host).blocking().negate(6).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "Unimplemented: test.Sums.negate is not served here: is its service added to the callee's?");
}

#[test]
fn an_error_of_any_kind_that_can_be_shown_is_an_error() {
    let pair = pair(NoService, Services::new().add(SumsServer::new(Impl)));
    let client = SumsClient::new(&pair.host).blocking();
    let parse = |text: &str| -> Result<u32, Box<dyn std::error::Error>> { Ok(client.parse(text)?) };
    assert_eq!(parse("12").unwrap(), 12);
    assert_eq!(parse("x").unwrap_err().to_string(), "\"x\" is no number");
    assert_eq!(client.parse("y"), Err(Error::Service("\"y\" is no number".to_owned())));
}
