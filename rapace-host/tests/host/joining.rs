//! Plugins that somebody else has started.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_host::{JoinPointError, PluginHost, PluginSpec, PluginState, RestartPolicy, Supervision, Unresponsive};
use rapace_session::{CallOptions, Config, Handshake, NoService, PeerB, PeerState, Timeouts};
use rustix::process::{Signal, kill_process};

use crate::directory::Directory;
use crate::plugin::{ECHO, JOIN, PID, ROLE};
use crate::{PATIENCE, config, eventually, spec, stop, watched, with_patience};

fn path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("rapace-{}-{name}.sock", std::process::id()))
}

fn start_by_hand(path: &std::path::Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "plugin::plugin_process", "--nocapture"]).env(ROLE, "by hand").env(JOIN, path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

fn pid(plugin: &rapace_host::PluginHandle) -> Option<u32> {
    let reply = plugin.call(PID, b"", &CallOptions::new()).ok()?;
    Some(u32::from_le_bytes(reply.body[..].try_into().unwrap()))
}

#[test]
fn a_process_that_was_started_by_hand_takes_the_place_of_a_plugin() {
    let host = PluginHost::builder(config()).build().unwrap();
    let supervision = Supervision { restart: RestartPolicy::OnFailure, ..Supervision::default() };
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    let started = plugin.process_id();
    let point = plugin.join_at(path("takes")).unwrap();
    let mut child = start_by_hand(point.path());
    eventually("it takes the calls", || pid(&plugin) == Some(child.id()));
    assert_eq!((plugin.process_id(), plugin.state()), (None, PluginState::Running));
    // When it is gone the plugin's own program is started again.
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the program takes the calls", || {
        pid(&plugin).is_some_and(|pid| pid != child.id() && Some(pid) != started)
    });
    let socket = point.path().to_owned();
    drop(point);
    assert!(!fs::exists(socket).unwrap());
}

#[test]
fn a_plugin_that_only_people_start_is_there_when_they_do() {
    let host = PluginHost::builder(config()).build().unwrap();
    let supervision = Supervision { restart: RestartPolicy::Always, ..Supervision::default() };
    let plugin = host.keep(PluginSpec::by_hand("debugged").supervision(supervision)).unwrap();
    assert_eq!(plugin.state(), PluginState::Verified);
    let error = plugin.call(PID, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "the call was not run: Unavailable: plugin debugged is Verified");
    let point = plugin.join_at(path("by-hand")).unwrap();
    let mut child = start_by_hand(point.path());
    eventually("it takes the calls", || pid(&plugin) == Some(child.id()));
    // Killed, it is not waited for: nobody but a person starts it again.
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("its end is noticed", || plugin.state() == PluginState::Crashed);
    let mut child = start_by_hand(point.path());
    eventually("another one takes the calls", || pid(&plugin) == Some(child.id()));
    // Shut down, it ends by itself, as any plugin does.
    assert!(plugin.shutdown().unwrap().acknowledged.is_ok());
    assert!(child.wait().unwrap().success());
    assert_eq!(plugin.state(), PluginState::Stopped);
}

#[test]
fn who_joins_and_says_nothing_holds_up_nobody_and_comes_too_late() {
    let (host, changes) = watched(with_patience(PATIENCE * 10));
    let plugin = host.load(spec("plain")).unwrap();
    let started = plugin.process_id();
    let point = plugin.join_at(path("silent")).unwrap();
    let silent = Socket::connect(point.path()).unwrap();
    while changes.recv_timeout(PATIENCE).unwrap().instance != 1 {}
    // Whoever waited for him would do so for ten times as long as this test waits for them.
    let (sender, done) = mpsc::channel();
    let restarted = plugin.clone();
    thread::spawn(move || {
        restarted.restart().unwrap();
        sender.send(restarted.process_id()).unwrap();
        restarted.reload(spec("plain")).unwrap();
        sender.send(restarted.process_id()).unwrap();
    });
    let pids = [(); 2].map(|()| done.recv_timeout(PATIENCE).unwrap());
    assert!(pids[0] != started && pids[1] != pids[0]);
    // He has joined another version.
    let session = Handshake::<PeerB>::accept(silent, config()).unwrap().finish(NoService).unwrap();
    session.serve();
    assert_eq!((plugin.process_id(), plugin.state()), (pids[1], PluginState::Running));
    let mut told = std::iter::from_fn(|| changes.recv_timeout(PATIENCE).ok());
    assert!(told.any(|change| (change.instance, change.to) == (1, PluginState::Stopped)));
}

#[test]
fn nobody_joins_where_others_may_replace_the_socket() {
    let directory = Directory::new();
    directory.directory("open");
    directory.mode("open", 0o777);
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.keep(PluginSpec::by_hand("debugged")).unwrap();
    let error = plugin.join_at(directory.at("open/p.sock")).unwrap_err();
    let expected = format!("{}: others may write to it (mode 777)", directory.at("open").display());
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, JoinPointError::Directory(_)));
    let point = plugin.join_at(directory.at("new/below/p.sock")).unwrap();
    assert_eq!(fs::metadata(directory.at("new/below")).unwrap().mode() & 0o7777, 0o700);
    drop(point);
    // Where the configuration says that plugins join, it is the same for all of them.
    let text = format!("name = 'h'\nversion = '1'\nattach = '{}'\n", directory.at("open").display());
    let file = rapace_host::HostConfig::from_toml(&text, "host.toml".as_ref(), |_| None).unwrap();
    let error = PluginHost::builder(config()).deploy(file.clone()).unwrap_err();
    assert_eq!(error.to_string(), format!("attach: {expected}"));
    fs::set_permissions(directory.at("open"), PermissionsExt::from_mode(0o700)).unwrap();
    PluginHost::builder(config()).deploy(file).unwrap();
}

#[test]
fn a_process_that_was_started_by_hand_may_stop_in_a_debugger() {
    let liveness = Duration::from_millis(100);
    let timeouts = Timeouts { liveness, ..Timeouts::default() };
    let host = PluginHost::builder(Config { timeouts, ..config() }).build().unwrap();
    let idle_timeout = Some(Duration::from_millis(100));
    let supervision = Supervision { unresponsive: Unresponsive::Kill, idle_timeout, ..Supervision::default() };
    let plugin = host.keep(PluginSpec::by_hand("debugged").supervision(supervision)).unwrap();
    let point = plugin.join_at(path("stopped")).unwrap();
    let mut child = start_by_hand(point.path());
    eventually("it takes the calls", || pid(&plugin) == Some(child.id()));
    let stopped = stop(child.id());
    thread::scope(|scope| {
        let call = scope.spawn(|| plugin.call(ECHO, b"any", &CallOptions::new().deadline(PATIENCE)));
        eventually("it was looked at many times", || match plugin.peer_state() {
            PeerState::Gone { .. } => panic!("its session was ended"),
            PeerState::Unresponsive { silent } => silent > 10 * liveness,
            _ => false,
        });
        kill_process(stopped, Signal::CONT).unwrap();
        assert!(call.join().unwrap().is_ok());
    });
    // Nor is it stopped when nobody calls it, as another one is that was called later.
    let idle = host.load(spec("plain").supervision(supervision)).unwrap();
    assert!(pid(&idle).is_some());
    eventually("another one is stopped", || idle.state() == PluginState::Stopped);
    assert_eq!(plugin.state(), PluginState::Running);
    child.kill().unwrap();
    child.wait().unwrap();
}
