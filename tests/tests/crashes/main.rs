//! Processes that crash at each point of their way, and at any moment.
//!
//! The other side has lost nothing but the session: each of its calls has ended once and says why, and whatever belonged to
//! the session is given back. One test at a time has this process to itself, so that all that is left can be counted.
#![allow(clippy::unwrap_used)]

mod census;
#[allow(dead_code, reason = "it is shared with another test program")]
#[path = "../processes/support.rs"]
mod support;

mod case;
mod figures;

mod host_stops;
mod hosts;
mod plugins;
mod random;
mod stops;
