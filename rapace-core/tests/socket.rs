//! The socket against a peer that goes, stays silent, floods, or sends what it should not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use rapace_core::fault::PeerFault;
use rapace_core::layout::{Geometry, GeometryConfig};
use rapace_core::offer::{Backing, Offer, OfferError};
use rapace_core::segment::{HalfFds, Prefault, Segment};
use rapace_core::socket::{BELL, Drained, Listener, Readiness, Refusal, Ring, Socket, SocketError};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, bind, listen, send, sendmsg, shutdown, socket_with,
};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn geometry() -> Geometry {
    Geometry::new(GeometryConfig { segment_bytes: 256 << 10, ring_capacity: 16, slot_bytes: 1024 }).unwrap()
}

fn offer() -> Offer {
    Offer::new(Backing::Sealed, 1, geometry())
}

fn halves() -> HalfFds {
    Segment::create(geometry(), 1, Prefault::Lazy).unwrap().1
}

/// Sends what a well-behaved peer would not.
fn send_raw(socket: &Socket, message: &[u8]) {
    send(socket, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap();
}

fn send_raw_with(socket: &Socket, message: &[u8], fd: &OwnedFd, fd_count: usize) {
    let fds = vec![fd.as_fd(); fd_count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fd_count == 0 || control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::DONTWAIT).unwrap();
}

/// What comes of `message` at a plugin that waits for an offer.
fn offered(message: &[u8]) -> SocketError {
    let (host, plugin) = Socket::pair().unwrap();
    send_raw(&host, message);
    plugin.recv_offer(soon()).unwrap_err()
}

/// What comes of `message` at a peer in mid-session.
fn drained(message: &[u8]) -> Result<Drained, PeerFault> {
    let (host, plugin) = Socket::pair().unwrap();
    send_raw(&plugin, message);
    host.drain(8)
}

#[test]
fn an_offer_arrives_with_both_halves() {
    let (host, plugin) = Socket::pair().unwrap();
    let (segment, fds) = Segment::create(geometry(), 1, Prefault::Lazy).unwrap();
    host.send_offer(&offer(), Some(&fds)).unwrap();
    drop((host, fds));
    let (received, fds) = plugin.recv_offer(soon()).unwrap();
    assert_eq!(received, offer());
    let fds = fds.unwrap();
    for fd in [&fds.a, &fds.b] {
        assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
    let accepted = Segment::accept(&received, fds).unwrap();
    assert_eq!(accepted.geometry, segment.geometry);
}

#[test]
fn an_offer_of_a_named_segment_arrives_without_descriptors() {
    let (host, plugin) = Socket::pair().unwrap();
    let offer = Offer::new(Backing::Named("/some".repeat(51)), 1, geometry());
    host.send_offer(&offer, None).unwrap();
    let (received, fds) = plugin.recv_offer(soon()).unwrap();
    assert!(received == offer && fds.is_none());
}

#[test]
fn an_offer_is_waited_for() {
    let (host, plugin) = Socket::pair().unwrap();
    let waiter = std::thread::spawn(move || plugin.recv_offer(soon()).map(|(offer, _)| offer));
    host.send_offer(&offer(), Some(&halves())).unwrap();
    assert_eq!(waiter.join().unwrap().unwrap(), offer());
}

#[test]
#[should_panic(expected = "descriptors go with sealed halves")]
fn an_offer_without_its_halves_is_our_own_bug() {
    let _ = Socket::pair().unwrap().0.send_offer(&offer(), None);
}

#[test]
fn a_silent_host_costs_the_deadline() {
    let (_host, plugin) = Socket::pair().unwrap();
    let start = Instant::now();
    let error = plugin.recv_offer(start + Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, SocketError::DeadlinePassed) && start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_host_that_is_gone_is_seen_at_once() {
    let (host, plugin) = Socket::pair().unwrap();
    drop(host);
    assert!(matches!(plugin.recv_offer(soon()), Err(SocketError::PeerGone)));
    assert!(matches!(plugin.send_refusal(1, ""), Err(SocketError::PeerGone)));
    assert!(matches!(plugin.send_offer(&offer(), Some(&halves())), Err(SocketError::PeerGone)));
}

#[test]
fn a_first_message_that_is_no_offer_is_refused() {
    let long = [&offer().encode()[..], &[0; 1000]].concat();
    assert!(matches!(offered(&[BELL]), SocketError::Offer(OfferError::Kind { found: BELL })));
    assert!(matches!(offered(&[]), SocketError::Offer(OfferError::Kind { found: 0 })));
    assert!(matches!(offered(&[2; 5]), SocketError::Offer(OfferError::Length { found: 5, expected: 64 })));
    assert!(matches!(offered(&long), SocketError::Offer(OfferError::Length { found: 320, expected: 64 })));
}

#[test]
fn an_offer_of_another_version_is_told_apart() {
    let mut message = offer().encode();
    message[4] = 2;
    message.extend([0; 1000]);
    assert!(matches!(offered(&message), SocketError::Offer(OfferError::Version { major: 2, minor: 0 })));
}

#[test]
fn too_few_or_too_many_descriptors_are_refused() {
    let fds = halves();
    let check = |offer: &Offer, fd_count| {
        let (host, plugin) = Socket::pair().unwrap();
        send_raw_with(&host, &offer.encode(), &fds.a, fd_count);
        plugin.recv_offer(soon()).unwrap_err()
    };
    for found in [0, 1] {
        let error = check(&offer(), found).to_string();
        assert_eq!(error, format!("O2: {found} descriptors came with the offer, but there must be 2"));
    }
    // How many fit depends on where the buffer lies; of 250, two or a few more are taken and closed.
    let three = check(&offer(), 3);
    assert!(matches!(three, SocketError::DescriptorCount { .. } | SocketError::DescriptorsTruncated { .. }), "{three}");
    let many = check(&offer(), 250);
    assert!(matches!(many, SocketError::DescriptorsTruncated { found: 2..10 }), "{many}");
    let named = Offer { backing: Backing::Named("/n".to_owned()), ..offer() };
    assert!(matches!(check(&named, 2), SocketError::DescriptorCount { found: 2, expected: 0 }));
}

#[test]
fn bells_are_counted_in_bounded_steps() {
    let (a, b) = Socket::pair().unwrap();
    assert_eq!(b.drain(8), Ok(Drained::default()));
    for _ in 0..3 {
        assert_eq!(a.ring().unwrap(), Ring::Rung);
    }
    assert_eq!(b.drain(2), Ok(Drained { bells: 2, more: true, ..Drained::default() }));
    assert_eq!(b.drain(2), Ok(Drained { bells: 1, ..Drained::default() }));
    assert_eq!(b.drain(0), Ok(Drained { more: true, ..Drained::default() }));
}

#[test]
fn a_flood_fills_the_buffer_and_no_more() {
    let (a, b) = Socket::pair().unwrap();
    let mut rung = 0;
    while a.ring().unwrap() == Ring::Rung {
        rung += 1;
        assert!(rung < 100_000);
    }
    assert_eq!(a.ring().unwrap(), Ring::Full);
    assert!(matches!(a.send_refusal(1, ""), Err(SocketError::Os { operation: "send the refusal", .. })));
    let offered = a.send_offer(&offer(), Some(&halves()));
    assert!(matches!(offered, Err(SocketError::Os { operation: "send the offer", .. })));
    let mut heard = 0;
    loop {
        let drained = b.drain(16).unwrap();
        assert!(drained.bells <= 16);
        heard += drained.bells;
        if !drained.more {
            break;
        }
    }
    assert_eq!(heard, rung);
    assert_eq!(a.ring().unwrap(), Ring::Rung);
}

#[test]
fn a_peer_that_is_gone_is_heard_to_the_end() {
    let (a, b) = Socket::pair().unwrap();
    assert_eq!(a.ring().unwrap(), Ring::Rung);
    drop(a);
    assert_eq!(b.ring().unwrap(), Ring::PeerGone);
    assert_eq!(b.drain(8), Ok(Drained { bells: 1, ended: true, ..Drained::default() }));
    assert_eq!(b.drain(8), Ok(Drained { ended: true, ..Drained::default() }));
}

#[test]
fn a_peer_that_went_with_unread_messages_is_gone() {
    let (a, b) = Socket::pair().unwrap();
    assert_eq!(b.ring().unwrap(), Ring::Rung);
    drop(a);
    assert!(b.drain(8).unwrap().ended);
    assert!(b.drain(8).unwrap().ended);
}

#[test]
fn a_peer_that_will_say_no_more_is_gone() {
    let (a, b) = Socket::pair().unwrap();
    shutdown(&a, Shutdown::Write).unwrap();
    assert!(b.drain(8).unwrap().ended);
    let ready = b.wait(None, None).unwrap();
    assert!(ready.socket && ready.hangup);
}

#[test]
fn a_socket_that_is_shut_down_has_ended_for_both_sides() {
    let (a, b) = Socket::pair().unwrap();
    let copy = a.as_fd().try_clone_to_owned().unwrap();
    a.shutdown();
    for end in [&a, &b] {
        assert!(end.drain(8).unwrap().ended);
        assert_eq!(end.ring().unwrap(), Ring::PeerGone);
    }
    drop(copy);
}

#[test]
fn a_refusal_carries_its_reason() {
    let (host, plugin) = Socket::pair().unwrap();
    assert_eq!(plugin.ring().unwrap(), Ring::Rung);
    plugin.send_refusal(9, "protocol 2.0 here").unwrap();
    assert_eq!(plugin.ring().unwrap(), Ring::Rung);
    drop(plugin);
    let refusal = Refusal { code: 9, text: "protocol 2.0 here".to_owned() };
    assert_eq!(host.drain(8), Ok(Drained { bells: 1, refusal: Some(refusal), ended: false, more: true }));
    assert_eq!(host.drain(8), Ok(Drained { bells: 1, ended: true, ..Drained::default() }));
}

#[test]
fn a_long_refusal_is_cut_between_characters() {
    for (text, bytes) in [("x".repeat(2000), 1024), ("x".repeat(1024), 1024), ("é".repeat(600) + "x", 1024)] {
        let (host, plugin) = Socket::pair().unwrap();
        plugin.send_refusal(1, &text).unwrap();
        assert_eq!(host.drain(1).unwrap().refusal.unwrap().text, text[..bytes]);
    }
    let (host, plugin) = Socket::pair().unwrap();
    plugin.send_refusal(1, &"€".repeat(400)).unwrap();
    assert_eq!(host.drain(1).unwrap().refusal.unwrap().text.len(), 1023);
}

#[test]
fn other_messages_are_faults() {
    let check = |message: &[u8], kind, bytes| {
        assert_eq!(drained(message), Err(PeerFault::Datagram { kind, bytes }));
    };
    let refusal = |text: &[u8]| [&[3, 9, 0, 0, 0], text].concat();
    check(&[BELL, BELL], BELL, 2);
    check(&[0], 0, 1);
    check(&[4], 4, 1);
    check(&[0xff; 5000], 0xff, 1030);
    check(&offer().encode(), 2, 64);
    check(&[3, 9, 0, 0], 3, 4);
    check(&refusal(&[b'x'; 1025]), 3, 1030);
    check(&refusal(b"\xff"), 3, 6);
    let accepted = drained(&refusal(&[b'x'; 1024])).unwrap();
    assert_eq!(accepted.refusal.unwrap().text.len(), 1024);
    assert_eq!(drained(&refusal(b"")).unwrap().refusal, Some(Refusal { code: 9, text: String::new() }));
}

#[test]
fn an_empty_message_is_a_fault_and_no_end() {
    let (a, b) = Socket::pair().unwrap();
    send_raw(&a, &[]);
    assert_eq!(b.drain(8), Err(PeerFault::Datagram { kind: 0, bytes: 0 }));
    assert_eq!(b.drain(8), Ok(Drained::default()));
}

#[test]
fn a_bell_with_descriptors_is_a_bell() {
    let (a, b) = Socket::pair().unwrap();
    send_raw_with(&a, &[BELL], &halves().a, 250);
    assert_eq!(b.drain(8), Ok(Drained { bells: 1, ..Drained::default() }));
}

#[test]
fn a_host_that_listens_takes_as_few_descriptors_as_one_that_spawns() {
    let try_send = |socket: &Socket| {
        let fds = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(socket, &[IoSlice::new(&[BELL])], &mut control, SendFlags::DONTWAIT)
    };
    let (_host, plugin) = Socket::pair().unwrap();
    let directory = Directory::new("descriptors");
    let path = directory.0.join("host");
    let listener = Listener::bind(&path).unwrap();
    let before = Socket::connect(&path).unwrap();
    // Before anybody accepts.
    assert_eq!(try_send(&before), try_send(&plugin));
    let _accepted = listener.accept(soon()).unwrap();
    assert_eq!(try_send(&before), try_send(&plugin));
}

#[test]
fn a_wait_ends_with_its_timeout() {
    let (_a, b) = Socket::pair().unwrap();
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(15)] {
        let start = Instant::now();
        assert_eq!(b.wait(None, Some(timeout)).unwrap(), Readiness::default());
        assert!(start.elapsed() >= timeout);
    }
}

#[test]
fn a_wait_ends_with_a_message_or_the_peer() {
    let (a, b) = Socket::pair().unwrap();
    assert_eq!(a.ring().unwrap(), Ring::Rung);
    for timeout in [None, Some(Duration::MAX), Some(Duration::ZERO)] {
        let ready = b.wait(None, timeout).unwrap();
        assert_eq!(ready, Readiness { socket: true, ..Readiness::default() });
    }
    drop(a);
    let ready = b.wait(None, None).unwrap();
    assert_eq!(ready, Readiness { socket: true, hangup: true, ..Readiness::default() });
}

#[test]
fn a_wait_ends_with_its_alarm_and_tells_it_from_the_rest() {
    let (a, b) = Socket::pair().unwrap();
    let (quiet, loud) = [0, 1].map(|count| eventfd(count, EventfdFlags::CLOEXEC).unwrap()).into();
    let look = |alarm: &OwnedFd| b.wait_or_alarm(None, Some(alarm.as_fd()), Some(Duration::ZERO)).unwrap();
    assert_eq!(look(&quiet), Readiness::default());
    assert_eq!(look(&loud), Readiness { alarm: true, ..Readiness::default() });
    assert_eq!(a.ring().unwrap(), Ring::Rung);
    assert_eq!(look(&quiet), Readiness { socket: true, ..Readiness::default() });
    assert_eq!(look(&loud), Readiness { socket: true, alarm: true, ..Readiness::default() });
    assert_eq!(b.wait_or_alarm(None, Some(loud.as_fd()), None).unwrap(), look(&loud));
    assert_eq!(b.as_raw_fd(), b.as_fd().as_raw_fd());
}

#[test]
fn a_descriptor_that_is_no_such_socket_is_refused() {
    let pipe = OwnedFd::from(io::pipe().unwrap().0);
    assert!(matches!(Socket::from_fd(pipe), Err(SocketError::NotASocket)));
    for (fd, domain, kind) in [
        (OwnedFd::from(UnixStream::pair().unwrap().0), 1, 1),
        (OwnedFd::from(UnixDatagram::unbound().unwrap()), 1, 2),
        (OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap()), 2, 2),
    ] {
        let error = Socket::from_fd(fd).unwrap_err().to_string();
        let expected = format!("E2: the socket has domain {domain} and type {kind}, but must have 1");
        assert!(error.starts_with(&expected), "{error}");
    }
    let (a, b) = Socket::pair().unwrap();
    assert_eq!(Socket::from_fd(a.into_fd()).unwrap().ring().unwrap(), Ring::Rung);
    assert_eq!(b.drain(8).unwrap().bells, 1);
}

/// An empty directory, for as long as it is used.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("rapace-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn peers_meet_at_a_listener() {
    let directory = Directory::new("meet");
    let listener = Listener::bind(directory.0.join("host")).unwrap();
    assert_eq!(fs::metadata(listener.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let plugin = Socket::connect(listener.path()).unwrap();
    let host = listener.accept(soon()).unwrap();
    host.send_offer(&offer(), Some(&halves())).unwrap();
    assert_eq!(plugin.recv_offer(soon()).unwrap().0, offer());
    let deadline = Instant::now() + Duration::from_millis(10);
    assert!(matches!(listener.accept(deadline), Err(SocketError::DeadlinePassed)));
    let path = listener.path().to_owned();
    drop(listener);
    assert!(!path.exists());
    assert!(matches!(Socket::connect(&path), Err(SocketError::Os { operation: "connect", .. })));
}

#[test]
fn the_path_of_a_dead_listener_is_replaced_and_that_of_a_live_one_is_not() {
    let directory = Directory::new("stale");
    let path = directory.0.join("host");
    let dead = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&dead, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&dead, 1).unwrap();
    assert!(matches!(Listener::bind(&path), Err(SocketError::PathInUse { .. })));
    drop(dead);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let live = Listener::bind(&path).unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is in use by another listener", path.display()));
    Socket::connect(&path).unwrap();
    live.accept(soon()).unwrap();
}

#[test]
fn what_is_not_a_socket_is_not_replaced() {
    let directory = Directory::new("file");
    let (file, link) = (directory.0.join("file"), directory.0.join("link"));
    fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link, &directory.0] {
        let error = Listener::bind(path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} exists and is not a socket", path.display()));
    }
    assert_eq!(fs::read_to_string(link).unwrap(), "precious");
}

#[test]
fn a_listener_leaves_the_socket_of_its_successor() {
    let directory = Directory::new("successor");
    let path = directory.0.join("host");
    let first = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Listener::bind(&path).unwrap();
    drop(first);
    Socket::connect(second.path()).unwrap();
}

#[test]
fn who_has_connected_is_known() {
    let directory = Directory::new("credentials");
    let listener = Listener::bind(directory.0.join("host")).unwrap();
    let _plugin = Socket::connect(listener.path()).unwrap();
    let found = listener.accept(soon()).unwrap().peer_credentials().unwrap();
    assert_eq!((found.process_id, found.user_id), (std::process::id(), rustix::process::geteuid().as_raw()));
}

#[test]
fn a_path_that_cannot_be_used_is_an_error() {
    for path in ["", "/there/is/no/such/directory", &"x".repeat(109)] {
        assert!(matches!(Listener::bind(path), Err(SocketError::Os { .. })), "{path}");
        assert!(matches!(Socket::connect(path), Err(SocketError::Os { .. })), "{path}");
    }
}
