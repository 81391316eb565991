//! What a registry may hold at most.
//!
//! The builder and the parser keep the same limits, so whatever is built can be parsed. Together
//! they bound the memory that bytes from a peer can take: schemas at the limits on bytes and nodes
//! take 19 MiB while they are read, of which 11 MiB stay.

/// The most that a registry may hold, built or parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryLimits;

impl RegistryLimits {
    /// Bytes of a serialised registry: 1 MiB.
    pub const BYTES_MAX: usize = 1024 * 1024;
    /// Services in a registry.
    pub const SERVICES_MAX: usize = 256;
    /// Methods in a registry, over all its services.
    pub const METHODS_MAX: usize = 4096;
    /// Types nested in each other, the outermost counted. It bounds the stack that copying or
    /// showing a schema takes.
    pub const DEPTH_MAX: usize = 64;
    /// Types and enum variants in all the schemas of a registry, each counted wherever it stands:
    /// `[u8; 32]` is 33.
    pub const NODES_MAX: usize = 65_536;
    /// Bytes of a name: of a service, a method, a type, a field or a variant.
    pub const NAME_BYTES_MAX: usize = 128;
    /// Bytes of what is told of a method that is refused.
    pub const REFUSAL_BYTES_MAX: usize = 4096;
}
