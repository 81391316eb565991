//! Nothing is left behind, also by a test that fails.

use std::process::Command;

use rapace_tests::method;

use crate::support::{Plugin, eventually, is_there, marked};

/// Set in a run of this program whose only test fails.
const FAILING: &str = "RAPACE_TESTS_FAILING";

#[test]
fn a_test_that_fails_leaves_no_process() {
    if std::env::var_os(FAILING).is_some() {
        let plugin = Plugin::start(&["serve", "wait=spin"]);
        let _held = plugin.start_call(method::HOLD, b"");
        panic!("this is the run that fails");
    }
    let mut failing = Command::new(std::env::current_exe().unwrap());
    failing.args(["--exact", "leftovers::a_test_that_fails_leaves_no_process"]).env(FAILING, "1");
    failing.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let failing = failing.spawn().unwrap();
    let run = failing.id();
    let output = failing.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert!(String::from_utf8_lossy(&output.stdout).contains("this is the run that fails"), "{output:?}");
    eventually("no process of that run is left", || marked(run).is_empty());
}

#[test]
fn peers_carry_the_mark_by_which_they_are_found() {
    let plugin = Plugin::start(&["serve"]);
    let pid = plugin.pid();
    assert!(marked(std::process::id()).contains(&pid.to_string()));
    drop(plugin);
    assert!(!is_there(pid));
}
