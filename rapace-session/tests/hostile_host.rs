//! A plugin against a host that lies: the checks are the same on both sides.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rapace_core::descriptor::{Flags, FrameHeader, Inline, Kind, Payload, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Geometry, GeometryConfig};
use rapace_session::{Config, Features, Handshake, Hello, IncomingCall, LIFECYCLE_METHODS, PeerB, Session, SessionEnd};

/// A plugin that keeps its calls, and its host.
struct Stage {
    session: Session<PeerB>,
    host: FakePeer,
    held: Arc<Mutex<Vec<IncomingCall>>>,
}

fn send(host: &mut FakePeer, header: FrameHeader, bytes: &[u8]) {
    host.publish(encode(&header, &Payload::Inline(Inline::new(bytes).unwrap())));
}

impl Stage {
    fn new() -> Self {
        let geometry = Geometry::new(GeometryConfig::default()).unwrap();
        let (segment, fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
        let (here, there) = Socket::pair().unwrap();
        here.send_offer(&Offer::new(Backing::Sealed, 1, geometry), Some(&fds)).unwrap();
        let mut host = FakePeer::new(segment, here);
        let hello = Hello {
            major: 1,
            minor: 0,
            role: 0,
            features: Features::STREAMS,
            max_message_bytes: 1 << 20,
            max_metadata_bytes: 0,
            max_calls: 8,
            max_depth: 1,
            name: String::new(),
            version: String::new(),
            registry: Vec::new(),
        };
        send(&mut host, FrameHeader::control(Verb::Hello), &hello.encode().unwrap());
        send(&mut host, FrameHeader::control(Verb::Accept), &[]);
        let held = Arc::<Mutex<Vec<IncomingCall>>>::default();
        let desk = Arc::clone(&held);
        let handshake = Handshake::<PeerB>::accept(there, Config::new("plugin", "1")).unwrap();
        let session = handshake.finish(move |call| desk.lock().unwrap().push(call)).unwrap();
        Self { session, host, held }
    }

    /// Opens a call on channel 0.
    fn call(&mut self, method: u32) {
        self.call_with(method, Flags::NONE);
    }

    fn call_with(&mut self, method: u32, flags: Flags) {
        let channel = ChannelId::CONTROL;
        let request = FrameHeader { channel, method, kind: Kind::Request, flags, depth: 1, credit: 0 };
        send(&mut self.host, request, b"");
        self.session.serve_for(Duration::ZERO);
    }

    #[track_caller]
    fn check_fault(&self, rule: &str) {
        let end = self.session.end();
        assert!(matches!(end.as_deref(), Some(SessionEnd::Fault(fault)) if fault.rule() == rule), "{end:?}");
    }
}

#[test]
fn a_host_that_calls_another_method_on_channel_0_breaks_a_rule() {
    for method in [0, 1, 1999, 2001, 2003] {
        let mut stage = Stage::new();
        stage.call(method);
        stage.check_fault("C3");
        assert!(stage.held.lock().unwrap().is_empty());
    }
}

#[test]
fn lifecycle_calls_come_one_at_a_time() {
    let mut stage = Stage::new();
    for method in LIFECYCLE_METHODS {
        stage.call(method);
        stage.held.lock().unwrap().pop().unwrap().reply(b"");
    }
    stage.call(LIFECYCLE_METHODS[0]);
    assert_eq!((stage.session.end(), stage.held.lock().unwrap().len()), (None, 1));
    stage.call(LIFECYCLE_METHODS[1]);
    stage.check_fault("C1");
}

#[test]
fn lifecycle_calls_have_no_streams() {
    for flags in [Flags::ITEMS, Flags::CREDIT] {
        let mut stage = Stage::new();
        stage.call_with(LIFECYCLE_METHODS[0], flags);
        stage.check_fault("C13");
        assert!(stage.held.lock().unwrap().is_empty());
    }
}
