//! What is known of a session that is open, and of one that has ended.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rapace_core::GeometryConfig;
use rapace_core::socket::Socket;
use rapace_session::{
    CallInFlight, CallOptions, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, Pulse, Session,
    SessionEnd, Status,
};

fn pair(a_handler: impl Handler, config: Config) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let plugin =
        thread::spawn(move || Handshake::<PeerB>::accept(b, Config::new("b", "1")).unwrap().finish(NoService).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn methods(listed: &[CallInFlight]) -> Vec<(u32, bool)> {
    listed.iter().map(|call| (call.method, call.is_given_up)).collect()
}

#[test]
fn calls_in_flight_are_known_while_they_are_and_when_the_session_has_ended() {
    static KEPT: Mutex<Vec<IncomingCall>> = Mutex::new(Vec::new());
    let (host, plugin) = pair(|call: IncomingCall| KEPT.lock().unwrap().push(call), Config::new("a", "1"));
    let calls: Vec<_> = [7, 8, 9].map(|method| host.start(method, b"secret", &CallOptions::new()).unwrap()).into();
    let mut calls = calls.into_iter();
    drop(calls.next());
    let _theirs = plugin.start(100, b"", &CallOptions::new()).unwrap();
    while KEPT.lock().unwrap().is_empty() {
        assert!(host.serve_for(Duration::from_millis(1)).is_none());
    }
    let check = || {
        let found = host.condition();
        assert_eq!((found.calls.count, found.served.count), (3, 1));
        assert_eq!(methods(&found.calls.listed), [(7, true), (8, false), (9, false)]);
        assert_eq!(methods(&found.served.listed), [(100, false)]);
        found
    };
    let open = check();
    // Three requests and a cancel; what the peer has taken it tells when it likes.
    assert!((4..=host.stats().link.frames_sent).contains(&open.ring_used.unwrap().into()), "{open:?}");
    assert_eq!(open.ring_capacity, 64);
    assert!(open.slots_free.unwrap() <= open.slot_count && open.peer != Some(Pulse::Closed), "{open:?}");
    plugin.close(&Status::new(Code::Aborted, "enough"));
    assert!(matches!(*host.serve(), SessionEnd::PeerClosed(_)));
    let ended = check();
    assert_eq!(ended.peer, Some(Pulse::Closed));
    let channels = |found: &[CallInFlight]| found.iter().map(|call| call.channel).collect::<Vec<_>>();
    assert_eq!(channels(&ended.calls.listed), channels(&open.calls.listed));
    assert_eq!(host.stats().calls_in_flight, 0);
    KEPT.lock().unwrap().clear();
}

#[test]
fn of_many_calls_some_are_listed() {
    let geometry = GeometryConfig { ring_capacity: 256, ..GeometryConfig::default() };
    let (host, _plugin) = pair(NoService, Config { geometry, ..Config::new("a", "1") });
    let calls: Vec<_> = (0..100).map(|method| host.try_start(method, b"", &CallOptions::new()).unwrap()).collect();
    let found = host.condition().calls;
    assert_eq!((found.count, found.listed.len()), (100, 64));
    drop(calls);
}
