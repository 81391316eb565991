//! How direct calls end before their handlers do, and plugins before their calls.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use parking_lot::Mutex;
use rapace_macros::service;
use rapace_service::{BuiltIn, Context, Services};
use rapace_session::{AsCaller, CallError, CallOptions, Code, Config, NoService, Status};

use crate::contract::{Everything, EverythingServiceClient, EverythingServiceServer};
use crate::{built_in, eventually, services};

#[service(name = "test.Host", version = "1.0", crate = "rapace_service")]
trait Host {
    async fn greeting(&self, ctx: &Context) -> String;
}

#[service(name = "test.Nested", version = "1.0", crate = "rapace_service")]
trait Nested {
    async fn greeted(&self, ctx: &Context) -> String;
    /// Calls itself.
    async fn deeper(&self, ctx: &Context) -> u8;
}

struct Greeter;

impl Host for Greeter {
    async fn greeting(&self, ctx: &Context) -> String {
        format!("hello {}, {}", ctx.peer(), ctx.depth())
    }
}

#[derive(Default)]
struct Nest(Mutex<Option<BuiltIn>>);

impl Nested for Nest {
    async fn greeted(&self, ctx: &Context) -> String {
        format!("{}: {}", ctx.peer(), HostClient::new(ctx).blocking().greeting().unwrap())
    }

    async fn deeper(&self, ctx: &Context) -> u8 {
        let plugin = self.0.lock().clone().unwrap();
        match NestedClient::new(&plugin).blocking().deeper() {
            Ok(depth) => depth,
            Err(CallError::TooDeep { .. }) => ctx.depth(),
            Err(_) => 0,
        }
    }
}

#[test]
fn a_call_that_is_dropped_drops_its_handler() {
    let everything = Everything::default();
    let dropped = Arc::clone(&everything.dropped);
    let built_in = BuiltIn::new("p", "1", Services::new().add(EverythingServiceServer::new(everything))).unwrap();
    let client = EverythingServiceClient::new(&built_in);
    let caller = built_in.as_caller();
    {
        let mut never = pin!(client.never());
        assert!(caller.block_on(poll_fn(|cx| Poll::Ready(never.as_mut().poll(cx).is_pending()))).unwrap());
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
    }
    // `pin!` keeps it until its block ends.
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let mut endless = client.blocking().endless().unwrap();
    assert_eq!(endless.next(), Some(Ok(0)));
    drop(endless);
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[test]
fn a_handler_calls_the_host_of_its_plugin() {
    let plugin = BuiltIn::new("nest", "1", Services::new().add(NestedServer::new(Nest::default()))).unwrap();
    let refused = NestedClient::new(&plugin).blocking().greeted().unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "without a host its handler panics");
    let hosted = plugin.hosted_by(Config::new("inn", "1"), Services::new().add(HostServer::new(Greeter)));
    for _ in 0..2 {
        assert_eq!(NestedClient::new(&hosted).blocking().greeted().unwrap(), "inn: hello nest, 2");
    }
    assert_eq!(NestedClient::new(&hosted.as_caller()).blocking().greeted().unwrap(), "inn: hello nest, 2");
}

#[test]
fn direct_calls_are_nested_no_deeper_than_others() {
    let nest = Arc::new(Nest::default());
    let plugin = BuiltIn::new("nest", "1", Services::new().add(NestedServer::from_arc(Arc::clone(&nest)))).unwrap();
    *nest.0.lock() = Some(plugin.clone());
    assert_eq!(NestedClient::new(&plugin).blocking().deeper(), Ok(16));
    // Each has the other.
    *nest.0.lock() = None;
}

#[test]
fn a_plugin_that_is_closed_refuses_calls() {
    let plugin = built_in();
    let client = EverythingServiceClient::new(&plugin).blocking();
    let caller = plugin.as_caller();
    assert_eq!(client.add(1, 2), Ok(3));
    assert!(plugin.closed().is_none());
    let reason = Status::new(Code::Unavailable, "done");
    plugin.close(&reason);
    plugin.close(&Status::new(Code::Unavailable, "again"));
    assert_eq!(plugin.closed(), Some(&reason));
    assert_eq!(client.add(1, 2), Err(CallError::Refused { reason }));
    assert_eq!(client.count(2).unwrap_err().code(), Code::Unavailable);
    assert_eq!(caller.call_blocking(1, b"", &CallOptions::new()).unwrap_err().code(), Code::Unavailable);
    assert_eq!(plugin.as_caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err().code(), Code::Unavailable);
}

#[test]
fn a_service_that_the_plugin_lacks_is_unimplemented() {
    let error = HostClient::new(&built_in()).blocking().greeting().unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
}

#[test]
fn a_plugin_knows_what_it_is() {
    let plugin = BuiltIn::new("one", "1.2.3", services().calls::<HostClient>()).unwrap();
    assert_eq!((plugin.name(), plugin.version()), ("one", "1.2.3"));
    assert_eq!(plugin.registry(), &services().calls::<HostClient>().registry().unwrap());
    let hosted = plugin.hosted_by(Config::new("inn", "1"), NoService);
    assert_eq!((hosted.name(), hosted.version(), hosted.registry()), ("one", "1.2.3", plugin.registry()));
}

/// Threads of this process with that name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[test]
fn a_session_comes_when_it_is_asked_for_and_goes_with_the_plugin() {
    let plugin = BuiltIn::new("passing", "1", services()).unwrap();
    let client = EverythingServiceClient::new(&plugin);
    assert_eq!(client.blocking().add(1, 2), Ok(3));
    assert_eq!(threads("passing"), 0);
    let caller = plugin.as_caller();
    assert_eq!(EverythingServiceClient::new(&caller).blocking().add(1, 2), Ok(3));
    eventually("each side is attended to", || threads("passing") == 2);
    drop((plugin, client));
    eventually("its threads end", || threads("passing") == 0);
    assert_eq!(caller.call_blocking(1, b"", &CallOptions::new()).unwrap_err().code(), Code::Unavailable);
}
