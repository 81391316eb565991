//! Plugins that somebody else has started.

use std::fs;
use std::process::{Command, Stdio};

use rapace_host::{PluginHost, PluginSpec, PluginState, RestartPolicy, Supervision};
use rapace_session::CallOptions;

use crate::plugin::{JOIN, PID, ROLE};
use crate::{config, eventually, spec};

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
    assert_eq!(error.to_string(), "the session takes no more calls: Unavailable: plugin debugged is Verified");
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
