//! Handshakes that fail, and what each side says of it.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{HalfFds, Prefault, Segment};
use rapace_core::socket::Socket;
use rapace_core::{Geometry, GeometryConfig};
use rapace_session::{Code, Config, Fault, HandshakeError, NoService, Process};

use crate::support::{PATIENCE, config, offer, peer, spawn};

/// The error of a host's handshake with a peer of this behaviour.
#[track_caller]
fn refusal(config: Config, behaviour: &str) -> HandshakeError {
    let (socket, child) = spawn(peer(&[behaviour]).stderr(Stdio::null()));
    offer(socket, child, config, NoService).unwrap_err()
}

#[track_caller]
fn check_refused(behaviour: &str, code: Code, parts: &[&str]) {
    match refusal(config(), behaviour) {
        HandshakeError::Refused(status) => {
            assert_eq!(status.code, code, "{behaviour}: {status}");
            parts.iter().for_each(|part| assert!(status.message.contains(part), "{behaviour}: {status}"));
        }
        other => panic!("{behaviour}: {other}"),
    }
}

#[track_caller]
fn check_fault(behaviour: &str, rule: &str) {
    match refusal(config(), behaviour) {
        HandshakeError::Fault(fault) => assert_eq!(fault.rule(), rule, "{behaviour}: {fault}"),
        other => panic!("{behaviour}: {other}"),
    }
}

#[test]
fn a_hello_of_another_major_version_is_refused() {
    check_refused("is-of-another-version", Code::FailedPrecondition, &["version is 2", "1 is spoken here"]);
}

#[test]
fn a_hello_in_the_wrong_role_is_refused() {
    check_refused("is-in-the-wrong-role", Code::FailedPrecondition, &["role is 0", "1 (peer B)"]);
}

#[test]
fn a_hello_out_of_bounds_is_refused() {
    check_refused("takes-too-many-calls", Code::InvalidArgument, &["max_calls", "5000", "1 to 4096"]);
    check_refused("has-a-long-name", Code::InvalidArgument, &["name", "129", "128"]);
    check_refused("says-more-behind-its-hello", Code::InvalidArgument, &["1 bytes are left"]);
    check_refused("babbles", Code::InvalidArgument, &["40 bytes are no hello"]);
}

#[test]
fn a_registry_that_cannot_be_read_is_refused() {
    check_refused("has-a-broken-registry", Code::InvalidArgument, &["registry of the hello"]);
}

#[test]
fn the_plugins_refusals_reach_the_host() {
    for (behaviour, code, text) in [
        ("refuses-the-offer", Code::FailedPrecondition, "not today"),
        ("refuses-the-hello", Code::PermissionDenied, "your name is not on the list"),
    ] {
        match refusal(config(), behaviour) {
            HandshakeError::RefusedByPeer(status) => assert_eq!((status.code, &*status.message), (code, text)),
            other => panic!("{behaviour}: {other}"),
        }
    }
}

#[test]
fn silence_is_noticed_within_the_start_timeout() {
    for (behaviour, missing) in [("is-silent", "hello"), ("says-no-more-than-hello", "answer to the hello")] {
        let mut time = Duration::from_millis(300);
        loop {
            let mut config = config();
            config.timeouts.start = time;
            let start = Instant::now();
            let error = refusal(config, behaviour);
            assert!(start.elapsed() >= time, "{error} after {:?}", start.elapsed());
            match error {
                HandshakeError::TimedOut { due, waited } if due == missing => break assert_eq!(waited, time),
                // The machine is busy: the peer has not come to its hello.
                HandshakeError::TimedOut { due: "hello", .. } if time < PATIENCE => time *= 4,
                other => panic!("{behaviour}: {other}"),
            }
        }
    }
}

#[test]
fn a_death_is_told_with_the_exit_code_or_the_signal() {
    for (behaviour, code, signal) in
        [("exits", Some(7), None), ("exits-after-the-offer", Some(8), None), ("dies", None, Some(9))]
    {
        match refusal(config(), behaviour) {
            HandshakeError::PeerGone(Some(exit)) => assert_eq!((exit.code(), exit.signal()), (code, signal)),
            other => panic!("{behaviour}: {other}"),
        }
    }
}

#[test]
fn frames_out_of_the_order_of_the_handshake_are_faults() {
    check_fault("calls-before-its-hello", "X2");
    check_fault("accepts-before-its-hello", "X2");
    check_fault("says-hello-twice", "X2");
    check_fault("accepts-with-a-body", "X1");
    check_fault("says-a-huge-hello", "X6");
}

#[test]
fn a_half_that_is_not_of_this_session_is_a_fault() {
    match refusal(config(), "has-another-nonce") {
        HandshakeError::Fault(Fault::Link(fault)) => assert_eq!(fault.rule(), "H3"),
        other => panic!("{other}"),
    }
}

/// What a plugin answers to a first message, and the code with which it exits.
fn answer_to(message: &[u8], fds: &[BorrowedFd<'_>]) -> (Option<(u32, String)>, Option<i32>) {
    let (socket, child) = spawn(peer(&["serve"]).stderr(Stdio::null()));
    let mut process = Process::new(child).unwrap();
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &[][..] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], rights, MsgFlags::MSG_NOSIGNAL, None).unwrap();
    assert!(socket.wait(None, Some(PATIENCE)).unwrap().socket);
    let drained = socket.drain(1).unwrap();
    let exit = process.wait(PATIENCE).unwrap();
    (drained.refusal.map(|refusal| (refusal.code, refusal.text)), exit.code())
}

#[track_caller]
fn check_answer(message: &[u8], fds: &[BorrowedFd<'_>], code: Code, text: &str) {
    let (refusal, exit) = answer_to(message, fds);
    let (found, said) = refusal.unwrap();
    assert!(said.contains(text), "{said}");
    assert_eq!((Code::from_raw(found), exit), (code, Some(1)), "{said}");
}

/// A good offer.
fn good_offer() -> (Offer, Segment, HalfFds) {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let (segment, fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
    (Offer::new(Backing::Sealed, 1, geometry), segment, fds)
}

#[test]
fn a_plugin_refuses_an_offer_of_another_major_version() {
    let (good, _segment, fds) = good_offer();
    let other = Offer { major: 2, ..good }.encode();
    check_answer(&other, &[fds.a.as_fd(), fds.b.as_fd()], Code::FailedPrecondition, "protocol 2.0");
}

#[test]
fn a_plugin_refuses_an_offer_with_too_few_or_too_many_descriptors() {
    let (good, _segment, HalfFds { a, b }) = good_offer();
    let message = good.encode();
    let (a, b) = (a.as_fd(), b.as_fd());
    check_answer(&message, &[], Code::InvalidArgument, "O2: 0 descriptors");
    check_answer(&message, &[a], Code::InvalidArgument, "O2: 1 descriptors");
    check_answer(&message, &[a, b, a], Code::InvalidArgument, "O2: 3 descriptors");
}

#[test]
fn a_plugin_refuses_halves_that_are_not_what_the_offer_says() {
    let (good, _segment, HalfFds { a, b }) = good_offer();
    let message = good.encode();
    let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    check_answer(&message, &[b.as_fd(), a.as_fd()], Code::InvalidArgument, "O2: half A");
    check_answer(&message, &[null.as_fd(), b.as_fd()], Code::InvalidArgument, "O2: half A is no memfd");
    let smaller = Geometry::new(GeometryConfig { segment_bytes: 2 << 20, ..GeometryConfig::default() }).unwrap();
    let message = Offer::new(Backing::Sealed, 1, smaller).encode();
    check_answer(&message, &[a.as_fd(), b.as_fd()], Code::InvalidArgument, "2097152");
}

#[test]
fn a_plugin_refuses_a_first_message_that_is_no_offer() {
    check_answer(&[1], &[], Code::InvalidArgument, "K6: first message is of kind 0x01");
    check_answer(&good_offer().0.encode()[..63], &[], Code::InvalidArgument, "K6: offer has 63 bytes");
}

#[test]
fn a_plugin_ends_when_its_host_goes_before_the_offer() {
    let (socket, child) = spawn(peer(&["serve"]).stderr(Stdio::null()));
    let mut process = Process::new(child).unwrap();
    drop::<Socket>(socket);
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(1));
}

#[test]
fn a_program_that_no_host_started_says_so() {
    let output = peer(&["serve"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not a socket"), "{output:?}");
}
