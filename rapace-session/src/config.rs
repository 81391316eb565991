//! What a session is made with.

use rapace_core::GeometryConfig;
pub use rapace_core::segment::Prefault;
pub use rapace_core::wait::WaitStrategy;
use rapace_registry::Registry;

use crate::fault::FaultPolicy;
use crate::limits::{Limits, Timeouts};

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
}

impl Config {
    /// The defaults, for a program of this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), ..Self::default() }
    }
}
