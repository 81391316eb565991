//! The fuzz targets on their seeds, and on bytes by chance, plain and made of the seeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rapace_fuzz_harness::{
    TARGETS, answer, config, descriptor, events, frames, hello, json, memory, output, prefix, registry, session,
};

/// The seeds of a target, which are inputs that once failed too.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut seeds: Vec<_> = files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    seeds.sort();
    seeds
}

#[test]
fn every_seed_passes() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (path, seed) in seeds {
            println!("{path}");
            target(&seed);
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Bit(Index, u8),
    Byte(Index, u8),
    Splice(Index, usize, Vec<u8>),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Edit::Bit(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        (any::<Index>(), 0..8usize, vec(any::<u8>(), 0..24)).prop_map(|(at, gone, new)| Edit::Splice(at, gone, new)),
    ]
}

/// A seed of the target with a few changes.
fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let seeds: Vec<_> = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    (any::<Index>(), vec(edit(), 0..5)).prop_map(move |(which, edits)| {
        let mut bytes = which.get(&seeds).clone();
        for edit in edits {
            let count = bytes.len();
            match edit {
                Edit::Bit(at, bit) if count > 0 => bytes[at.index(count)] ^= 1 << bit,
                Edit::Byte(at, byte) if count > 0 => bytes[at.index(count)] = byte,
                Edit::Bit(..) | Edit::Byte(..) => {}
                Edit::Splice(at, gone, new) => {
                    let at = at.index(count + 1);
                    bytes.splice(at..count.min(at + gone), new);
                }
            }
        }
        bytes
    })
}

macro_rules! properties {
    ($($name:ident: $target:ident, $cases:literal;)*) => {$(
        #[test]
        fn $name() {
            let runner = ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(runner, |(bytes in prop_oneof![vec(any::<u8>(), 0..1024), mutated(stringify!($target))])| {
                $target(&bytes);
            });
        }
    )*};
}

properties! {
    answers_of_programs_are_read_or_refused: answer, 3000;
    files_of_configuration_are_read_or_refused: config, 1000;
    descriptors_are_judged_as_the_oracle_does: descriptor, 3000;
    events_come_to_those_who_subscribed: events, 1000;
    a_link_stands_any_peer: frames, 1000;
    greetings_are_taken_or_refused: hello, 5000;
    values_of_any_schema_come_back: json, 3000;
    output_is_told_line_by_line: output, 1000;
    a_host_stands_memory_that_changes: memory, 1000;
    prefixes_are_read_or_refused: prefix, 1000;
    registries_have_one_form_and_mirror_each_other: registry, 5000;
    a_session_stands_any_peer: session, 1000;
}
