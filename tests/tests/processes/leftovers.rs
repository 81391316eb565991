//! Nothing is left behind, also by a test that fails.

use std::process::Command;

use rapace_tests::method;

use crate::support::{MARK, Plugin, eventually, is_there};

/// Set in a run of this program whose only test fails.
const FAILING: &str = "RAPACE_TESTS_FAILING";

/// The processes that carry the mark of a run, and are not yet reaped.
fn marked(run: u32) -> Vec<String> {
    let mark = format!("{MARK}={run}");
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let marked = entries.filter(|entry| {
        // Processes of others cannot be read, and any may end meanwhile.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    });
    marked.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

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
