//! What the crate promises, seen from outside.

#![allow(clippy::unwrap_used, reason = "clippy does not know that helpers of tests are tests")]

mod building;
mod bytes;
mod comparing;
mod example;
mod hashing;
mod hostile;
mod mirroring;
mod nesting;
mod refusing;
mod strategies;
