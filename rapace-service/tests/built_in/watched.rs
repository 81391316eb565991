//! Interceptors of both sides of a direct call.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use rapace_service::BuiltIn;
use rapace_service::intercept::{BearerToken, CallEnd, CallSide, CallStart, Interceptor, RequireBearer};
use rapace_session::{AsCaller, Code, Status};

use crate::contract::{EverythingServiceClient, Refusal};
use crate::services;

/// Notes each begin and each end.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Interceptor for Notes {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        let note = format!("{} {} of {} begins", call.side(), call.method().name, call.peer());
        self.0.lock().unwrap().push(note);
        Ok(())
    }

    fn end(&self, call: &CallEnd<'_>) {
        let note = format!("{} {} ends {:?}", call.side(), call.method().name, call.code());
        self.0.lock().unwrap().push(note);
    }
}

fn watched() -> (EverythingServiceClient, BuiltIn, Notes) {
    let notes = Notes::default();
    let plugin = BuiltIn::new("plugin", "1", services().intercept(notes.clone())).unwrap();
    let client = EverythingServiceClient::new(&plugin).intercepted_by(notes.clone());
    (client, plugin, notes)
}

fn expected(method: &str, callee: Option<Code>, caller: Option<Code>) -> Vec<String> {
    vec![
        format!("caller {method} of plugin begins"),
        format!("callee {method} of host begins"),
        format!("callee {method} ends {callee:?}"),
        format!("caller {method} ends {caller:?}"),
    ]
}

#[test]
fn interceptors_of_both_sides_see_each_direct_call_once() {
    let (client, _plugin, notes) = watched();
    let calls = client.blocking();
    assert_eq!(calls.add(1, 2), Ok(3));
    assert_eq!(notes.take(), expected("add", None, None));
    assert_eq!(calls.checked(0).unwrap_err().into_service(), Ok(Refusal::Zero));
    assert_eq!(notes.take(), expected("checked", None, None));
    calls.panics().unwrap_err();
    assert_eq!(notes.take(), expected("panics", Some(Code::Internal), Some(Code::Internal)));
    assert_eq!(calls.sum(1, [1, 2]), Ok(3));
    assert_eq!(notes.take(), expected("sum", None, None));
    calls.with_deadline(Duration::from_millis(5)).never().unwrap_err();
    assert_eq!(notes.take(), expected("never", Some(Code::Cancelled), Some(Code::DeadlineExceeded)));
}

#[test]
fn a_direct_stream_ends_for_its_interceptors_with_its_last_item() {
    let (client, _plugin, notes) = watched();
    let mut count = client.blocking().count(1).unwrap();
    assert_eq!(count.next(), Some(Ok(1)));
    assert_eq!(notes.take(), expected("count", None, None)[..2]);
    assert_eq!(count.next(), None);
    assert_eq!(notes.take(), expected("count", None, None)[2..]);
    drop(client.blocking().endless().unwrap());
    assert_eq!(notes.take(), expected("endless", Some(Code::Cancelled), Some(Code::Cancelled)));
    assert_eq!(client.blocking().breaks(1).unwrap().filter(Result::is_err).count(), 1);
    assert_eq!(notes.take(), expected("breaks", Some(Code::Internal), Some(Code::Internal)));
}

#[test]
fn a_direct_call_that_is_dropped_is_cancelled_for_its_interceptors() {
    let (client, plugin, notes) = watched();
    {
        let mut never = pin!(client.never());
        let once = poll_fn(|cx| Poll::Ready(never.as_mut().poll(cx).is_pending()));
        assert!(plugin.as_caller().block_on(once).unwrap());
    }
    assert_eq!(notes.take(), expected("never", Some(Code::Cancelled), Some(Code::Cancelled)));
}

#[test]
fn a_callee_in_this_process_refuses_and_lets_pass_by_metadata() {
    let require = RequireBearer::new(["secret"]).unwrap();
    let plugin = BuiltIn::new("plugin", "1", services().intercept(require)).unwrap();
    let (client, notes) = (EverythingServiceClient::new(&plugin), Notes::default());
    let watched = client.intercepted_by(notes.clone()).blocking();
    assert_eq!(watched.add(1, 2).unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(
        notes.take(),
        ["caller add of plugin begins".to_owned(), format!("caller add ends {:?}", Some(Code::Unauthenticated))]
    );
    assert_eq!(watched.count(1).unwrap_err().code(), Code::Unauthenticated);
    let client = client.intercepted_by(BearerToken::new("secret").unwrap());
    assert_eq!(client.blocking().add(1, 2), Ok(3));
    let seen = client.blocking().about("bearer").unwrap();
    assert!(seen.contains("authorization"), "the handler has the metadata: {seen}");
}

/// Refuses on one side.
struct Refuses(CallSide);

impl Interceptor for Refuses {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        if call.side() == self.0 { Err(Status::new(Code::Aborted, "not today")) } else { Ok(()) }
    }
}

#[test]
fn a_direct_call_that_its_caller_refuses_is_not_run() {
    let (client, _plugin, notes) = watched();
    let refused = client.intercepted_by(Refuses(CallSide::Caller)).blocking().add(1, 2);
    assert_eq!(refused.unwrap_err().code(), Code::Aborted);
    assert_eq!(notes.take().len(), 2, "the caller's begin and end, and nothing of the callee");
}
