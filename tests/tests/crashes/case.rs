//! The points at which a process crashes, and at which of its passages.

use std::process::Command;

use rapace_core::crash::Point;
use rapace_core::{Geometry, GeometryConfig};
use rapace_session::Config;
use rapace_tests::registries;

use crate::support::{FEW_DESCRIPTORS, peer, waiting};

/// Rounds of calls within which every point is passed often enough.
pub(crate) const ROUNDS: u64 = 20;

/// A later passage, in the midst of calls: more than there are in a handshake.
const LATER: u32 = 12;

/// The geometry of these sessions, in which much waits for room.
pub(crate) const GEOMETRY: GeometryConfig = FEW_DESCRIPTORS;

/// A place to crash at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) point: Point,
    pub(crate) passage: u32,
    /// Passages are those of this one, if there is any; behind it the point is passed but once.
    pub(crate) behind: Option<Point>,
}

/// When a point is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Once, by the host, before there is a session.
    HostsStart,
    /// Once, by the plugin.
    PluginsStart,
    /// Once in each handshake.
    Start,
    /// Again and again.
    Open,
    /// Once, when the session ends.
    End,
}

pub(crate) fn phase(point: Point) -> Phase {
    use Point::*;
    match point {
        HalvesMade | HalvesSealed | OfferSent => Phase::HostsStart,
        OfferReceived => Phase::PluginsStart,
        HalvesMapped | HeaderHalfWritten | HeaderWritten | HelloHalfSent | HelloSent | HelloReceived | AcceptSent
        | SessionOpen => Phase::Start,
        CloseSent | PulseClosed | SocketShut => Phase::End,
        _ => Phase::Open,
    }
}

/// All points but those of a phase that is the other side's, the first time and, where there is one, later.
pub(crate) fn cases(not: Phase) -> Vec<Case> {
    let points = Point::ALL.into_iter().filter(|point| phase(*point) != not);
    let passages = |point| if phase(point) == Phase::Open { &[1, LATER][..] } else { &[1] };
    points
        .flat_map(|point| passages(point).iter().map(move |passage| Case { point, passage: *passage, behind: None }))
        .collect()
}

impl Case {
    /// A peer with these arguments that crashes here.
    pub(crate) fn peer(&self, arguments: &[&str], signal: &str) -> Command {
        let mut command = peer(arguments);
        let Self { point, passage, behind } = self;
        let at = match behind {
            Some(behind) => format!("{}:{passage}:pass,{}:1:{signal}", behind.name(), point.name()),
            None => format!("{}:{passage}:{signal}", point.name()),
        };
        command.env("RAPACE_CRASH_AT", at);
        command
    }
}

/// The configuration of a host that passes all points: with a hello in pieces, little room, and a sleep before each reply.
pub(crate) fn config() -> Config {
    let config = waiting(rapace_session::WaitStrategy::Park);
    Config { registry: registries::large().unwrap(), geometry: GEOMETRY, ..config }
}

/// The arguments by which a peer has the same.
pub(crate) const ARGUMENTS: [&str; 3] = ["wait=park", "registry=large", "segment=32768"];

#[test]
fn the_hello_of_these_tests_goes_in_pieces() {
    let bytes = Geometry::new(GEOMETRY).unwrap().half_bytes();
    assert!(registries::large().unwrap().to_bytes().len() > bytes);
}
