//! What a host offers its plugins and its operator: services like any other, as traits with their types.
//!
//! A plugin calls them by their clients; a host serves them by its own implementations, or by others that implement the same
//! traits. Each is a service by itself, so that it can be granted, replaced and counted by itself.

#![forbid(unsafe_code)]

pub mod admin;
pub mod events;
pub mod logger;
pub mod storage;
