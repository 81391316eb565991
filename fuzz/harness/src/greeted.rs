//! A host's session with a peer that has greeted it as it should.

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

/// What such a peer takes.
pub(crate) const PEER_MESSAGE_BYTES: usize = 64 << 10;
pub(crate) const PEER_CALLS: u32 = 8;

/// A session, and its peer, which knows streams.
pub(crate) fn greeted(config: Config, handler: impl Handler) -> (Session<PeerA>, Peer) {
    let (here, there) = Socket::pair().expect("the process may open a few descriptors");
    let handshake = Handshake::<PeerA>::offer(here, None, config).expect("the configuration is sound");
    let (offer, halves) = there.recv_offer(Instant::now()).expect("an offer has been sent");
    let segment = Segment::accept(&offer, halves.expect("the halves come along")).expect("the halves are sound");
    let mut peer = Peer::new(FakePeer::new(segment, there), Side::B);
    let hello = Hello {
        major: 1,
        minor: 0,
        role: 1,
        features: Features::STREAMS,
        max_message_bytes: PEER_MESSAGE_BYTES as u64,
        max_metadata_bytes: 256,
        max_calls: PEER_CALLS,
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
