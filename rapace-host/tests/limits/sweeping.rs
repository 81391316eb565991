//! What a host leaves that was killed, and who sweeps it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rapace_host::{Limit, Means, PluginHost};

use crate::plugin::ROLE;
use crate::{cgroups_of, config, enforcement, eventually, run, runs, spec, wide};

const HOST: &str = "RAPACE_TEST_HOST";

/// The host itself, in a process of its own; nothing in the test program.
#[test]
fn host_process() {
    if std::env::var_os(HOST).is_none() {
        return;
    }
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("parent", wide()).env(ROLE, "parent")).unwrap();
    let has_cgroup = enforcement(&plugin).of(Limit::Processes) == Some(Means::Cgroup);
    let child = run(&plugin, "setsid sh -c 'sleep 1000 & echo $!; wait' & wait");
    println!("\nchild {child} {has_cgroup}");
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_host_leaves_that_was_killed_is_swept_by_the_next() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sweeping::host_process", "--nocapture"]).env(HOST, "1").stdout(Stdio::piped());
    let mut killed = command.spawn().unwrap();
    let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let child = lines.map(Result::unwrap).find_map(|line| line.strip_prefix("child ").map(str::to_owned)).unwrap();
    let (child, has_cgroup) = child.split_once(' ').unwrap();
    let child: u32 = child.parse().unwrap();
    let groups = cgroups_of(child, killed.id());
    killed.kill().unwrap();
    killed.wait().unwrap();
    if has_cgroup == "false" {
        // Nobody can know it as the plugin's.
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(child.cast_signed()).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        return;
    }
    assert!(!groups.is_empty());
    // Any host does, also one of another test here.
    let next = PluginHost::builder(config()).build().unwrap();
    next.load(spec("next", wide())).unwrap();
    eventually("it has been killed", || !runs(child));
    let is_left = |group: &std::path::PathBuf| group.exists() || group.parent().unwrap().exists();
    eventually("its directories are gone", || !groups.iter().any(is_left));
}
