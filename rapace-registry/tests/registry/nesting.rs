//! Schemas nested as deeply as allowed, and deeper, on threads with little stack.

use rapace_registry::{Registry, compare};

use crate::hostile::{U8, argument};

/// Each way for a type to stand in another: the bytes before it and the bytes behind it.
const NESTINGS: [(&str, &[u8], &[u8]); 10] = [
    ("option", &[0, 18], &[]),
    ("newtype struct", &[0, 21], &[]),
    ("sequence", &[0, 22], &[]),
    ("tuple", &[0, 23, 1], &[]),
    ("tuple struct", &[0, 24, 1], &[]),
    ("map value", &[0, 25, 0, 2], &[]),
    ("map key", &[0, 25], &[0, 2]),
    ("struct", &[0, 26, 1, 0], &[]),
    ("tuple variant", &[0, 27, 1, 0, 2, 1], &[]),
    ("struct variant", &[0, 27, 1, 0, 3, 1, 0], &[]),
];

fn nested(depth: usize, before: &[u8], behind: &[u8]) -> Vec<u8> {
    argument([before.repeat(depth - 1).as_slice(), &U8, &behind.repeat(depth - 1)].concat())
}

fn on_a_stack_of(kib: usize, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(kib * 1024).spawn(work).unwrap();
    thread.join().unwrap();
}

#[test]
fn the_deepest_schemas_are_read_and_compared_on_a_small_stack() {
    on_a_stack_of(128, || {
        for (what, before, behind) in NESTINGS {
            let registry = Registry::from_bytes(&nested(64, before, behind)).expect(what);
            let comparison = compare(&registry, &registry);
            assert_eq!(comparison.to_string(), "no difference", "{what}");
        }
    });
}

#[test]
fn deeper_schemas_are_refused_on_a_small_stack() {
    on_a_stack_of(128, || {
        for (what, before, behind) in NESTINGS {
            let deepest = 1_000_000 / (before.len() + behind.len());
            for depth in [65, 66, 1000, deepest] {
                let error = Registry::from_bytes(&nested(depth, before, behind)).unwrap_err();
                let expected = ": nested types: 65, allowed are at most 64";
                assert!(error.to_string().ends_with(expected), "{what} of depth {depth}: {error}");
            }
        }
    });
}

/// Copying, writing and showing a schema recurse, so it is the limit on depth that bounds their
/// stack.
#[test]
fn whatever_else_is_done_with_the_deepest_schemas_takes_little_stack() {
    on_a_stack_of(512, || {
        let plain = Registry::from_bytes(&argument(U8)).unwrap();
        for (what, before, behind) in NESTINGS {
            let bytes = nested(64, before, behind);
            let registry = Registry::from_bytes(&bytes).expect(what);
            assert_eq!(registry.clone(), registry, "{what}");
            assert_eq!(registry.to_bytes(), bytes, "{what}");
            assert_eq!(compare(&registry, &plain).differences().len(), 1, "{what}");
            assert!(format!("{registry:?} {}", compare(&registry, &plain)).contains("argument"));
        }
    });
}
