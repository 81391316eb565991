//! Moves checked frames between two processes through shared memory.
//!
//! A session's segment is two halves, and each is written by one peer alone. A half holds a ring of 64-byte descriptors, a
//! ring of returned slots, and slots for payloads that do not fit a descriptor. The peer is not trusted: what it writes
//! are allegations until [`descriptor::AllegedDescriptor::check`] and its like have checked a private copy, and what
//! breaks a rule of SPEC.md is a [`PeerFault`], never a panic and never an empty ring.
//!
//! [`Link`] is what a session is built on; the modules stand in the order of a frame's path. A large payload can be built
//! where it is sent from ([`link::Loan`]), and one of a peer that is trusted read where it lies ([`link::PayloadView`]).
//!
//! ```text
//!   Link::try_send --> slots --> descriptor --> ring ==> sleep word, socket ==> ring --> descriptor --> Link::receive
//!                        ^                                                                 |
//!                        +------------------------- return ring <== held slots <-----------+
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_endian = "little"))]
compile_error!("the segment is little-endian, and its words are used in place");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("offsets into a half are 64-bit here");

#[doc(hidden)]
pub mod crash;
pub mod sync;
pub mod words;

pub mod channel;
pub mod fault;
pub mod layout;
pub mod side;

mod bitmap;
pub mod descriptor;
pub mod held;
pub mod returns;
pub mod ring;
pub mod sleep;
pub mod slots;

#[cfg(not(loom))]
pub mod child;
#[cfg(not(loom))]
mod lent;
#[cfg(not(loom))]
pub mod memory;
#[cfg(not(loom))]
#[cfg(feature = "named-segment")]
pub mod named;
#[cfg(not(loom))]
pub mod offer;
#[cfg(not(loom))]
pub mod segment;
#[cfg(not(loom))]
pub mod socket;

#[cfg(not(loom))]
pub mod calibration;
#[cfg(not(loom))]
pub mod link;
pub mod wait;

#[cfg(all(feature = "fake-peer", not(loom)))]
pub mod fake;

pub use channel::ChannelId;
pub use fault::PeerFault;
pub use layout::{Geometry, GeometryConfig, GeometryError};
#[cfg(not(loom))]
pub use link::Link;
pub use side::Side;
