//! Callers that outlive sessions.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use rapace_core::socket::Socket;
use rapace_session::{
    CallError, CallOptions, CallerSlot, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB,
    Session, Status,
};

fn pair(b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config = Config::new("test", "1");
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(NoService).unwrap();
    (host, plugin.join().unwrap())
}

fn serve(plugin: &Session<PeerB>) {
    let plugin = plugin.clone();
    thread::spawn(move || plugin.serve());
}

/// A slot whose first session ends in the middle of a call, when a second one has taken its place.
fn restarted(test: impl FnOnce(&CallerSlot, [&Session<PeerA>; 2])) {
    let slot = CallerSlot::new("nobody is there");
    let (second, second_plugin) = pair(|call: IncomingCall| call.reply(b"second"));
    serve(&second_plugin);
    let first_plugin = Arc::new(OnceLock::<Session<PeerB>>::new());
    let handler = {
        let (slot, second, this) = (slot.clone(), second.clone(), Arc::clone(&first_plugin));
        move |_: IncomingCall| {
            slot.set(&second);
            this.get().unwrap().close(&Status::new(Code::Aborted, "crashed"));
        }
    };
    let (first, plugin) = pair(handler);
    first_plugin.set(plugin.clone()).unwrap();
    serve(&plugin);
    slot.set(&first);
    test(&slot, [&first, &second]);
}

#[test]
fn an_idempotent_call_is_made_again_on_the_next_session() {
    let options = CallOptions::new().idempotent();
    restarted(|slot, _| assert_eq!(*slot.caller().call_blocking(1, b"", &options).unwrap().body, *b"second"));
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_makes_it_again_too() {
    use rapace_session::tokio::AsyncSession;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    restarted(|slot, sessions| {
        runtime.block_on(async {
            let _attended = sessions.map(|session| AsyncSession::new(session.clone()).unwrap());
            let options = CallOptions::new().idempotent();
            assert_eq!(*slot.caller().call(1, b"", &options).await.unwrap().body, *b"second");
        });
    });
}

#[test]
fn any_other_call_is_not() {
    restarted(|slot, _| {
        let error = slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err();
        assert!(matches!(error, CallError::SessionEnded { .. }) && error.may_have_run(), "{error}");
        // The next one finds the second session.
        assert_eq!(*slot.caller().call_blocking(1, b"", &CallOptions::new()).unwrap().body, *b"second");
    });
}

#[test]
fn an_idempotent_call_is_run_twice_at_most() {
    let (slot, ran) = (CallerSlot::new("nobody is there"), Arc::new(AtomicU32::new(0)));
    let sessions = [(); 4].map(|()| {
        let plugin = Arc::new(OnceLock::<Session<PeerB>>::new());
        let (this, ran) = (Arc::clone(&plugin), Arc::clone(&ran));
        let (host, serving) = pair(move |_: IncomingCall| {
            ran.fetch_add(1, Ordering::SeqCst);
            this.get().unwrap().close(&Status::new(Code::Aborted, "crashed"));
        });
        plugin.set(serving.clone()).unwrap();
        serve(&serving);
        host
    });
    slot.set_all(&sessions);
    let error = slot.caller().call_blocking(1, b"", &CallOptions::new().idempotent()).unwrap_err();
    assert!(matches!(error, CallError::SessionEnded { sent: true, .. }), "{error}");
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

#[test]
fn a_caller_without_a_session_says_so() {
    let error = CallerSlot::new("nobody is there").caller().call_blocking(1, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "the call was not run: Unavailable: nobody is there");
    assert!(!error.may_have_run());
}
