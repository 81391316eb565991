//! What a session counts of its calls, method by method and in both directions, if it is asked to.
//!
//! Counts are exact: each call that was sent, or has arrived, is in flight until it has ended, and then counted once, by how
//! it ended. Times are of some calls only, chosen by chance: see [`MethodCounts::latency`].

use rapace_registry::Registry;

use crate::latency::Latency;
use crate::status::Code;

/// What a session counts, beside its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observe {
    /// Nothing, and that costs nothing: the default, as nobody asks most sessions. The sessions of a `PluginHost` are as the host
    /// says, and it counts calls unless it is told not to.
    #[default]
    Nothing,
    /// Calls by method.
    Calls,
}

/// The calls of a session, from its beginning; they stay as they are when it has ended. Calls that have not been sent are not
/// among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounts {
    /// Those that this side has made.
    pub made: Vec<MethodCounts>,
    /// Those that the peer has made.
    pub served: Vec<MethodCounts>,
}

/// The calls of one method, in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodCounts {
    /// The method; none for all those together that were too many: beside the methods of the registries, 64 have counts of their
    /// own.
    pub method: Option<u32>,
    /// Calls that went well.
    pub ok: u64,
    /// Calls that failed, by code; codes that did not occur are left out. A call that its caller gave up is `Cancelled`, or
    /// `DeadlineExceeded` if its time was over; one that has lost its session is `Unavailable`.
    pub errors: Vec<(Code, u64)>,
    /// Calls that have not ended.
    pub in_flight: u64,
    /// Bytes of the bodies of all requests, and of the items that go with them.
    pub request_bytes: u64,
    /// Bytes of the bodies of all replies, and of the items that come with them. Errors have none.
    pub reply_bytes: u64,
    /// How long calls took that have ended: from the moment when they were sent, or had arrived, until their outcome was there.
    ///
    /// To look at the clock twice costs a tenth of a fast call, so one call of 64 is timed and counts as 64. Each is
    /// chosen by a chance of its own, so that no pattern of calls makes the times look better or worse. Where calls come more
    /// than 200 us apart each of them is timed: it wakes its peer through the kernel, beside which the clock does not show.
    pub latency: Latency,
}

impl MethodCounts {
    /// Calls that have ended.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.ok + self.failed()
    }

    /// Calls that have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.iter().map(|(_, count)| count).sum()
    }
}

/// The ids of all methods that a registry describes.
pub(crate) fn methods_of(registry: &Registry) -> impl Iterator<Item = u32> {
    registry.services().iter().flat_map(|service| service.methods().iter().map(|method| method.id().get()))
}
