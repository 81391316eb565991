//! Every kind of method, with one body of code for all peers.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rapace_service::{BuiltIn, Incoming, Services};
use rapace_session::{AsCaller, CallError, CallOptions, Metadata, NoService};

use crate::contract::{Blob, Everything, EverythingServiceClient, EverythingServiceServer, slow};
use crate::pair::pair;
use crate::{built_in, services};

/// What was found, step by step.
#[derive(Default)]
struct Log(Vec<String>);

impl Log {
    fn note(&mut self, found: impl Debug) {
        self.0.push(format!("{found:?}"));
    }
}

fn options() -> CallOptions {
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    metadata.insert("own", "1").unwrap();
    CallOptions::new().metadata(metadata).deadline(Duration::from_secs(60))
}

fn blocking(peer: &impl AsCaller) -> Vec<String> {
    let mut log = Log::default();
    let client = EverythingServiceClient::new(peer).blocking();
    log.note(client.add(2, -5));
    for number in [0, 7, 100] {
        log.note(client.checked(number));
    }
    log.note((client.lent("", b"x"), client.lent("k", b"h")));
    log.note((client.bytes(true, vec![1, 2]), client.bytes(false, vec![3, 4])));
    log.note(client.blob(Blob { name: "a".to_owned(), bytes: vec![1] }));
    // A service may have a method that everything has.
    log.note((client.nothing(), client.r#type(1, 2, 3, 4), client.clone()));
    log.note((client.about("plain"), client.with_options(options()).about("more")));
    log.note((client.with_deadline(Duration::from_secs(60)).later(1), client.idempotent().later(2)));
    log.note((client.panics(), client.panics_later(), client.add(1, 1)));
    let hurried = client.with_deadline(Duration::from_millis(20));
    log.note(hurried.never().map_err(|error| error.code()));
    log.note(client.with_deadline(Duration::ZERO).add(1, 1).map_err(|error| error.code()));

    log.note((client.sum(2, 0..1000), client.sum(3, [])));
    log.note((client.first(5..), client.first([])));
    log.note(client.count(100).unwrap().collect::<Vec<_>>());
    log.note(client.letters("ab", &[7, 8]).unwrap().collect::<Vec<_>>());
    log.note(client.later_letters("ab").unwrap().collect::<Vec<_>>());
    log.note(client.endless().unwrap().take(3).collect::<Vec<_>>());
    log.note(client.breaks(2).unwrap().collect::<Vec<_>>());
    let end = hurried.endless().map(|items| items.filter_map(Result::err).next());
    log.note(end.unwrap_or_else(Some).map(|error| error.code()));
    let words = (0..300).map(|word| if word % 7 == 0 { String::new() } else { format!("word {word}") });
    log.note(client.echo(words.collect::<Vec<_>>()).unwrap().collect::<Vec<_>>());
    log.0
}

async fn all<T>(incoming: Result<Incoming<T>, CallError>) -> Vec<Result<T, CallError>> {
    let (mut incoming, mut items) = (incoming.unwrap(), Vec::new());
    while let Some(item) = incoming.next().await {
        items.push(item);
    }
    assert!(incoming.next().await.is_none());
    items
}

async fn awaited(peer: &impl AsCaller) -> Vec<String> {
    let mut log = Log::default();
    let client = EverythingServiceClient::new(peer);
    log.note(client.add(2, -5).await);
    for number in [0, 7, 100] {
        log.note(client.checked(number).await);
    }
    log.note((client.lent("", b"x").await, client.lent("k", b"h").await));
    log.note((client.bytes(true, vec![1, 2]).await, client.bytes(false, vec![3, 4]).await));
    log.note((client.nothing().await, client.about("plain").await));
    log.note(client.with_options(options()).about("more").await);
    log.note(client.with_deadline(Duration::from_secs(60)).later(1).await);
    log.note((client.panics().await, client.panics_later().await, client.add(1, 1).await));
    let hurried = client.with_deadline(Duration::from_millis(20));
    log.note(hurried.never().await.map_err(|error| error.code()));

    log.note((client.sum(2, slow(0..1000)).await, client.sum(3, slow(0..0)).await));
    log.note((client.first(slow(5..)).await, client.first(slow(0..0)).await));
    log.note(all(client.count(100).await).await);
    log.note(all(client.letters("ab", &[7, 8]).await).await);
    log.note(all(client.later_letters("ab").await).await);
    log.note(all(client.breaks(2).await).await);
    let end = match hurried.endless().await {
        Ok(items) => all(Ok(items)).await.pop().and_then(Result::err),
        Err(error) => Some(error),
    };
    log.note(end.map(|error| error.code()));
    let words = (0..300).map(|word| if word % 7 == 0 { String::new() } else { format!("word {word}") });
    log.note(all(client.echo(slow(words.collect::<Vec<_>>().into_iter())).await).await);
    log.0
}

#[track_caller]
fn check_same(expected: &[String], found: &[String]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_blocking_client_finds_a_built_in_plugin_to_be_as_any_other() {
    let pair = pair(NoService, services());
    let expected = blocking(&pair.host);
    assert!(expected.len() > 20);
    let built_in = built_in();
    check_same(&expected, &blocking(&built_in));
    // By bytes, through the session that it has then.
    check_same(&expected, &blocking(&built_in.as_caller()));
}

#[test]
fn an_async_client_finds_the_same() {
    let pair = pair(NoService, services());
    let expected = pair.host.block_on(awaited(&pair.host));
    assert!(expected.len() > 15);
    let built_in = built_in();
    let caller = built_in.as_caller();
    check_same(&expected, &caller.block_on(awaited(&built_in)).unwrap());
    check_same(&expected, &caller.block_on(awaited(&caller)).unwrap());
}

#[test]
fn a_direct_call_encodes_nothing_and_stays_on_its_thread() {
    let everything = Everything { caller: Some(thread::current().id()), ..Everything::default() };
    let services = Services::new().add(EverythingServiceServer::new(everything));
    let built_in = BuiltIn::new("plugin", "1", services).unwrap();
    let bytes = vec![1, 2, 3];
    let address = bytes.as_ptr().addr() as u64;
    assert_eq!(EverythingServiceClient::new(&built_in).blocking().place(bytes), Ok((address, true)));
}

#[test]
fn items_are_made_when_they_are_asked_for() {
    let everything = Everything::default();
    let made = Arc::clone(&everything.made);
    let services = Services::new().add(EverythingServiceServer::new(everything));
    let client = EverythingServiceClient::new(&BuiltIn::new("plugin", "1", services).unwrap()).blocking();
    let mut endless = client.endless().unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 0);
    for item in 0..10 {
        assert_eq!(endless.next(), Some(Ok(item)));
        assert_eq!(made.load(Ordering::SeqCst), item + 1);
    }
}

#[test]
fn a_caller_is_not_far_ahead_of_its_reader() {
    let client = EverythingServiceClient::new(&built_in()).blocking();
    let mut asked = 0;
    assert_eq!(client.first((0..).inspect(|_| asked += 1)), Ok(0));
    assert!(asked <= 64, "{asked} items for a reader of one");
}
