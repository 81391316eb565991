//! Sessions that end in good order (SPEC X3, X4).

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rapace_session::{CallError, CallOptions, Code, Config, NoService, PeerState, SessionEnd, Status};
use rapace_tests::method;
use rapace_tests::pattern::words;
use rapace_tests::service::Service;

use crate::support::{PATIENCE, Plugin, config, eventually, offer, peer, spawn, while_serving};

#[test]
fn a_plugin_that_goes_away_takes_no_more_calls_and_ends_those_in_flight() {
    let plugin = Plugin::start(&["serve"]);
    let held = plugin.start_call(method::HOLD, b"in flight");
    let release = plugin.start_call(method::BYTES_LATER, b"");
    plugin.ask(method::GO_AWAY, &[]);
    let before = plugin.stats().link.frames_sent;
    let refused = plugin.try_call(method::ECHO, b"").unwrap_err();
    assert_eq!(refused, CallError::Refused { reason: Status::new(Code::Unavailable, "the plugin drains") });
    // The plugin would have refused it too, but it was not sent.
    assert_eq!(plugin.stats().link.frames_sent, before);
    release.wait().unwrap();
    let Err(held) = held.try_wait() else { panic!("the call is held") };
    assert_eq!((plugin.end(), plugin.stats().calls_in_flight), (None, 1));
    drop(held);
    assert_eq!(plugin.end(), None);
}

#[test]
fn those_who_wait_for_room_hear_of_a_plugin_that_goes_away() {
    let plugin = Plugin::start(&["serve", "calls=2", "wait=spin"]);
    let start = Instant::now();
    while_serving(&plugin, |_| {
        let _held = plugin.start_call(method::HOLD, b"");
        assert_eq!(plugin.count(method::HELD), 1);
        // It computes for a while, then goes away, and never answers.
        let _leaving = plugin.start_call(method::LEAVE, &words(&[200]));
        let refused = plugin.try_call(method::ECHO, b"").unwrap_err();
        assert!(matches!(refused, CallError::Refused { .. }), "{refused}");
    });
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

#[test]
fn a_sleeping_peer_is_woken_for_a_go_away() {
    let plugin = Plugin::start(&["serve"]);
    // Before it serves it is dormant too, and not asleep.
    plugin.try_call(method::ECHO, b"").unwrap();
    eventually("the plugin is dormant", || plugin.peer_state() == PeerState::Dormant);
    let before = plugin.stats().link.bells_sent;
    plugin.go_away(&Status::new(Code::Unavailable, "the host drains"));
    assert_eq!(plugin.stats().link.bells_sent, before + 1);
}

#[test]
fn a_host_that_goes_away_answers_what_comes_late() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    let first = plugin.start_call(method::ENTER, b"first");
    eventually("the plugin has called back", || {
        plugin.serve_for(std::time::Duration::from_millis(1));
        service.held() == 1
    });
    plugin.go_away(&Status::new(Code::Unavailable, "the host drains"));
    assert_eq!(service.release(), 1);
    assert_eq!(first.wait().unwrap().body.to_vec(), b"first");
    // The plugin goes on to serve, but may not call.
    let error = plugin.try_call(method::ENTER, b"second").unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.to_string().contains("the host drains"), "{error}");
    plugin.check_clean();
}

#[test]
fn a_closed_session_says_so_on_both_sides() {
    let plugin = Plugin::start(&["serve"]);
    let held = plugin.start_call(method::HOLD, b"");
    assert_eq!(plugin.count(method::HELD), 1);
    plugin.close(&Status::new(Code::Aborted, "enough"));
    assert_eq!(plugin.end().as_deref(), Some(&SessionEnd::Closed));
    for error in [held.wait().unwrap_err(), plugin.try_call(method::ECHO, b"").unwrap_err()] {
        assert_eq!(error.session_end(), Some(&SessionEnd::Closed));
    }
    assert!(matches!(plugin.peer_state(), PeerState::Gone { .. }));
    assert_eq!(plugin.reap(PATIENCE).unwrap().code(), Some(0), "the plugin has seen a close, not a death");
}

#[test]
fn a_close_of_the_plugin_reaches_the_host_with_its_reason() {
    let plugin = Plugin::start(&["serve"]);
    let held = plugin.start_call(method::HOLD, b"");
    let reason = Status::new(Code::Aborted, "the plugin has had enough");
    let error = plugin.try_call(method::CLOSE, b"").unwrap_err();
    assert_eq!(error.session_end(), Some(&SessionEnd::PeerClosed(reason.clone())));
    assert_eq!(held.wait().unwrap_err().session_end(), Some(&SessionEnd::PeerClosed(reason)));
    assert_eq!(plugin.reap(PATIENCE).unwrap().code(), Some(5), "the plugin has closed the session itself");
}

#[test]
fn a_close_wakes_a_thread_that_serves() {
    let plugin = Plugin::start(&["serve"]);
    thread::scope(|scope| {
        let servers = [scope.spawn(|| plugin.serve()), scope.spawn(|| plugin.serve())];
        let echoed = plugin.try_call(method::ECHO, b"");
        plugin.close(&Status::new(Code::Unavailable, "done"));
        echoed.unwrap();
        servers.into_iter().for_each(|server| assert_eq!(*server.join().unwrap(), SessionEnd::Closed));
    });
}

#[test]
fn a_dropped_session_is_closed() {
    let (socket, mut child) = spawn(peer(&["serve"]).stdout(std::process::Stdio::piped()));
    let stdout = child.stdout.take().unwrap();
    let session = offer(socket, child, Config::new("host", "1"), NoService).unwrap();
    let clone = session.clone();
    drop(session);
    // A clone keeps it open.
    clone.call(method::ECHO, b"", &CallOptions::new()).unwrap();
    drop(clone);
    // The plugin is killed when the session is gone, if it has not ended by then.
    let mut said = String::new();
    std::io::Read::read_to_string(&mut { stdout }, &mut said).unwrap();
    assert!(said.is_empty() || said.contains("the session was dropped"), "{said}");
}
