//! Turns frames into calls.
//!
//! A [`Session`] is one end of a connection between a host ([`PeerA`]) and a plugin ([`PeerB`]). Both sides call and are
//! called, many at a time; a call ends with a reply, an error, a deadline, a cancel or the end of the session, and
//! with exactly one of them. It comes about by a [`Handshake`], which is the only way to it.
//!
//! ```text
//!   Session, PendingCall, IncomingCall      what a user holds
//!   shared.rs, state.rs, waiters.rs         one lock; who drains the ring, who waits
//!   executor.rs, tasks.rs                   futures, and handlers that are not ready
//!   machine.rs                              the protocol: no thread, no clock, no system call
//!     calls.rs   served.rs   outbox.rs      calls of ours, calls of the peer, what waits for room
//!     tally.rs   observe.rs                 what is counted of both, if anything
//!   rapace_core::Link                       frames
//! ```

#![forbid(unsafe_code)]
// `tests/loom.rs` has the files that it looks at.
#![cfg(not(loom))]

mod body;
mod metadata;
mod prefix;
mod scratch;
mod status;

mod chance;
mod config;
mod error;
mod fault;
mod hello;
mod latency;
mod limits;
mod observe;
mod process;
mod role;

mod calls;
mod flow;
mod machine;
mod message;
mod outbox;
mod served;
mod tally;

mod alarm;
mod caller;
mod calling;
mod clock;
mod condition;
mod connect;
mod draft;
mod drain;
mod executor;
#[cfg(feature = "fault-injection")]
pub mod fault_injection;
mod handler;
mod handshake;
mod in_place;
mod liveness;
mod lock;
mod nest;
mod nesting;
mod opening;
#[cfg(feature = "tokio")]
mod pace;
mod parker;
mod patience;
mod pending;
mod router;
#[cfg(test)]
#[cfg(shuttle)]
mod schedules;
mod session;
mod shared;
#[cfg(test)]
mod simulation;
mod slot;
mod state;
mod streaming;
mod sync;
mod tasks;
#[cfg(feature = "tokio")]
pub mod tokio;
mod waiters;
mod wake_flag;
mod wakes;

pub use body::Body;
pub use caller::{AsCaller, Caller};
pub use calling::Calling;
pub use calls::Reply;
pub use condition::{CallInFlight, CallsInFlight, Condition, Pulse};
pub use config::{Config, FaultInjection, Prefault, ReadInPlace, SegmentBacking, WaitStrategy};
#[doc(hidden)]
pub use draft::{Draft, DraftWriter};
pub use error::{CallError, SessionEnd};
#[doc(hidden)]
pub use executor::panic_guard;
pub use fault::{Fault, FaultPolicy};
pub use flow::Streams;
pub use handler::{Handler, IncomingCall, NoService};
pub use handshake::{Handshake, HandshakeError};
pub use hello::{Features, HELLO_BYTES_MAX, Hello, PeerInfo, RefusalReason};
pub use latency::Latency;
pub use limits::{LimitError, Limits, Timeouts};
pub use liveness::PeerState;
pub use metadata::{Metadata, MetadataError};
#[doc(hidden)]
pub use nesting::{Nesting, depth};
pub use observe::{CallCounts, MethodCounts, Observe};
pub use pending::PendingCall;
pub use process::{Process, describe_exit};
pub use role::{PeerA, PeerB, Role};
pub use router::Router;
#[doc(hidden)]
pub use scratch::Scratch;
pub use served::LIFECYCLE_METHODS;
pub use session::{CallOptions, Session, SessionStats};
pub use slot::{Absence, CallerSlot, Gate, OnAbsence};
pub use status::{Code, Status};
pub use streaming::{Items, StreamingCall};
