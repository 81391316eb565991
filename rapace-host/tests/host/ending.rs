//! SIGINT and SIGTERM at a host: a process of its own, with plugins.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rapace_host::{PluginHost, ShutdownTimes};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::plugin::ROLE;
use crate::{PATIENCE, config, eventually, is_there, spec};

const HOST: &str = "RAPACE_TEST_HOST";

/// The host itself, in the processes that the tests start; nothing in the test program.
#[test]
fn host_process() {
    let Ok(role) = std::env::var(HOST) else { return };
    let patient = ShutdownTimes {
        drain: PATIENCE,
        acknowledge: PATIENCE,
        exit: PATIENCE,
        terminate: PATIENCE,
        ..ShutdownTimes::default()
    };
    let host = PluginHost::builder(config()).shutdown_times(patient).build().unwrap();
    let signals = host.end_signals().unwrap();
    let plugins = ["first", &role].map(|name| host.load(spec(name).env(ROLE, name)).unwrap());
    println!("\npids {} {}", plugins[0].process_id().unwrap(), plugins[1].process_id().unwrap());
    println!("told {}", signals.wait());
    for (name, report) in host.shutdown() {
        println!("ended {name}: {report}");
    }
    std::process::exit(0);
}

/// A host in a process group of its own, what it prints, and its plugins.
struct Host {
    child: Child,
    lines: BufReader<ChildStdout>,
    plugins: Vec<u32>,
}

impl Host {
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ending::host_process", "--nocapture"]).env(HOST, role).stdout(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().unwrap();
        let mut host = Self { lines: BufReader::new(child.stdout.take().unwrap()), child, plugins: Vec::new() };
        let pids = host.line("pids ");
        host.plugins = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        host
    }

    /// What is behind the next line that begins so.
    fn line(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.trim_end().strip_prefix(beginning) {
                return rest.to_owned();
            }
            line.clear();
        }
        panic!("the host has ended without {beginning:?}");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).unwrap()
    }

    fn ends_well(mut self) {
        assert!(self.child.wait().unwrap().success());
        assert!(!self.plugins.iter().any(|pid| is_there(*pid)));
    }
}

#[test]
fn a_signal_ends_a_host_and_its_plugins_in_good_order() {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let mut host = Host::start("polite");
        kill_process(host.pid(), signal).unwrap();
        assert_eq!(host.line("told "), name);
        assert_eq!(host.line("ended "), "polite: shutdown acknowledged, exited with code 0");
        assert_eq!(host.line("ended "), "first: shutdown acknowledged, exited with code 0");
        host.ends_well();
    }
}

#[test]
fn a_signal_from_the_terminal_reaches_the_host_alone() {
    let mut host = Host::start("polite");
    // As Ctrl-C does: all processes of the group. The plugins are in groups of their own, and are told by the host.
    kill_process_group(host.pid(), Signal::INT).unwrap();
    assert_eq!(host.line("told "), "SIGINT");
    assert_eq!(host.line("ended "), "polite: shutdown acknowledged, exited with code 0");
    host.ends_well();
}

#[test]
fn a_second_signal_ends_a_shutdown_that_takes_its_time() {
    let mut host = Host::start("stubborn");
    kill_process(host.pid(), Signal::TERM).unwrap();
    assert_eq!(host.line("told "), "SIGTERM");
    // It is told to shut down, and does not; the other one waits for its turn.
    kill_process(host.pid(), Signal::INT).unwrap();
    let ended = host.line("ended ");
    assert!(ended.starts_with("stubborn: shutdown not acknowledged") && ended.ends_with("(SIGKILL)"), "{ended}");
    host.ends_well();
}

#[test]
fn a_host_that_is_killed_leaves_no_plugin() {
    let mut host = Host::start("plain");
    kill_process(host.pid(), Signal::KILL).unwrap();
    host.child.wait().unwrap();
    for pid in &host.plugins {
        eventually("it has ended with its host", || !is_there(*pid));
    }
}
