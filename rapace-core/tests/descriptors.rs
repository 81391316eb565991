//! No descriptor that a peer sends stays open by mistake. A test binary of its own: it counts those of the process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rapace_core::layout::{Geometry, GeometryConfig};
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::socket::{BELL, Socket};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_descriptor_is_left_open() {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let good = Offer::new(Backing::Sealed, 1, geometry).encode();
    let broken = |at: usize| {
        let mut message = good.clone();
        message[at] = 77;
        message
    };
    let named = Offer::new(Backing::Named("/n".to_owned()), 1, geometry).encode();
    let (segment, fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
    let (host, plugin) = Socket::pair().unwrap();
    let before = open_descriptors();
    for message in [&good, &named, &broken(0), &broken(1), &broken(4), &broken(16), &vec![], &vec![2; 4000]] {
        for fd_count in [0, 1, 2, 3, 4, 5, 250, 253] {
            for in_session in [false, true] {
                let sent = vec![fds.a.as_fd(); fd_count];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(fd_count == 0 || control.push(SendAncillaryMessage::ScmRights(&sent)));
                let message = if in_session && fd_count > 3 { &[BELL][..] } else { message };
                sendmsg(&host, &[IoSlice::new(message)], &mut control, SendFlags::DONTWAIT).unwrap();
                if in_session {
                    let _ = plugin.drain(8);
                } else {
                    let received = plugin.recv_offer(Instant::now() + Duration::from_secs(10));
                    let good = (message == good && fd_count == 2) || (message == named && fd_count == 0);
                    assert_eq!(received.is_ok(), good, "{fd_count} descriptors: {received:?}");
                    if let Ok((offer, Some(fds))) = received {
                        // Both are A's half.
                        assert!(Segment::accept(&offer, fds).is_err());
                    }
                }
                assert_eq!(open_descriptors(), before, "{fd_count} descriptors");
            }
        }
    }
    drop((segment, fds, host, plugin));
    assert_eq!(open_descriptors(), before - 4);
}
