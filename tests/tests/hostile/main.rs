//! Hostile plugins, as real processes, against a host under load with a good plugin beside them.
//!
//! Each behaviour of [`rapace_tests::hostile`] is a test of its name. Meanwhile the good plugin is called without pause, and
//! none of its calls may fail; then the hostile one has come to the end that it deserves, or is borne with; and nothing is
//! left behind. What the floods among them cost is counted in `cost.rs`. The tests count what this process has, so they run one at a
//! time.
#![allow(clippy::unwrap_used)]

#[path = "../processes/support.rs"]
#[allow(dead_code, reason = "the other test program uses all of it")]
mod support;

mod census;
mod cost;
mod good;
mod stand;

mod hostile {
    use rapace_tests::each_hostile;
    use rapace_tests::hostile::Hostile;

    use crate::stand::check;

    macro_rules! test_of {
        ($behaviour:ident $name:ident) => {
            #[test]
            fn $name() {
                check(Hostile::$behaviour);
            }
        };
    }

    each_hostile!(test_of);
}
