//! Hosts that crash, with plugins of their own, which are left to this process.

use std::io::Read;
use std::process::Stdio;

use rapace_core::crash::Point;

use crate::case::{ARGUMENTS, Case, Phase, cases, phase};
use crate::census::{Census, alone, reap_orphans};
use crate::support::spawn;

/// Plugins of a host.
const PLUGINS: usize = 2;
/// How a plugin ends, by its exit code: its host has closed the session, there was none yet, the host is gone.
const CLOSED: i32 = 0;
const NO_SESSION: i32 = 1;
const HOST_GONE: i32 = 3;

/// A host that kills itself amid calls both ways.
fn check_kill(before: &Census, case: Case, options: &[&str]) {
    let arguments = [&["exercising-host", "exercise=20"], &ARGUMENTS[..], options].concat();
    let mut command = case.peer(&arguments, "kill");
    // Plugins that find no host say so.
    let (socket, mut host) = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut output = host.stdout.take().unwrap();
    let exit = host.wait().unwrap();
    let codes = reap_orphans();
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&exit), Some(9), "{case:?}: {exit}, {said}");
    assert_eq!(codes.len(), PLUGINS, "{case:?}: {codes:?}");
    let was_open = said.lines().any(|line| line == "open");
    for code in codes {
        let due = match code {
            Some(HOST_GONE) => true,
            Some(NO_SESSION) => !was_open,
            Some(CLOSED) => phase(case.point) == Phase::End,
            _ => false,
        };
        assert!(due, "{case:?}: {code:?}, {said}");
    }
    check_reports(&said, case);
    drop((socket, output, host));
    before.check_nothing_is_left();
}

/// Each plugin that had a session says of its calls that they have ended, none of them badly, and that nothing is left.
#[track_caller]
fn check_reports(said: &str, case: Case) {
    for report in said.lines().filter_map(|line| line.strip_prefix("calls ")) {
        let counts: Vec<u64> = report.split(' ').map(|count| count.parse().unwrap()).collect();
        let [begun, done, wrong, left] = counts[..] else { panic!("{case:?}: {report}") };
        assert_eq!((done, wrong, left), (begun, 0, 0), "{case:?}: {said}");
    }
}

fn check_all(options: &[&str]) {
    let alone = alone();
    for case in cases(Phase::PluginsStart) {
        check_kill(&alone.before, case, options);
    }
}

#[test]
fn a_host_that_is_killed_at_any_point_leaves_nobody() {
    check_all(&[]);
}

#[test]
fn a_host_of_tasks_that_is_killed_at_any_point_leaves_nobody() {
    check_all(&["tokio=1"]);
}

#[test]
fn points_are_passed_by_one_side_or_by_both() {
    let all = cases(Phase::HostsStart).len() + cases(Phase::PluginsStart).len();
    let once = Point::ALL.into_iter().filter(|point| matches!(phase(*point), Phase::HostsStart | Phase::PluginsStart));
    let open = Point::ALL.into_iter().filter(|point| phase(*point) == Phase::Open);
    assert_eq!(all, 2 * (Point::ALL.len() + open.count()) - once.count());
}
