//! What holds for any interceptors, and what the tests of each have in common.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rapace_registry::MethodKind;
use rapace_session::{Code, Metadata, Status};

use super::*;
use crate::method_info::MethodInfo;

pub(crate) static GET: MethodInfo = MethodInfo { service: "demo.Kv", name: "get", id: 1, kind: MethodKind::Unary };
pub(crate) static SET: MethodInfo = MethodInfo { service: "demo.Kv", name: "set", id: 2, kind: MethodKind::Unary };

pub(crate) fn peer() -> Arc<str> {
    Arc::from("peer")
}

/// Begins a call of the peer with a request of 10 bytes.
pub(crate) fn start(interceptors: &Interceptors, method: &'static MethodInfo) -> Result<CallGuard, Status> {
    let (peer, metadata) = (peer(), Metadata::new());
    interceptors.begin(|| CallStart::callee(method, &peer, &metadata, None, 10))
}

type Log = Arc<Mutex<Vec<String>>>;

/// What a [`Step`] does when the call begins or ends.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Log,
    Refuse,
    PanicAtBegin,
    PanicAtEnd,
}

/// Writes down what it is told.
struct Step(&'static str, Does, Log);

impl Step {
    fn write(&self, line: String) {
        self.2.lock().unwrap().push(line);
    }
}

impl Interceptor for Step {
    fn begin(&self, _call: &mut CallStart<'_>) -> Result<(), Status> {
        self.write(format!("begin {}", self.0));
        match self.1 {
            Does::Refuse => Err(Status::new(Code::Unavailable, "not now")),
            Does::PanicAtBegin => panic!("begin"),
            _ => Ok(()),
        }
    }

    fn end(&self, call: &CallEnd<'_>) {
        self.write(format!("end {} {:?}", self.0, call.code()));
        assert!(self.1 != Does::PanicAtEnd, "end");
    }
}

/// Three steps, the second of which does `second`, and their log.
fn three(second: Does) -> (Interceptors, Log) {
    let log = Log::default();
    let step = |name, does| Step(name, does, Arc::clone(&log));
    let none = Interceptors::none();
    (none.with(step("a", Does::Log)).with(step("b", second)).with(step("c", Does::Log)), log)
}

#[track_caller]
fn check(log: &Log, expected: &[&str]) {
    assert_eq!(*log.lock().unwrap(), expected);
}

#[test]
fn they_begin_in_order_and_end_in_reverse() {
    let (interceptors, log) = three(Does::Log);
    assert_eq!((interceptors.len(), interceptors.is_empty()), (3, false));
    start(&interceptors, &GET).unwrap().end(None);
    check(&log, &["begin a", "begin b", "begin c", "end c None", "end b None", "end a None"]);
}

#[test]
fn one_that_refuses_ends_those_before_it() {
    let (interceptors, log) = three(Does::Refuse);
    assert_eq!(start(&interceptors, &GET).unwrap_err(), Status::new(Code::Unavailable, "not now"));
    check(&log, &["begin a", "begin b", "end a Some(Unavailable)"]);
}

#[test]
fn one_that_panics_refuses_with_internal() {
    let (interceptors, log) = three(Does::PanicAtBegin);
    let refused = start(&interceptors, &GET).unwrap_err();
    let message = "an interceptor of demo.Kv.get panicked when the call began";
    assert_eq!(refused, Status::new(Code::Internal, message));
    check(&log, &["begin a", "begin b", "end a Some(Internal)"]);
}

#[test]
fn one_that_panics_at_the_end_keeps_nobody_from_ending() {
    let (interceptors, log) = three(Does::PanicAtEnd);
    start(&interceptors, &GET).unwrap().end(None);
    check(&log, &["begin a", "begin b", "begin c", "end c None", "end b None", "end a None"]);
}

#[test]
fn a_future_that_is_dropped_ends_its_call_as_cancelled() {
    let (interceptors, log) = three(Does::Log);
    {
        let mut call = pin!(async {
            let guard = start(&interceptors, &GET).unwrap();
            std::future::pending::<()>().await;
            guard.end(None);
        });
        assert_eq!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        assert_eq!(log.lock().unwrap().len(), 3);
    }
    let cancelled = ["end c Some(Cancelled)", "end b Some(Cancelled)", "end a Some(Cancelled)"];
    assert_eq!(log.lock().unwrap()[3..], cancelled);
}

#[test]
fn a_handler_that_panics_ends_its_call_with_internal_even_if_an_end_panics_too() {
    let (interceptors, log) = three(Does::PanicAtEnd);
    let guard = start(&interceptors, &GET).unwrap();
    // The executor catches the panic and drops the future later.
    let mut call = Box::pin(async move {
        let _guarded = &guard;
        panic!("the handler");
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    assert!(outcome.is_err());
    drop(call);
    let internal = ["end c Some(Internal)", "end b Some(Internal)", "end a Some(Internal)"];
    assert_eq!(log.lock().unwrap()[3..], internal);
}

#[test]
fn a_caller_that_panics_has_cancelled_its_call() {
    let (interceptors, log) = three(Does::Log);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let (peer, mut metadata) = (peer(), Metadata::new());
        let _guard = interceptors.begin(|| CallStart::caller(&GET, &peer, &mut metadata, None, 0)).unwrap();
        panic!("the caller");
    }));
    assert!(outcome.is_err());
    assert_eq!(log.lock().unwrap()[3], "end c Some(Cancelled)");
}

#[test]
fn without_interceptors_nobody_asks_what_begins() {
    let mut guard = Interceptors::none().begin(|| unreachable!("there is nobody to tell")).unwrap();
    guard.add_response_bytes(1);
    guard.end(None);
    assert!(Interceptors::default().is_empty());
}

/// Adds a pair where it may, and keeps the last call as text.
struct Look(Mutex<Vec<String>>);

impl Interceptor for Arc<Look> {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        let could_add = call.metadata_mut().map(|metadata| metadata.insert("k", "v").unwrap()).is_some();
        let left = call.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.0.lock().unwrap().push(format!(
            "{} {} {} {could_add} {:?} {} {}",
            call.side(),
            call.method().full_name(),
            call.peer(),
            call.metadata(),
            left.is_some_and(|left| left > Duration::from_secs(50) && left <= Duration::from_secs(60)),
            call.request_bytes()
        ));
        Ok(())
    }

    fn end(&self, call: &CallEnd<'_>) {
        self.0.lock().unwrap().push(format!(
            "{} {} {} {} {:?} {} {}",
            call.side(),
            call.method().full_name(),
            call.peer(),
            call.deadline().is_some(),
            call.code(),
            call.request_bytes(),
            call.response_bytes()
        ));
    }
}

#[test]
fn only_a_caller_adds_metadata_and_both_see_the_call() {
    let look = Arc::new(Look(Mutex::default()));
    let interceptors = Interceptors::none().with(Arc::clone(&look));
    let (peer, mut metadata) = (peer(), Metadata::new());
    let minute = Duration::from_secs(60);
    let mut guard = interceptors.begin(|| CallStart::caller(&GET, &peer, &mut metadata, Some(minute), 3)).unwrap();
    guard.add_request_bytes(4);
    guard.add_response_bytes(5);
    guard.end(Some(Code::NotFound));
    let until = Some(Instant::now() + minute);
    interceptors.begin(|| CallStart::callee(&SET, &peer, &metadata, until, 3)).unwrap().end(None);
    assert_eq!(
        *look.0.lock().unwrap(),
        [
            r#"caller demo.Kv.get peer true {"k": [118]} true 3"#,
            "caller demo.Kv.get peer true Some(NotFound) 7 5",
            r#"callee demo.Kv.set peer false {"k": [118]} true 3"#,
            "callee demo.Kv.set peer true None 3 0",
        ]
    );
    let for_ever = Some(Duration::MAX);
    assert_eq!(CallStart::caller(&GET, &peer, &mut metadata, for_ever, 0).deadline(), None);
}
