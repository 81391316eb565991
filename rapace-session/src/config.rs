//! What a session is made with.

pub use rapace_core::segment::Prefault;
pub use rapace_core::wait::WaitStrategy;
use rapace_core::{GeometryConfig, Side};
use rapace_registry::Registry;

use crate::fault::FaultPolicy;
use crate::limits::{Limits, Timeouts};
use crate::observe::Observe;

/// Everything about a session that its user chooses. All of it has defaults; all of it is checked before anything is made.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The name of this program, for the peer's logs: at most 128 bytes.
    pub name: String,
    /// The version of this program: at most 128 bytes.
    pub version: String,
    /// The services that this side offers and expects. The peer's must not contradict them.
    pub registry: Registry,
    /// The memory. It is A's choice; B takes what it is offered.
    pub geometry: GeometryConfig,
    /// What the memory is made of: A's choice. B takes a named segment only if it has chosen that too.
    pub backing: SegmentBacking,
    /// Whether the memory is touched at once or when it is first used.
    pub prefault: Prefault,
    /// What is taken from the peer.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What a waiting thread does.
    pub wait: WaitStrategy,
    /// What follows from a fault of the peer.
    pub faults: FaultPolicy,
    /// Whose large payloads are read where they lie.
    pub read_in_place: ReadInPlace,
    /// What is counted of calls.
    pub observe: Observe,
    /// What makes faults on purpose, for tests.
    pub fault_injection: FaultInjection,
}

/// What makes faults on purpose: nothing, unless the feature `fault-injection` gives it an injector (`injector.into()`).
///
/// It is there without the feature too, so that a `Config` with all of its fields is one whoever else asks for the feature.
#[derive(Clone, Debug, Default)]
pub struct FaultInjection {
    #[cfg(feature = "fault-injection")]
    pub(crate) injector: Option<crate::fault_injection::FaultInjector>,
}

#[cfg(feature = "fault-injection")]
impl FaultInjection {
    /// This, or the other where this is nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { injector: self.injector.or(other.injector) }
    }
}

#[cfg(feature = "fault-injection")]
impl From<crate::fault_injection::FaultInjector> for FaultInjection {
    fn from(injector: crate::fault_injection::FaultInjector) -> Self {
        Self { injector: Some(injector) }
    }
}

/// Whose large payloads are read where they lie, without a copy.
///
/// Rust takes it that what a `&[u8]` shows does not change. Of bytes in the peer's half that is the peer's word (SPEC S2),
/// and one that breaks it does more harm than any check of this library can undo: to read in place is to **trust the
/// peer's process as one's own**. So only whoever has chosen that does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadInPlace {
    /// A plugin does so with its host's, which has started it and made the memory; a host copies its plugin's.
    #[default]
    OfTheHost,
    /// A host does so with its plugin's too. **The plugin is trusted as this process is.**
    OfAnyPeer,
    /// Nobody does.
    Never,
}

impl ReadInPlace {
    /// Whether this side does so.
    pub(crate) fn applies_to(self, side: Side) -> bool {
        match self {
            Self::OfTheHost => side == Side::B,
            Self::OfAnyPeer => true,
            Self::Never => false,
        }
    }
}

/// What the memory of a session is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentBacking {
    /// Two sealed memfds: the kernel keeps each peer from writing to the other's half, and from resizing either.
    #[default]
    Sealed,
    /// A named segment, where no memfd or no descriptor can pass. **Both peers trust each other**: whichever of them
    /// misbehaves can end the other.
    #[cfg(feature = "named-segment")]
    NamedForTrustedPeers,
}

impl Config {
    /// The defaults, for a program of this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is compiled with the feature that makes faults, and without.
    #[test]
    fn a_configuration_has_the_same_fields_whatever_the_features() {
        let Config {
            name,
            version,
            registry: _,
            geometry: _,
            backing: _,
            prefault: _,
            limits: _,
            timeouts: _,
            wait: _,
            faults: _,
            read_in_place: _,
            observe: _,
            fault_injection: _,
        } = Config::new("test", "1");
        assert_eq!((name.as_str(), version.as_str()), ("test", "1"));
    }
}
