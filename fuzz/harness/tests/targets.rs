//! The fuzz targets on their seeds, and on bytes by chance, plain and made of the seeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rapace_fuzz_harness::{TARGETS, descriptor, frames, hello, registry, session};

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

/// A seed of the target with other bytes in some places, cut or made longer.
fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let seeds: Vec<_> = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    let splices = vec((any::<Index>(), 0..8usize, vec(any::<u8>(), 0..24)), 0..6);
    (any::<Index>(), splices).prop_map(move |(which, splices)| {
        let mut bytes = which.get(&seeds).clone();
        for (at, gone, new) in splices {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + gone);
            bytes.splice(at..end, new);
        }
        bytes
    })
}

macro_rules! properties {
    ($($name:ident: $target:ident, $cases:literal;)*) => {$(
        #[test]
        fn $name() {
            let config = ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(config, |(bytes in prop_oneof![vec(any::<u8>(), 0..1024), mutated(stringify!($target))])| {
                $target(&bytes);
            });
        }
    )*};
}

properties! {
    descriptors_are_judged_as_the_oracle_does: descriptor, 2000;
    a_link_stands_any_peer: frames, 500;
    greetings_are_taken_or_refused: hello, 2000;
    registries_have_one_form_and_mirror_each_other: registry, 2000;
    a_session_stands_any_peer: session, 500;
}
