//! What a plugin has started ends with it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use rapace_host::{Health, Limit, Means, PluginHandle, PluginHost, PluginLimits, PluginSpec, PluginState};

use crate::plugin::{ECHO, EXIT, OPEN};
use crate::{ask, cgroups_of, config, enforcement, eventually, of_program, run, runs, spec, wide};

/// A child in the background, and its child.
const CHILDREN: &str = "sh -c 'sleep 1000 & echo $!; wait' & wait";
/// The same in a session of its own, which no signal to a group reaches.
const STRAYS: &str = "setsid sh -c 'sleep 1000 & echo $!; wait' & wait";

/// Ends the life of a plugin.
type End = fn(PluginHost, PluginHandle);

/// The ways in which one ends.
const ENDS: [(&str, End); 5] = [
    ("shutdown", |_, plugin| drop(plugin.shutdown().unwrap())),
    ("kill", |_, plugin| assert!(plugin.kill().is_some())),
    ("crash", |_, plugin| {
        ask(&plugin, EXIT, 0).unwrap_err();
        assert!(plugin.crash().is_some());
    }),
    ("unload", |host, plugin| assert!(host.unload(plugin.name()).is_some())),
    ("drop", |host, plugin| {
        drop(plugin);
        drop(host);
    }),
];

#[test]
fn children_end_with_a_plugin_that_has_no_limits() {
    for (end, act) in ENDS {
        let host = PluginHost::builder(config()).build().unwrap();
        let plugin = host.load(spec("parent", PluginLimits::default())).unwrap();
        let child = run(&plugin, CHILDREN);
        assert!(runs(child));
        act(host, plugin);
        eventually(end, || !runs(child));
    }
}

#[test]
fn nobody_leaves_a_cgroup_and_nothing_is_left_of_it() {
    for (end, act) in ENDS {
        let host = PluginHost::builder(config()).build().unwrap();
        let plugin = host.load(spec("parent", wide())).unwrap();
        let has_cgroup = enforcement(&plugin).of(Limit::Processes) == Some(Means::Cgroup);
        let script = if has_cgroup { STRAYS } else { CHILDREN };
        let child = run(&plugin, script);
        let groups = cgroups_of(child, std::process::id());
        assert_eq!(!groups.is_empty(), has_cgroup);
        assert_eq!(groups, cgroups_of(plugin.process_id().unwrap(), std::process::id()));
        act(host, plugin);
        eventually(end, || !runs(child));
        eventually(end, || !groups.iter().any(|group| group.exists()));
        // Those of the host stood above.
        if end == "drop" {
            eventually(end, || !groups.iter().any(|group| group.parent().unwrap().exists()));
        }
    }
}

#[test]
fn the_end_of_one_plugin_is_not_that_of_another() {
    let host = PluginHost::builder(config()).build().unwrap();
    let [first, second] = ["first", "second"].map(|name| host.load(spec(name, wide())).unwrap());
    let [one, other] = [&first, &second].map(|plugin| run(plugin, CHILDREN));
    first.shutdown().unwrap();
    eventually("it has ended", || !runs(one));
    assert!(runs(other));
    assert_eq!(ask(&second, ECHO, 7).unwrap(), 7);
}

#[test]
fn a_verified_program_is_held_too() {
    let host = PluginHost::builder(config()).build().unwrap();
    let program = std::env::temp_dir().join(format!("rapace-limits-{}", std::process::id()));
    fs::create_dir(&program).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = program.join("plugin");
    // Written by another process: no child that another test has just forked keeps it open for writing.
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&path).status().unwrap().success());
    let verified = rapace_host::Program::verify(&path, None).unwrap();
    let plugin = host
        .load(of_program(PluginSpec::verified("plugin", verified), PluginLimits { open_files: Some(50), ..wide() }));
    let opened = plugin.map(|plugin| ask(&plugin, OPEN, 200).unwrap());
    fs::remove_dir_all(program).unwrap();
    assert!((1..50).contains(&opened.unwrap()));
}

#[test]
fn a_plugin_with_permissions_is_in_a_cgroup_too() {
    let host = PluginHost::builder(config()).build().unwrap();
    let limited = host.load(spec("limited", wide())).unwrap();
    let has_cgroup = enforcement(&limited).of(Limit::Processes) == Some(Means::Cgroup);
    let permissions = rapace_host::Permissions::default();
    let plugin = host.load(spec("guest", PluginLimits::default()).permissions(permissions)).unwrap();
    assert_eq!(enforcement(&plugin).of(Limit::Processes), None);
    assert_eq!(!cgroups_of(plugin.process_id().unwrap(), std::process::id()).is_empty(), has_cgroup);
}

/// A process that a signal does not reach, where cgroups of version 1 can freeze it.
struct Frozen {
    process: Child,
    freezer: PathBuf,
}

impl Frozen {
    fn new() -> Option<Self> {
        let freezer = PathBuf::from(format!("/sys/fs/cgroup/freezer/rapace-test-{}", std::process::id()));
        fs::create_dir(&freezer).ok()?;
        let frozen = Self { process: Command::new("sleep").arg("1000").spawn().unwrap(), freezer };
        fs::write(frozen.freezer.join("cgroup.procs"), frozen.process.id().to_string()).unwrap();
        fs::write(frozen.freezer.join("freezer.state"), "FROZEN").unwrap();
        let state = || fs::read_to_string(frozen.freezer.join("freezer.state")).unwrap();
        eventually("it is frozen", || state().trim() == "FROZEN");
        Some(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // When a test has failed, it is not to fail again.
        let _ = fs::write(self.freezer.join("freezer.state"), "THAWED");
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir(&self.freezer);
    }
}

#[test]
fn nobody_who_looks_at_a_plugin_waits_for_the_end_of_what_it_has_started() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("parent", wide())).unwrap();
    let process = plugin.process_id().unwrap();
    let groups = cgroups_of(process, std::process::id());
    // Elsewhere all that is killed ends at once, and there is nothing to show.
    let Some(frozen) = Frozen::new() else { return };
    for group in &groups {
        fs::write(group.join("cgroup.procs"), frozen.process.id().to_string()).unwrap();
    }
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
    eventually("its end is told", || {
        host.poll();
        plugin.state() == PluginState::Crashed
    });
    assert_eq!(plugin.health(), Health::Unhealthy);
    drop(frozen);
    // Whoever had waited for it would have given it up.
    eventually("all has ended", || !groups.iter().any(|group| group.exists()));
    plugin.restart().unwrap();
    assert_eq!(ask(&plugin, ECHO, 7).unwrap(), 7);
}
