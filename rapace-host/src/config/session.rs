//! What a file says of the sessions of all plugins: memory, limits and times.
//!
//! The types of a host's and of a session's own settings are described here for serde; they need not know of it.

use std::time::Duration;

use rapace_core::{Geometry, GeometryConfig};
use rapace_session::{Limits, Prefault, Timeouts};
use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity::{Written, quantity};
use crate::builder::ShutdownTimes;
use crate::document::{Document, Step};

/// The memory of each process of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes of both halves together: a multiple of 8 KiB, from 32 KiB to 2 GiB. Default 4 MiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    pub segment_bytes: usize,
    /// Descriptors in each ring: a power of two from 16 to 4096. Default 64.
    #[schemars(range(min = 16, max = 4096))]
    pub ring_capacity: u32,
    /// Bytes of a slot: a multiple of 64, from 64 to 1 MiB. Default 4 KiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<u32>")]
    pub slot_bytes: u32,
    /// Whether it is touched when a plugin starts, rather than when it is first used. Default no.
    pub prefault: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        let GeometryConfig { segment_bytes, ring_capacity, slot_bytes } = GeometryConfig::default();
        Self { segment_bytes, ring_capacity, slot_bytes, prefault: false }
    }
}

impl MemoryConfig {
    /// Its layout.
    #[must_use]
    pub fn geometry(&self) -> GeometryConfig {
        let Self { segment_bytes, ring_capacity, slot_bytes, .. } = *self;
        GeometryConfig { segment_bytes, ring_capacity, slot_bytes }
    }

    /// When it is touched.
    #[must_use]
    pub fn prefault(&self) -> Prefault {
        if self.prefault { Prefault::Now } else { Prefault::Lazy }
    }

    /// Notes what is out of bounds.
    pub(crate) fn check(&self, document: &mut Document) {
        if let Err(error) = Geometry::new(self.geometry()) {
            let message = format!("found {}, expected {}", error.found, error.bound);
            document.refuse(&["memory".into(), error.field.into()], message);
        }
    }
}

/// What is taken from a plugin.
#[derive(Deserialize, JsonSchema)]
#[serde(remote = "Limits", default = "Limits::default", deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(super) struct LimitsInFile {
    /// Largest body of a message: 1 byte to 2 GiB. Default 64 MiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    message_bytes_max: usize,
    /// Largest metadata of a message: to 16 MiB. Default 16 KiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    metadata_bytes_max: usize,
    /// Calls that a plugin may have in flight: 1 to 4096. Default 1024.
    #[schemars(range(min = 1, max = 4096))]
    calls_max: u32,
    /// Of those, how many are served at once, for each process of a plugin. Default: all.
    served_max: Option<u32>,
    /// Deepest chain of nested calls: 1 to 255. Default 16.
    #[schemars(range(min = 1, max = 255))]
    depth_max: u8,
    /// Bytes of messages from a plugin that may be kept at once. Default 128 MiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    inbound_bytes_max: usize,
    /// Bytes that the sender of a stream may be ahead of its reader: 1 byte to 1 GiB. Default 256 KiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<u32>")]
    stream_window_bytes: u32,
    /// Bytes that may wait for a plugin to make room: from 64 KiB. Default 128 MiB.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<usize>")]
    outbound_bytes_max: usize,
}

/// Notes what is out of bounds.
pub(super) fn check_limits(limits: &Limits, document: &mut Document) {
    let mut limits = *limits;
    // Each turn puts what is wrong out of the way of what may be wrong too.
    while let Err(error) = limits.check() {
        let message = format!("found {}, expected {}", error.found, error.bound);
        document.refuse(&["limits".into(), error.field.into()], message);
        match error.field {
            "message_bytes_max" => limits.message_bytes_max = 1,
            "metadata_bytes_max" => limits.metadata_bytes_max = 0,
            "calls_max" => limits.calls_max = 1,
            "depth_max" => limits.depth_max = 1,
            "inbound_bytes_max" => limits.inbound_bytes_max = usize::MAX,
            "stream_window_bytes" => limits.stream_window_bytes = 1,
            _ => return,
        }
    }
}

/// How long things may take.
#[derive(Deserialize, JsonSchema)]
#[serde(remote = "Timeouts", default = "Timeouts::default", deny_unknown_fields)]
#[schemars(rename = "Timeouts")]
pub(super) struct TimeoutsInFile {
    /// From the offer to the end of the handshake. Default 10s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    start: Duration,
    /// How long a plugin that owes progress may make none before it is unresponsive. Default 1s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    liveness: Duration,
    /// The bound of a call that names none. Default 30s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    call: Duration,
}

/// Notes what would make every plugin fail.
pub(super) fn check_timeouts(timeouts: &Timeouts, document: &mut Document) {
    let Timeouts { start, liveness, call } = timeouts;
    for (name, duration) in [("start", start), ("liveness", liveness), ("call", call)] {
        if duration.is_zero() {
            document.refuse(&["timeouts".into(), Step::from(name)], "found 0s, expected a longer duration");
        }
    }
}

/// How long a shutdown waits for each of its steps.
#[derive(Deserialize, JsonSchema)]
#[serde(remote = "ShutdownTimes", default = "ShutdownTimes::default", deny_unknown_fields)]
#[schemars(rename = "ShutdownTimes")]
pub(super) struct ShutdownTimesInFile {
    /// For the calls in flight, before it. Default 5s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    drain: Duration,
    /// For the answer to the `shutdown` call. Default 5s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    acknowledge: Duration,
    /// For the end of the process, once its session is closed. Default 2s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    exit: Duration,
    /// For the end of the process behind SIGTERM; then comes SIGKILL. Default 2s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    terminate: Duration,
    /// At a reload with state to hand over, for the old version to give it, and for each process of the new one to take it.
    /// Default 10s.
    #[serde(deserialize_with = "quantity")]
    #[schemars(with = "Written<Duration>")]
    hand_over: Duration,
}
