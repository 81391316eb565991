//! The socket and other processes. A test binary of its own: between its fork and its exec a child holds copies of all
//! descriptors of its parent, so that an end comes late.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use rapace_core::layout::{Geometry, GeometryConfig};
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::socket::{Listener, Readiness, Ring, Socket, SocketError, pidfd_open};

#[test]
fn a_wait_ends_with_the_process() {
    let (_a, b) = Socket::pair().unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pidfd = pidfd_open(child.id()).unwrap();
    let ready = b.wait(Some(pidfd.as_fd()), Some(Duration::ZERO)).unwrap();
    assert_eq!(ready, Readiness::default());
    drop(child.stdin.take());
    let ready = b.wait(Some(pidfd.as_fd()), None).unwrap();
    assert_eq!(ready, Readiness { process: true, ..Readiness::default() });
    child.wait().unwrap();
    assert!(b.wait(Some(pidfd.as_fd()), None).unwrap().process);
}

#[test]
fn a_process_that_is_none_has_no_pidfd() {
    for pid in [0, u32::MAX, i32::MAX.unsigned_abs()] {
        assert!(pidfd_open(pid).is_err());
    }
}

/// Runs a test of this file again, as a process of its own with this standard input.
fn run_child(test: &str, stdin: Stdio) -> std::process::Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("RAPACE_TEST_CHILD", "1").stdin(stdin).stdout(Stdio::null());
    command.spawn().unwrap()
}

fn standard_input() -> PathBuf {
    fs::read_link("/proc/self/fd/0").unwrap()
}

#[test]
fn standard_input_becomes_the_socket() {
    if env::var_os("RAPACE_TEST_CHILD").is_some() {
        let socket = Socket::from_stdin().unwrap();
        assert_eq!(standard_input(), Path::new("/dev/null"));
        assert!(rustix::io::fcntl_getfd(&socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(rustix::io::fcntl_getfd(io::stdin()).unwrap().is_empty());
        assert_eq!(socket.ring().unwrap(), Ring::Rung);
        assert!(matches!(Socket::from_stdin(), Err(SocketError::NotASocket)));
        return;
    }
    let (host, plugin) = Socket::pair().unwrap();
    let mut child = run_child("standard_input_becomes_the_socket", plugin.into_fd().into());
    assert!(child.wait().unwrap().success());
    // Another test's child may hold a copy of the plugin's end until it executes its program.
    let mut bells = 0;
    loop {
        host.wait(None, None).unwrap();
        let drained = host.drain(8).unwrap();
        bells += drained.bells;
        if drained.ended {
            break;
        }
    }
    assert_eq!(bells, 1);
}

#[test]
fn standard_input_that_is_no_socket_stays() {
    if env::var_os("RAPACE_TEST_CHILD").is_some() {
        let before = standard_input();
        assert!(matches!(Socket::from_stdin(), Err(SocketError::NotASocket)));
        assert_eq!(standard_input(), before);
        return;
    }
    let mut child = run_child("standard_input_that_is_no_socket_stays", Stdio::piped());
    assert!(child.wait().unwrap().success());
}

#[test]
fn another_program_is_given_no_descriptor_of_a_session() {
    let path = env::temp_dir().join(format!("rapace-{}-given", std::process::id()));
    let listener = Listener::bind(&path).unwrap();
    let connected = Socket::connect(&path).unwrap();
    let accepted = listener.accept(Instant::now() + Duration::from_secs(10)).unwrap();
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let (segment, halves) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
    let (host, plugin) = Socket::pair().unwrap();
    host.send_offer(&Offer::new(Backing::Sealed, 1, geometry), Some(&halves)).unwrap();
    let received = plugin.recv_offer(Instant::now()).unwrap();
    let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(text.contains("/dev/null") && !text.contains("socket:") && !text.contains("memfd:"), "{text}");
    drop((listener, connected, accepted, segment, halves, received));
}
