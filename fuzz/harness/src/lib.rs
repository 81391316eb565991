//! The bodies of the fuzz targets: each takes any bytes, and asserts what must hold whatever they are.
//!
//! `fuzz/fuzz_targets` hands them to libFuzzer; the tests here run them on seeds and on bytes by chance, so that a broken
//! check is found by `cargo test` too. What is expected comes from [`oracle`](self) and from `peer.rs`, which are written
//! from SPEC.md and share no code with what they judge.

#![forbid(unsafe_code)]

mod fields;
mod greeted;
mod lie;
mod oracle;
mod peer;
mod shape;

mod answer;
mod config;
mod descriptor;
mod events;
mod frames;
mod hello;
mod json;
mod output;
mod prefix;
mod registry;
mod session;

pub use answer::answer;
pub use config::config;
pub use descriptor::descriptor;
pub use events::events;
pub use frames::frames;
pub use hello::hello;
pub use json::json;
pub use output::output;
pub use prefix::prefix;
pub use registry::registry;
pub use session::{memory, session};

use rapace_core::{Geometry, GeometryConfig};

/// A target: its name, which is that of its seeds too, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("answer", answer),
    ("config", config),
    ("descriptor", descriptor),
    ("events", events),
    ("frames", frames),
    ("hello", hello),
    ("json", json),
    ("memory", memory),
    ("output", output),
    ("prefix", prefix),
    ("registry", registry),
    ("session", session),
];

/// One of a few small geometries.
fn geometry(choice: u8) -> Geometry {
    let (segment_bytes, ring_capacity, slot_bytes) = match choice % 4 {
        // The least memory that is kept for replies: 8 slots of 64 bytes, of 64 slots.
        0 => (32 << 10, 64, 64),
        // The fewest descriptors, and the fewest slots.
        1 => (32 << 10, 16, 512),
        2 => (64 << 10, 64, 1024),
        // A slot of another size than a power of two.
        _ => (64 << 10, 32, 192),
    };
    let config = GeometryConfig { segment_bytes, ring_capacity, slot_bytes };
    Geometry::new(config).expect("the geometries are within their bounds")
}

/// Bytes that tell how many they are.
fn pattern(bytes: usize) -> Vec<u8> {
    let [low, high, ..] = bytes.to_le_bytes();
    let period: Vec<u8> = (0..=250).map(|at: u8| at ^ low ^ high).collect();
    let mut pattern = period.repeat(bytes / period.len() + 1);
    pattern.truncate(bytes);
    pattern
}
