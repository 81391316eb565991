//! A host's session, and its peer: before anything was said, or once they have greeted each other.

use std::time::Instant;

use rapace_core::Side;
use rapace_core::fake::FakePeer;
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_session::{Config, Features, Handler, Handshake, Hello, PeerA, Session};

use crate::fields::{CONTROL, Fields};
use crate::peer::Peer;

const HELLO: u32 = 1;
const ACCEPT: u32 = 2;

/// A host that has made its offer, and the plugin that has taken it.
pub(crate) fn offered(config: Config) -> (Handshake<PeerA>, Peer) {
    let (here, there) = Socket::pair().expect("the process may open a few descriptors");
    let handshake = Handshake::<PeerA>::offer(here, None, config).expect("the configuration is sound");
    let (offer, halves) = there.recv_offer(Instant::now()).expect("an offer has been sent");
    let segment = Segment::accept(&offer, halves.expect("the halves come along")).expect("the halves are sound");
    (handshake, Peer::new(FakePeer::new(segment, there), Side::B))
}

/// A session, and a peer that has greeted it as it should.
pub(crate) fn greeted(config: Config, handler: impl Handler) -> (Session<PeerA>, Peer) {
    let (handshake, mut peer) = offered(config);
    let hello = Hello {
        major: 1,
        minor: 0,
        role: 1,
        features: Features::STREAMS,
        max_message_bytes: 64 << 10,
        max_metadata_bytes: 256,
        max_calls: 8,
        max_depth: 4,
        name: "peer".to_owned(),
        version: "1".to_owned(),
        registry: Vec::new(),
    };
    for (verb, body) in [(HELLO, hello.encode().expect("the hello is small")), (ACCEPT, Vec::new())] {
        assert!(peer.send(Fields::header(CONTROL, 0, verb), &body), "an empty ring has room");
    }
    let session = handshake.finish(handler).expect("an honest peer is taken");
    while peer.take().is_some() {
        peer.give_back(0);
    }
    (session, peer)
}
