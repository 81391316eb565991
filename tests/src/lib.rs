//! Tests with real processes.
//!
//! A test spawns the program `peer` as a host spawns a plugin, and talks to it through shared memory. The program behaves
//! as its first argument says: it serves, it breaks off the handshake in many ways, it lies, or it plays the host of
//! another one. What both processes must know of each other is here: the methods, the bytes that they send, and what a
//! session says of itself.

#![forbid(unsafe_code)]

pub mod cancel;
pub mod exercise;
pub mod hostile;
pub mod join;
pub mod lie;
pub mod method;
pub mod pattern;
pub mod registries;
pub mod service;
pub mod slow;
pub mod snapshot;
pub mod stream;
pub mod streaming;
