//! Ends of processes that no host has asked for.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rapace_core::socket::{Ring, Socket};
use rapace_service::Services;
use rapace_session::{CallOptions, Code, NoService, SessionEnd, Status};
use rustix::process::{Pid, Signal, kill_process};

use crate::contract::{WorkerClient, echo};
use crate::process::{Started, test_program};
use crate::{PATIENCE, eventually};

const KILLED: &str = "polite: the session has ended, but the plugin has not within 500ms: it is killed\n";

fn closed_with(plugin: &Started) -> Status {
    match &*plugin.session.serve_for(PATIENCE).unwrap() {
        SessionEnd::PeerClosed(status) => status.clone(),
        other => panic!("{other}"),
    }
}

/// A plugin with a handler that goes on for ever.
fn spinning(role: &str) -> Started {
    let (oracle, asked) = echo();
    let plugin = Started::new(&mut test_program(role), Services::new().add(oracle));
    plugin.initialize();
    let session = plugin.session.clone();
    // It ends with the session.
    std::thread::spawn(move || WorkerClient::new(&session).blocking().spin());
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), "spinning");
    plugin
}

#[test]
fn a_plugin_whose_host_is_killed_ends_though_its_handler_is_busy() {
    assert_eq!(last_words_behind_a_kill_of("host"), KILLED);
}

#[cfg(feature = "tokio")]
#[test]
fn a_plugin_whose_host_is_killed_ends_though_a_task_of_its_runtime_is_busy() {
    let text = last_words_behind_a_kill_of("host of tasks");
    // The thread that serves knows of the end. The process is killed only if that thread has no turn in time.
    let left = "polite: what blocks the tokio runtime goes on 250ms behind its end\n";
    assert!(text.starts_with(left) || text == KILLED, "{text:?}");
}

/// What a plugin, whose handler is busy, says behind the end of its host.
fn last_words_behind_a_kill_of(host: &str) -> String {
    let mut host = test_program(host).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The plugin has the same standard error: it ends when both are gone.
    let mut stderr = BufReader::new(host.stderr.take().unwrap());
    // One that joins says so first.
    let mut lines = stderr.by_ref().lines().map(Result::unwrap);
    let plugin = lines.find_map(|line| Pid::from_raw(line.parse().ok()?)).unwrap();
    host.kill().unwrap();
    assert_eq!(host.wait().unwrap().signal(), Some(9));
    let (tell, told) = std::sync::mpsc::channel();
    let reads = std::thread::spawn(move || {
        let mut text = String::new();
        tell.send(stderr.read_to_string(&mut text).map(|_| text))
    });
    let text = told.recv_timeout(PATIENCE);
    if text.is_err() {
        kill_process(plugin, Signal::KILL).unwrap();
    }
    reads.join().unwrap().unwrap();
    text.unwrap().unwrap()
}

#[test]
fn a_plugin_that_has_joined_a_host_ends_with_it_too() {
    assert_eq!(last_words_behind_a_kill_of("host to join"), KILLED);
}

#[test]
fn a_guardian_without_end_of_patience_sleeps() {
    let plugin = spinning("patient");
    let guardian = thread_of(&plugin, "rapace-guardian").unwrap();
    eventually("the guardian sleeps", || sleeps(&guardian) > 0);
    let slept = sleeps(&guardian);
    Socket::from_fd(plugin.socket.try_clone().unwrap()).unwrap().shutdown();
    eventually("the guardian sleeps again", || sleeps(&guardian) > slept);
    plugin.signal(Signal::KILL);
    assert_eq!(plugin.end().1, "");
}

#[test]
fn a_plugin_whose_session_ended_by_a_fault_ends_though_a_handler_is_busy() {
    let plugin = spinning("spinning beside");
    let copy: OwnedFd = plugin.socket.try_clone().unwrap();
    UnixDatagram::from(copy).send(b"no message of the protocol").unwrap();
    let (exit, stderr) = plugin.end();
    assert_eq!((exit.signal(), stderr.as_str()), (Some(9), KILLED));
}

#[test]
fn a_signal_ends_a_plugin_in_good_order() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let plugin = Started::new(&mut test_program("polite"), NoService);
        plugin.initialize();
        plugin.signal(signal);
        let status = closed_with(&plugin);
        assert_eq!((status.code, &*status.details), (Code::Unavailable, &b"signal"[..]));
        assert_eq!(status.message, format!("the plugin was ended by {name}"));
        let (exit, stderr) = plugin.end();
        assert_eq!((exit.code(), stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_signal_ends_a_plugin_whose_handler_is_busy() {
    let plugin = spinning("spinning");
    plugin.signal(Signal::TERM);
    let (exit, stderr) = plugin.end();
    assert_eq!(exit.signal(), Some(9));
    assert_eq!(stderr, format!("polite: calls or work go on 50ms after the word to stop\n{KILLED}"));
}

#[test]
fn a_second_signal_ends_a_plugin_at_once() {
    let mut plugin = Started::new(&mut test_program("deaf"), NoService);
    plugin.session.call_lifecycle(2000, b"", &CallOptions::new()).unwrap();
    plugin.signal(Signal::TERM);
    let session = plugin.session.clone();
    // Answers what the plugin asks.
    let serves = std::thread::spawn(move || session.serve_for(PATIENCE));
    assert_eq!(plugin.line(), "asked to stop\n");
    plugin.signal(Signal::TERM);
    serves.join().unwrap();
    let (exit, stderr) = plugin.end();
    assert_eq!((exit.signal(), stderr.as_str()), (Some(15), ""));
}

#[test]
fn a_task_that_panics_is_a_failure() {
    let plugin = Started::new(&mut test_program("fragile"), NoService);
    // The end may come before the answer does.
    let _ = plugin.session.call_lifecycle(2000, b"", &CallOptions::new());
    assert_eq!(closed_with(&plugin).details, b"panic");
    let (exit, stderr) = plugin.end();
    let lines = "fragile: a background task panicked: the plugin ends\na background task panicked\n";
    assert_eq!((exit.code(), stderr.as_str()), (Some(1), lines));
}

#[test]
fn an_idle_plugin_exits_in_good_order() {
    let plugin = Started::new(&mut test_program("idle"), NoService);
    plugin.initialize();
    assert_eq!(closed_with(&plugin).details, b"idle");
    let (exit, stderr) = plugin.end();
    assert_eq!((exit.code(), stderr.as_str()), (Some(0), ""));
}

/// The thread of a plugin that has this name.
fn thread_of(plugin: &Started, name: &str) -> Option<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", plugin.session.process_id().unwrap())).unwrap();
    let mut tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
}

/// How often a thread has gone to sleep.
fn sleeps(thread: &Path) -> u64 {
    let status = std::fs::read_to_string(thread.join("status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    count.trim().parse().unwrap()
}

#[test]
fn bells_do_not_wake_the_guardian() {
    let plugin = Started::new(&mut test_program("polite"), NoService);
    plugin.initialize();
    let mut guardian = None;
    eventually("there is a guardian", || {
        guardian = thread_of(&plugin, "rapace-guardian");
        guardian.is_some()
    });
    let guardian = guardian.unwrap();
    eventually("the guardian sleeps", || sleeps(&guardian) > 0);
    let server = thread_of(&plugin, "polite").unwrap();
    let bell = Socket::from_fd(plugin.socket.try_clone().unwrap()).unwrap();
    let (before, start) = (sleeps(&guardian), Instant::now());
    // For longer than it would take to be killed for them.
    while start.elapsed() < Duration::from_secs(1) {
        let slept = sleeps(&server);
        assert_eq!(bell.ring().unwrap(), Ring::Rung);
        eventually("the thread that serves is woken", || sleeps(&server) > slept);
    }
    let woken = sleeps(&guardian) - before;
    assert!(woken < 10, "the guardian was woken {woken} times");
    assert_eq!(WorkerClient::new(&plugin.session).blocking().greet("host").unwrap(), "Hello, host!");
}
