//! Over a plugin's lives, and those that cannot be confined.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rapace_host::{
    HostConfig, Permissions, PluginHandle, PluginHost, PluginSpec, PluginState, Program, SandboxReport, StartCause,
    SyscallProfile, Unconfined,
};
use rapace_session::{CallOptions, Config};

use crate::{Directory, EACCES, actions, confined, does, host, reading, report, trusted};

/// Answered by programs of the SDK.
const PING: u32 = 2006;

/// Waits for what is sure to come.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::yield_now();
    }
}

#[track_caller]
fn reads(plugin: &PluginHandle, directory: &Directory) -> [Result<String, i32>; 2] {
    ["granted/file", "other/file"].map(|path| does(plugin, directory.action("read", &[path])))
}

fn confined_to_granted() -> [Result<String, i32>; 2] {
    [Ok("granted".to_owned()), Err(EACCES)]
}

#[test]
fn a_restart_and_a_reload_keep_the_sandbox() {
    let directory = Directory::new();
    let host = host();
    let spec = confined(reading([&directory.at("granted")]));
    let plugin = host.load(spec.clone()).unwrap();
    assert_eq!(reads(&plugin, &directory), confined_to_granted());
    assert!(report(&plugin).is_complete(), "{}", report(&plugin));
    plugin.restart().unwrap();
    assert_eq!(reads(&plugin, &directory), confined_to_granted());
    host.reload(&plugin, spec).unwrap();
    assert_eq!(reads(&plugin, &directory), confined_to_granted());
    // Another version with other permissions has those.
    host.reload(&plugin, confined(reading([&directory.at("granted"), &directory.at("other")]))).unwrap();
    assert_eq!(reads(&plugin, &directory), ["granted", "other"].map(|text| Ok(text.to_owned())));
    assert!(plugin.instances()[0].sandbox.as_ref().is_some_and(SandboxReport::is_complete));
    plugin.shutdown();
    assert_eq!(plugin.instances()[0].sandbox, None);
}

#[test]
fn a_program_of_the_sdk_lives_in_the_strictest_sandbox() {
    let strict = Permissions { syscalls: SyscallProfile::Strict, ..Permissions::default() };
    let host = host();
    // Its timers end it, and the next call starts it anew.
    let spec = confined(strict.clone()).env(actions::ROLE, "drowsy");
    let plugin = host.load(spec).unwrap();
    for _ in 0..3 {
        eventually("it ends because nothing calls it", || plugin.state() == PluginState::Stopped);
        assert!(plugin.crash().is_none());
        plugin.call(PING, b"", &CallOptions::new()).unwrap();
    }
    host.unload("actor");
    // It ends in good order on a signal, which a thread of its own waits for, and on `shutdown`.
    let plugin = host.load(confined(strict).env(actions::ROLE, "lasting")).unwrap();
    // It serves, so it has taken over what signals do.
    plugin.call(PING, b"", &CallOptions::new()).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(plugin.process_id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("it ends on a signal", || plugin.process_id().is_none());
    let crash = plugin.crash().map(|crash| crash.to_string());
    assert_eq!((plugin.state(), crash), (PluginState::Stopped, None));
    plugin.restart().unwrap();
    let report = plugin.shutdown().unwrap();
    assert!(report.acknowledged.is_ok() && report.exit.is_some_and(|exit| exit.success()), "{report}");
}

#[test]
fn verified_programs_and_scripts_are_confined() {
    let directory = Directory::new();
    // By another process: a child that another test has just forked would keep the file open for writing.
    let own = std::env::current_exe().unwrap();
    assert!(std::process::Command::new("cp").arg(&own).arg(directory.at("program")).status().unwrap().success());
    directory.script("script", &format!("exec {} \"$@\"", own.display()));
    let host = host();
    for name in ["program", "script"] {
        let path = directory.at(name);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let spec = PluginSpec::verified("actor", Program::verify(&path, None).unwrap());
        let spec = spec.arg("--exact").arg("actions::actor").arg("--nocapture").env(actions::ROLE, "plugin");
        let spec = spec.permissions(reading([&directory.at("granted"), &own])).require_sandbox(true);
        let plugin = host.load(spec).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reads(&plugin, &directory), confined_to_granted(), "{name}");
        plugin.restart().unwrap();
        assert_eq!(reads(&plugin, &directory), confined_to_granted(), "{name}");
        host.unload("actor");
    }
}

#[test]
fn a_script_is_given_its_own_descriptor_and_no_other() {
    let directory = Directory::new();
    directory.script("script", "read -r line < \"$0\"; echo \"$line\" >&2\nls -l /proc/$$/fd >&2\nexit 1");
    let spec = PluginSpec::verified("actor", Program::verify(directory.at("script"), None).unwrap());
    let script = directory.at("script").display().to_string();
    // What descriptors lead to, without the numbers; those of the script by themselves, of which the shell has one too.
    let descriptors = |spec: PluginSpec| {
        let error = host().load(spec).unwrap_err();
        assert!(error.stderr.starts_with("#!/bin/sh\n"), "{error}");
        let targets = error.stderr.lines().filter_map(|line| line.split_once(" -> "));
        let targets = targets.map(|(_, target)| target.split(':').next().unwrap().to_owned());
        targets.partition::<Vec<_>, _>(|target| *target == script)
    };
    let (own, others) = descriptors(spec.clone().permissions(reading([Path::new("/proc")])).require_sandbox(true));
    let (own_of_trusted, others_of_trusted) = descriptors(spec);
    assert_eq!((own.len(), own_of_trusted.len()), (2, 1));
    assert_eq!(others, others_of_trusted);
}

#[test]
fn a_program_that_is_not_there_or_not_executable_is_told_as_ever() {
    let directory = Directory::new();
    let load = |program: &Path| {
        let spec = PluginSpec::new("p", program).permissions(Permissions::default()).require_sandbox(true);
        *host().load(spec).unwrap_err().cause
    };
    assert!(matches!(load(Path::new("/none")), StartCause::NotFound));
    assert!(matches!(load(Path::new("no-such-program-in-the-path")), StartCause::NotFound));
    assert!(matches!(load(&directory.at("granted/file")), StartCause::NotExecutable(_)));
    assert!(matches!(load(Path::new("true")), StartCause::Exited { .. }));
}

/// Why it is not started.
fn refusal(host: &PluginHost, spec: PluginSpec) -> Unconfined {
    let error = host.load(spec).unwrap_err();
    match *error.cause {
        StartCause::NotSandboxed(reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn where_a_sandbox_is_required_what_cannot_be_confined_is_refused() {
    let host = host();
    assert_eq!(refusal(&host, trusted().require_sandbox(true)), Unconfined::Trusted);
    let by_hand = PluginSpec::by_hand("actor").permissions(Permissions::default()).require_sandbox(true);
    let reason = refusal(&host, by_hand);
    assert_eq!(reason, Unconfined::Kind("started by hand".to_owned()));
    assert_eq!(reason.to_string(), "it is started by hand, which cannot be confined");
    let built_in = rapace_service::BuiltIn::new("built", "1.0.0", rapace_service::Services::new()).unwrap();
    let spec = PluginSpec::built_in(&built_in).permissions(Permissions::default()).require_sandbox(true);
    assert_eq!(refusal(&host, spec.clone()), Unconfined::Kind("built in".to_owned()));
    host.load(spec.require_sandbox(false)).unwrap();
}

#[test]
fn nobody_joins_by_hand_in_the_place_of_a_plugin_whose_sandbox_is_required() {
    let directory = Directory::new();
    let host = host();
    let plugin = host.load(confined(reading([&directory.at("granted")]))).unwrap();
    let pid = plugin.process_id();
    let _point = plugin.join_at(directory.at("join")).unwrap();
    let joining = rapace_core::socket::Socket::connect(directory.at("join")).unwrap();
    let config = Config::new("stranger", "1.0.0");
    assert!(rapace_session::Handshake::<rapace_session::PeerB>::accept(joining, config).is_err());
    assert_eq!((plugin.process_id(), plugin.state()), (pid, PluginState::Running));
    assert_eq!(reads(&plugin, &directory), confined_to_granted());
}

#[test]
fn a_configuration_requires_sandboxes_of_all_plugins_but_those_that_it_names() {
    let own = std::env::current_exe().unwrap().display().to_string();
    let plugin = format!(
        "program = '{own}'\nargs = ['--exact', 'actions::actor', '--nocapture']\nenv = {{ {} = 'plugin' }}",
        actions::ROLE
    );
    let text = format!(
        "name = 'h'\nversion = '1'\nrequire_sandbox = true\n[plugins.confined]\n{plugin}\npermissions = {{}}\n\
         [plugins.trusted]\n{plugin}\n[plugins.excepted]\n{plugin}\nrequire_sandbox = false\n"
    );
    let config = HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap();
    let host = PluginHost::builder(config.session()).deploy(config).unwrap();
    let state = |name: &str| host.plugin(name).unwrap().state();
    assert_eq!(["confined", "excepted"].map(state), [PluginState::Running; 2]);
    assert_ne!(state("trusted"), PluginState::Running);
    assert_eq!(does(&host.plugin("confined").unwrap(), "read /etc/passwd"), Err(EACCES));
    assert!(does(&host.plugin("excepted").unwrap(), "read /etc/passwd").is_ok());
}
