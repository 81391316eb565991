//! Sessions between this process and others that are spawned for it.
//!
//! Every test starts its own peers, and every [`support::Plugin`] kills its process and looks that it is gone. Tests wait
//! for conditions; where a stretch of time is what is tested, the test says so.
#![allow(clippy::unwrap_used)]

mod support;

mod handshakes;
mod refusals;

mod answers;
mod calls;
mod nesting;
mod payloads;
mod prefixes;

mod cancels;
mod channels;
mod room;

mod executor;
mod fairness;
mod flow;
mod stream_cancels;
mod stream_ends;
mod streams;

mod idleness;
mod waiting;

mod deaths;
mod ends;
mod faults;
mod liveness;

mod leftovers;
