//! Values as JSON, by their schema.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, reason = "clippy does not know that helpers of tests are tests")]

mod bytes;
mod hostile;
mod refusals;
mod schemas;
mod types;
mod values;
