//! The two roles, as types.

use rapace_core::Side;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::PeerA {}
    impl Sealed for super::PeerB {}
}

/// The role of a session's end: [`PeerA`] or [`PeerB`], and nothing else.
///
/// The role fixes the direction of the rings and the parity of the channels, so it is part of the session's type.
pub trait Role: sealed::Sealed + Send + Sync + 'static {
    /// The role as a value.
    const SIDE: Side;
}

/// The host: makes the memory, starts the plugin, initialises it and shuts it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerA {}

/// The plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerB {}

impl Role for PeerA {
    const SIDE: Side = Side::A;
}

impl Role for PeerB {
    const SIDE: Side = Side::B;
}
