//! Gates before calls.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use rapace_session::{CallError, CallOptions, CallerSlot, Code, Gate, IncomingCall, Status, Streams};

use super::served;

/// What a gate has heard: `None` of a call that went well.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<(u32, Vec<Option<Code>>)>>);

impl Gate for Heard {
    fn admit(&self) -> Result<(), Status> {
        let mut heard = self.0.lock().unwrap();
        if heard.0 == 10 {
            return Err(Status::new(Code::ResourceExhausted, "the circuit is open"));
        }
        heard.0 += 1;
        Ok(())
    }

    fn ended(&self, outcome: Result<(), &CallError>) {
        self.0.lock().unwrap().1.push(outcome.err().map(CallError::code));
    }
}

impl Heard {
    fn take(&self) -> Vec<Option<Code>> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

const FAIL: u32 = 2;

fn answer(call: IncomingCall) {
    match call.method() {
        FAIL => call.fail(Status::new(Code::NotFound, "no")),
        _ => call.reply(b"yes"),
    }
}

#[test]
fn a_gate_hears_of_every_call_once() {
    let heard = Heard::default();
    let slot = CallerSlot::gated("nobody is there", heard.clone());
    let session = served(answer);
    slot.set(&session);
    let (caller, options) = (slot.caller(), CallOptions::new());
    let streams = Streams { sends: false, receives: true };
    for method in [1, FAIL] {
        let expected = (method == FAIL).then_some(Code::NotFound);
        let check = |way: &str, ok: bool| {
            assert_eq!(ok, expected.is_none(), "{way}");
            assert_eq!(heard.take(), [expected], "{way}");
        };
        check("blocking", caller.call_blocking(method, b"", &options).is_ok());
        check("in place", caller.call_in_place(method, 1, |_| {}, &options).is_ok());
        check("started", caller.start_in_place(method, 1, |_| {}, &options).unwrap().wait().is_ok());
        check("future", caller.block_on(caller.call(method, b"", &options)).unwrap().is_ok());
        let call = caller.block_on(caller.open(method, b"", streams, &options)).unwrap().unwrap();
        let reply = call.caller().block_on(std::future::poll_fn(|cx| call.poll_reply(cx))).unwrap();
        check("stream", reply.is_ok());
    }
    // The eleventh stays outside, and is not heard of again.
    let error = caller.call_blocking(1, b"", &options).unwrap_err();
    assert!(matches!(&error, CallError::Refused { reason } if reason.code == Code::ResourceExhausted), "{error}");
    assert_eq!(heard.take(), []);
}

#[test]
fn a_gate_hears_of_calls_that_were_given_up() {
    let heard = Heard::default();
    let slot = CallerSlot::gated("nobody is there", heard.clone());
    let desk = super::Desk::default();
    let session = served(desk.handler());
    slot.set(&session);
    let (caller, options) = (slot.caller(), CallOptions::new());
    drop(caller.call(1, b"", &options));
    assert_eq!(heard.take(), [], "nothing was done of it");
    {
        let mut call = std::pin::pin!(caller.call(1, b"", &options));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(caller.start_in_place(1, 1, |_| {}, &options).unwrap());
    assert_eq!(heard.take(), [Some(Code::Cancelled); 2]);
    drop(session);
    let error = caller.call_blocking(1, b"", &options).unwrap_err();
    assert_eq!((error.code(), heard.take()), (Code::Unavailable, vec![Some(Code::Unavailable)]));
}
