//! Calls, crashes, restarts and shutdowns of real processes.

use std::iter;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rapace_host::{Ending, PluginHandle, PluginHost, PluginScope, PluginState, ShutdownTimes, StateChange};
use rapace_session::{AsCaller, CallError, CallOptions, IncomingCall, PeerState, SessionEnd};

use crate::plugin::{BEGUN, ECHO, ENDLESS, EXIT, GATE, PART};
use crate::{PATIENCE, config, eventually, gate, in_words, is_there, spec, watched};

const TINY: Duration = Duration::from_millis(100);
/// Gives up soon; only behind SIGTERM it is sure of the end, if the plugin does not ignore it.
const QUICK: ShutdownTimes =
    ShutdownTimes { drain: TINY, acknowledge: TINY, exit: TINY, terminate: PATIENCE, hand_over: PATIENCE };

fn echo_works(plugin: &PluginHandle) {
    let reply = plugin.call(ECHO, b"are you there?", &CallOptions::new()).unwrap();
    assert!(reply.body == b"are you there?"[..]);
}

/// For a plugin that is restarted by somebody meanwhile.
fn echo_works_soon(plugin: &PluginHandle) {
    let start = Instant::now();
    while plugin.call(ECHO, b"are you there?", &CallOptions::new()).is_err() {
        assert!(start.elapsed() < PATIENCE, "not restarted: {plugin:?}");
        thread::yield_now();
    }
}

fn poll_until(host: &PluginHost, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not noticed by any poll");
        host.poll();
    }
}

#[test]
fn a_plugin_goes_through_its_states() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain").config_data(b"any".to_vec())).unwrap();
    assert_eq!(plugin.state(), PluginState::Running);
    echo_works(&plugin);
    let pid = plugin.process_id().unwrap();
    assert_eq!(plugin.session().unwrap().process_id(), Some(pid));
    let report = plugin.shutdown().unwrap();
    assert_eq!(report.to_string(), "shutdown acknowledged, exited with code 0");
    assert_eq!(report.ending, Ending::Exited);
    assert_eq!(plugin.state(), PluginState::Stopped);
    assert_eq!((plugin.process_id(), is_there(pid)), (None, false));
    assert!(plugin.shutdown().is_none() && plugin.kill().is_none());
    let expected = [
        "Discovered",
        "Discovered -> Verified",
        "Verified -> Connected",
        "Connected -> Initializing",
        "Initializing -> Running",
        "Running -> Draining",
        "Draining -> ShuttingDown",
        "ShuttingDown -> Stopped",
    ];
    assert_eq!(in_words(&changes, expected.len()), expected);
    let error = plugin.call(ECHO, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "the call was not run: Unavailable: plugin plain is Stopped");
}

#[test]
fn a_kill_ends_a_call_and_a_restart_is_a_new_session() {
    let (sender, begun) = mpsc::channel();
    let services = move |_: &PluginScope| {
        let sender = sender.clone();
        move |call: IncomingCall| {
            assert_eq!(call.method(), BEGUN);
            call.reply(b"");
            let _ = sender.send(());
        }
    };
    let (host, changes) = watched(PluginHost::builder(config()).services(services));
    let [killed, other] = ["killed", "other"].map(|name| host.load(spec(name)).unwrap());
    let (pid, nonce) = (killed.process_id().unwrap(), killed.session().unwrap().nonce());
    let caller = killed.clone();
    let call = thread::spawn(move || caller.call(ENDLESS, b"", &CallOptions::new()));
    begun.recv_timeout(PATIENCE).unwrap();
    let exit = killed.kill().unwrap();
    let error = call.join().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the peer is gone: its process was killed by signal 9 (SIGKILL)");
    assert_eq!(error.session_end(), Some(&SessionEnd::PeerGone(Some(exit))));
    assert_eq!((killed.state(), is_there(pid)), (PluginState::Crashed, false));
    assert_eq!(killed.peer_state(), PeerState::Gone { exit: Some(exit) });
    let crash = killed.crash().unwrap();
    assert!(crash.to_string().starts_with("it was killed by signal 9 (SIGKILL) "), "{crash}");
    echo_works(&other);
    killed.restart().unwrap();
    echo_works(&killed);
    assert_ne!(killed.process_id(), Some(pid));
    assert_ne!(killed.session().unwrap().nonce(), nonce);
    assert!(killed.crash().is_none());
    let changes = iter::from_fn(|| changes.recv_timeout(PATIENCE).ok());
    let changes = changes.filter(|change| &*change.plugin == "killed").take(9);
    let changes: Vec<_> = changes.map(|change| change.to_string()).collect();
    let again = ["Connected -> Initializing", "Initializing -> Running"];
    assert_eq!(changes[3..5], again);
    assert_eq!(changes[5..7], ["Running -> Crashed", "Crashed -> Connected"]);
    assert_eq!(changes[7..], again);
}

#[test]
fn a_restart_of_a_running_plugin_shuts_it_down_first() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain")).unwrap();
    let pid = plugin.process_id().unwrap();
    plugin.restart().unwrap();
    assert!(!is_there(pid));
    echo_works(&plugin);
    let again = ["Running -> Draining", "Draining -> ShuttingDown", "ShuttingDown -> Stopped", "Stopped -> Connected"];
    assert_eq!(in_words(&changes, 9)[5..], again);
}

#[test]
fn whoever_sees_a_call_fail_by_a_crash_finds_its_report() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    for crashes in 1..=5 {
        // As clients call it.
        plugin.as_caller().call_blocking(EXIT, &[7], &CallOptions::new()).unwrap_err();
        assert_eq!(plugin.crashes().len(), crashes);
        assert_eq!((plugin.state(), plugin.crash().is_some()), (PluginState::Crashed, true));
        plugin.restart().unwrap();
    }
}

#[test]
fn a_plugin_that_exits_in_a_call_has_crashed() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    let error = plugin.call(EXIT, &[7], &CallOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "the peer is gone: its process exited with code 7");
    assert_eq!(plugin.state(), PluginState::Crashed);
    let crash = plugin.crash().unwrap();
    assert_eq!(crash.stderr, "told to exit with 7");
    let told = crash.to_string();
    assert!(told.starts_with("it exited with code 7 ") && told.ends_with(" stderr | told to exit with 7"), "{told}");
    assert!(
        told.contains(" after its start\n") && told.contains("calls of the host in flight: method 3 for"),
        "{told}"
    );
}

#[test]
fn a_plugin_that_parts_with_its_host_is_killed() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    let pid = plugin.process_id().unwrap();
    let error = plugin.call(PART, b"", &CallOptions::new()).unwrap_err();
    assert!(matches!(error.session_end(), Some(SessionEnd::PeerClosed(_))), "{error}");
    assert_eq!((plugin.state(), is_there(pid)), (PluginState::Crashed, false));
    let crash = plugin.crash().unwrap().to_string();
    assert!(crash.contains("after its start; the peer closed the session: Aborted: enough\n"), "{crash}");
}

#[test]
fn a_call_by_a_caller_meets_the_death_of_the_process_and_the_host_hears_of_it() {
    let (sender, begun) = mpsc::channel();
    let services = move |_: &PluginScope| {
        let sender = sender.clone();
        move |call: IncomingCall| {
            call.reply(b"");
            let _ = sender.send(());
        }
    };
    let (host, changes) = watched(PluginHost::builder(config()).services(services));
    let plugin = host.load(spec("plain")).unwrap();
    let caller = plugin.as_caller();
    let call = thread::spawn(move || caller.call_blocking(ENDLESS, b"", &CallOptions::new()));
    begun.recv_timeout(PATIENCE).unwrap();
    let exit = plugin.kill().unwrap();
    let error = call.join().unwrap().unwrap_err();
    assert_eq!(error.session_end(), Some(&SessionEnd::PeerGone(Some(exit))));
    // Nobody asks after this one, nor calls it.
    plugin.restart().unwrap();
    let status = std::process::Command::new("kill").args(["-9", &plugin.process_id().unwrap().to_string()]).status();
    assert!(status.unwrap().success());
    let heard = std::iter::from_fn(|| changes.recv_timeout(PATIENCE).ok()).map(|change| change.to_string());
    assert_eq!(heard.filter(|change| change == "Running -> Crashed").nth(1).as_deref(), Some("Running -> Crashed"));
}

#[test]
fn a_poll_notices_a_death_that_no_call_meets() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let [dead, alive] = ["dead", "alive"].map(|name| host.load(spec(name)).unwrap());
    host.poll();
    assert_eq!((dead.state(), alive.state()), (PluginState::Running, PluginState::Running));
    let pid = dead.process_id().unwrap();
    // Not by the host, which would know.
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
    poll_until(&host, || dead.state() != PluginState::Running);
    assert_eq!((dead.state(), alive.state()), (PluginState::Crashed, PluginState::Running));
    assert!(!is_there(pid));
    // Two have started before.
    assert_eq!(in_words(&changes, 11).last().unwrap(), "Running -> Crashed");
}

#[test]
fn a_poll_serves_a_plugin_that_calls_by_itself() {
    let (sender, begun) = mpsc::channel();
    let services = move |_: &PluginScope| {
        let sender = sender.clone();
        move |call: IncomingCall| {
            call.reply(b"");
            let _ = sender.send(());
        }
    };
    let host = PluginHost::builder(config()).services(services).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    // Nobody waits for this one's reply, so nobody serves the call that its handler makes.
    let _pending = plugin.session().unwrap().start(ENDLESS, b"", &CallOptions::new()).unwrap();
    poll_until(&host, || begun.try_recv().is_ok());
}

#[test]
fn a_plugin_that_ignores_shutdown_is_ended_by_degrees() {
    let host = PluginHost::builder(config()).shutdown_times(QUICK).build().unwrap();
    let plugin = host.load(spec("stubborn")).unwrap();
    let pid = plugin.process_id().unwrap();
    let report = plugin.shutdown().unwrap();
    assert_eq!(
        report.to_string(),
        "shutdown not acknowledged (no reply within 100ms), did not end until SIGTERM, was killed by signal 15 (SIGTERM)"
    );
    assert_eq!((report.ending, plugin.state(), is_there(pid)), (Ending::Terminated, PluginState::Stopped, false));
}

#[test]
fn a_plugin_that_ignores_sigterm_too_is_killed() {
    let times = ShutdownTimes { terminate: TINY, ..QUICK };
    let host = PluginHost::builder(config()).shutdown_times(times).build().unwrap();
    let program = std::env::current_exe().unwrap();
    let ignoring = rapace_host::PluginSpec::new("stubborn", "sh")
        .arg("-c")
        .arg("trap '' TERM; exec \"$0\" --exact plugin::plugin_process --nocapture")
        .arg(program)
        .env(crate::plugin::ROLE, "stubborn");
    let plugin = host.load(ignoring).unwrap();
    let report = plugin.shutdown().unwrap();
    assert_eq!(report.ending, Ending::Killed);
    let text = report.to_string();
    assert!(text.ends_with("did not end until SIGKILL, was killed by signal 9 (SIGKILL)"), "{text}");
    assert_eq!(plugin.state(), PluginState::Stopped);
}

#[test]
fn a_plugin_that_takes_its_time_to_end_is_let() {
    let (_reader, writer, gate) = gate();
    let times = ShutdownTimes { exit: PATIENCE, ..ShutdownTimes::default() };
    let host = PluginHost::builder(config()).shutdown_times(times).build().unwrap();
    let plugin = host.load(spec("slow to end").env(GATE, gate)).unwrap();
    let ending = plugin.clone();
    let shutdown = thread::spawn(move || ending.shutdown().unwrap());
    // Its session has ended; its process has not, and looking at it does not change that.
    poll_until(&host, || matches!(plugin.peer_state(), PeerState::Gone { exit: None }));
    assert_eq!(plugin.state(), PluginState::ShuttingDown);
    drop(writer);
    assert_eq!(shutdown.join().unwrap().to_string(), "shutdown acknowledged, exited with code 0");
    assert_eq!(plugin.state(), PluginState::Stopped);
}

#[test]
fn a_plugin_that_fails_in_its_shutdown_has_crashed() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("fails at the end")).unwrap();
    let report = plugin.shutdown().unwrap();
    assert!(matches!(report.acknowledged, Err(CallError::SessionEnded { .. })), "{report}");
    assert_eq!((report.ending, report.exit.unwrap().code()), (Ending::Exited, Some(9)));
    assert_eq!(plugin.state(), PluginState::Crashed);
    assert_eq!(plugin.crash().unwrap().exit, report.exit);
}

#[test]
fn a_host_shuts_all_its_plugins_down() {
    let host = PluginHost::builder(config()).build().unwrap();
    let pids = ["one", "two", "three"].map(|name| host.load(spec(name)).unwrap().process_id().unwrap());
    host.plugin("two").unwrap().kill().unwrap();
    let reports = host.shutdown();
    let names: Vec<_> = reports.iter().map(|(name, report)| (&**name, report.acknowledged.is_ok())).collect();
    assert_eq!(names, [("three", true), ("one", true)]);
    assert!(pids.into_iter().all(|pid| !is_there(pid)));
}

#[test]
fn a_host_that_is_dropped_leaves_no_process() {
    let host = PluginHost::builder(config()).build().unwrap();
    let pid = host.load(spec("plain")).unwrap().process_id().unwrap();
    drop(host);
    // A thread of the host's may look at the plugin just now: the last to let go of it ends it.
    eventually("the process is gone", || !is_there(pid));
}

#[test]
fn an_observer_may_restart_what_has_crashed() {
    let slot: Arc<Mutex<Option<PluginHandle>>> = Arc::default();
    let to_restart = Arc::clone(&slot);
    let observer = move |change: &StateChange| {
        let plugin = to_restart.lock().unwrap().clone();
        if let (PluginState::Crashed, Some(plugin)) = (change.to, plugin) {
            plugin.restart().unwrap();
        }
    };
    let host = PluginHost::builder(config()).on_state(observer).build().unwrap();
    let plugin = host.load(spec("fails at the end")).unwrap();
    *slot.lock().unwrap() = Some(plugin.clone());
    plugin.call(EXIT, &[1], &CallOptions::new()).unwrap_err();
    // By this thread, or by the host's that has noticed the end as well.
    echo_works_soon(&plugin);
    // It crashes, and is restarted, within its shutdown.
    assert!(plugin.shutdown().is_some());
    echo_works_soon(&plugin);
    assert_eq!(plugin.state(), PluginState::Running);
    // The host has the observer, and with it the plugin, which has the host.
    slot.lock().unwrap().take();
}
