//! What a session takes from its peer, and what that can cost.

use std::time::Duration;

use rapace_core::GeometryConfig;
use rapace_core::channel::CHANNELS_MAX;
use thiserror::Error;

use crate::calls::CallTable;
use crate::flow::Flows;
use crate::handler::IncomingCall;
use crate::machine::StreamKey;
use crate::message::Inbound;
use crate::outbox::Outbox;
use crate::served::ServedTable;
use crate::tasks::Tasks;

/// Bounds on what a peer can make this process keep and do, all in one place. [`Limits::worst_case_bytes`] sums them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a message that is taken, in bytes. A larger one ends that call alone. Default 64 MiB.
    pub message_bytes_max: usize,
    /// Largest metadata of a message that are taken, in bytes. Default 16 KiB.
    pub metadata_bytes_max: usize,
    /// Calls that the peer may have in flight to us: 1 to 4096. Default 1024.
    pub calls_max: u32,
    /// Of those, how many are served at once: one beyond that is answered with `ResourceExhausted`. Default: all.
    pub served_max: Option<u32>,
    /// Deepest chain of nested calls that is served: 1 to 255. It bounds the stack of a thread that waits. Default 16.
    pub depth_max: u8,
    /// Bytes of messages from the peer that may be kept at once: those in pieces, those that wait for a handler, those
    /// in handlers, items and replies nobody has taken, and the queues of items. A message beyond that ends its call, an
    /// item its stream. Default 128 MiB.
    pub inbound_bytes_max: usize,
    /// Bytes of items, at a cost of 64 more each, that a stream's sender may be ahead of the reader here, one item beyond
    /// it included: 1 to 1 GiB. It is less while more streams are open than half of `inbound_bytes_max` has room for.
    /// Default 256 KiB.
    pub stream_window_bytes: u32,
    /// Bytes of replies and large messages that may wait for the peer to make room. A reply beyond that becomes an
    /// error; a request or an item waits. Default 128 MiB.
    pub outbound_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 20,
            metadata_bytes_max: 16 << 10,
            calls_max: 1024,
            served_max: None,
            depth_max: 16,
            inbound_bytes_max: 128 << 20,
            stream_window_bytes: 256 << 10,
            outbound_bytes_max: 128 << 20,
        }
    }
}

/// A limit that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("{field} is {found}, but must be {bound}")]
pub struct LimitError {
    /// The field's name.
    pub field: &'static str,
    /// Its value.
    pub found: u64,
    /// What it must be.
    pub bound: &'static str,
}

/// A bound on what is kept for one call beside its bytes: in the tables, for its streams, for all that may wait in the
/// outbox on its behalf, and for its handler, but for what that keeps itself.
const CALL_BYTES: usize = 2048;
/// Its final; a request, an item, and the end behind it; `CANCEL` or `GRANT`.
const OURS: usize = CallTable::BYTES_EACH + STREAMS + size_of::<Inbound>() + 4 * Outbox::BYTES_EACH;
/// Its request; an item, and the final behind it; `GRANT`.
const THEIRS: usize = ServedTable::BYTES_EACH
    + STREAMS
    + size_of::<Inbound>()
    + 3 * Outbox::BYTES_EACH
    + Tasks::BYTES_EACH
    + size_of::<IncomingCall>();
/// Both ways, and an item that has come in part.
const STREAMS: usize = size_of::<Flows>() + size_of::<Inbound>() + 2 * size_of::<StreamKey>();
const _: () = assert!(OURS <= CALL_BYTES && THEIRS <= CALL_BYTES, "a call keeps more than is reckoned");
/// The same for one slot: the owner's entry and the receiver's, and their bits.
const SLOT_TABLE_BYTES: usize = 16;

/// The most that the peer's registry takes once it is parsed, measured with inputs at the limits of `rapace-registry`.
const REGISTRY_BYTES: usize = 12 << 20;

impl Limits {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), LimitError> {
        let check = |field, found: usize, ok: bool, bound| {
            if ok { Ok(()) } else { Err(LimitError { field, found: found as u64, bound }) }
        };
        let calls = self.calls_max as usize;
        check(
            "message_bytes_max",
            self.message_bytes_max,
            (1..=1 << 31).contains(&self.message_bytes_max),
            "1 to 2147483648",
        )?;
        check("metadata_bytes_max", self.metadata_bytes_max, self.metadata_bytes_max <= 16 << 20, "0 to 16777216")?;
        check("calls_max", calls, (1..=CHANNELS_MAX).contains(&self.calls_max), "1 to 4096")?;
        check("depth_max", self.depth_max.into(), self.depth_max >= 1, "1 to 255")?;
        let enough = self.message_bytes_max + self.metadata_bytes_max;
        check(
            "inbound_bytes_max",
            self.inbound_bytes_max,
            self.inbound_bytes_max >= enough,
            "at least message_bytes_max and metadata_bytes_max together",
        )?;
        let window = self.stream_window_bytes as usize;
        check("stream_window_bytes", window, (1..=1 << 30).contains(&window), "1 to 1073741824")?;
        check("outbound_bytes_max", self.outbound_bytes_max, self.outbound_bytes_max >= 1 << 16, "at least 65536")
    }

    /// The most memory that a session can cost this process, in bytes, whatever its peer does: the segment, messages in
    /// both directions, the peer's registry, and the tables. One message in flight may exceed the bound on outbound bytes.
    pub fn worst_case_bytes(&self, geometry: GeometryConfig) -> usize {
        let slots = geometry.segment_bytes / geometry.slot_bytes.max(1) as usize;
        // Calls are in flight both ways; the peer's own limit on ours is at most the protocol's.
        let calls = self.calls_max as usize + CHANNELS_MAX as usize;
        geometry.segment_bytes
            + self.inbound_bytes_max
            + self.outbound_bytes_max
            + self.message_bytes_max
            + self.metadata_bytes_max
            + REGISTRY_BYTES
            + calls * CALL_BYTES
            + slots * SLOT_TABLE_BYTES
    }
}

/// Times that a session is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the offer to the end of the handshake. Default 10 s.
    pub start: Duration,
    /// How long a peer that owes progress may make none before it is unresponsive. Default 1 s.
    pub liveness: Duration,
    /// The bound of a call that names none. Default 30 s.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { start: Duration::from_secs(10), liveness: Duration::from_secs(1), call: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_sum_up() {
        Limits::default().check().unwrap();
        let worst = Limits::default().worst_case_bytes(GeometryConfig::default());
        // SPEC section 14: halves, inbound, outbound, a message and its metadata, calls, slots, the registry.
        let terms = [4 << 20, 128 << 20, 128 << 20, 64 << 20, 16 << 10, (1024 + 4096) * 2048, 1024 * 16, 12 << 20];
        assert_eq!(worst, terms.iter().sum::<usize>());
    }

    #[test]
    fn figures_at_their_bounds_are_taken() {
        let d = Limits::default();
        let (message_bytes_max, metadata_bytes_max) = (1 << 31, 16 << 20);
        let inbound_bytes_max = message_bytes_max + metadata_bytes_max;
        for limits in [
            Limits { message_bytes_max: 1, metadata_bytes_max: 0, inbound_bytes_max: 1, ..d },
            Limits { message_bytes_max, metadata_bytes_max, inbound_bytes_max, ..d },
            Limits { calls_max: 1, depth_max: 1, stream_window_bytes: 1, outbound_bytes_max: 65536, ..d },
            Limits { calls_max: 4096, depth_max: 255, stream_window_bytes: 1 << 30, ..d },
        ] {
            assert_eq!(limits.check(), Ok(()));
        }
    }

    #[test]
    fn figures_out_of_bounds_name_their_field() {
        let d = Limits::default();
        for (limits, field) in [
            (Limits { message_bytes_max: 0, ..d }, "message_bytes_max"),
            (Limits { message_bytes_max: (1 << 31) + 1, inbound_bytes_max: 1 << 32, ..d }, "message_bytes_max"),
            (Limits { metadata_bytes_max: (16 << 20) + 1, ..d }, "metadata_bytes_max"),
            (Limits { calls_max: 0, ..d }, "calls_max"),
            (Limits { calls_max: 4097, ..d }, "calls_max"),
            (Limits { depth_max: 0, ..d }, "depth_max"),
            (Limits { inbound_bytes_max: (64 << 20) + (16 << 10) - 1, ..d }, "inbound_bytes_max"),
            (Limits { stream_window_bytes: 0, ..d }, "stream_window_bytes"),
            (Limits { stream_window_bytes: (1 << 30) + 1, ..d }, "stream_window_bytes"),
            (Limits { outbound_bytes_max: 65535, ..d }, "outbound_bytes_max"),
        ] {
            assert_eq!(limits.check().unwrap_err().field, field);
        }
        let error = Limits { calls_max: 5000, ..d }.check().unwrap_err();
        assert_eq!(error.to_string(), "calls_max is 5000, but must be 1 to 4096");
    }
}
