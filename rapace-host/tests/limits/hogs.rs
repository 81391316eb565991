//! Plugins that want more than they may, and a neighbour whose calls go on.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rapace_host::{Limit, Means, PluginHost, PluginLimits};

use crate::plugin::{ALLOCATE, ECHO, FORK, OPEN, SPIN};
use crate::{ask, enforcement, eventually, host, run, spec, while_the_neighbour_answers, wide, with_neighbour};

#[test]
fn a_fork_bomb_stops_at_its_limit_of_processes() {
    let host = host();
    let bomb = host.load(spec("bomb", PluginLimits { processes: Some(20), ..wide() })).unwrap();
    let started = while_the_neighbour_answers(&host, || ask(&bomb, FORK, 200).unwrap());
    match enforcement(&bomb).of(Limit::Processes) {
        Some(Means::Cgroup) => {
            // It has threads of its own.
            assert!((1..20).contains(&started), "{started}");
            // Nobody has looked before.
            let stats = bomb.stats();
            assert!(stats.overruns["processes"] > 0, "{stats}");
            assert_eq!(stats.usage.unwrap().processes, 20);
            assert_eq!(stats.overruns["processes"], bomb.scope().overruns(Limit::Processes));
        }
        Some(Means::Nothing) => assert_eq!((started, bomb.scope().overruns(Limit::Processes)), (200, 0)),
        other => assert!(other == Some(Means::User) && started < 200, "{started}"),
    }
    // It has met its limit, and is none the worse for it.
    assert_eq!(ask(&bomb, ECHO, 7).unwrap(), 7);
    assert_eq!(host.plugin("neighbour").unwrap().scope().overruns(Limit::Processes), 0);
}

#[test]
fn a_memory_hog_is_killed_at_its_limit_and_its_report_says_so() {
    let host = host();
    let hog = host.load(spec("hog", PluginLimits { memory_bytes: Some(64 << 20), ..wide() })).unwrap();
    if enforcement(&hog).of(Limit::Memory) != Some(Means::Cgroup) {
        // It is refused memory instead: see below.
        return;
    }
    assert_eq!(ask(&hog, ALLOCATE, 16).unwrap(), 16);
    assert_eq!(hog.scope().overruns(Limit::Memory), 0);
    while_the_neighbour_answers(&host, || ask(&hog, ALLOCATE, 256).unwrap_err());
    let crash = hog.crash().unwrap();
    assert!(crash.to_string().starts_with("it was killed for using more than 64 MiB of memory "), "{crash}");
    assert_eq!(hog.scope().overruns(Limit::Memory), 1);
    hog.restart().unwrap();
    assert_eq!(ask(&hog, ECHO, 7).unwrap(), 7);
}

#[test]
fn a_memory_hog_is_refused_memory_where_there_is_no_cgroup() {
    let host = with_neighbour(PluginHost::builder(crate::config()).without_cgroups().build().unwrap());
    let hog = host.load(spec("hog", PluginLimits { memory_bytes: Some(64 << 20), ..PluginLimits::default() })).unwrap();
    assert_eq!(enforcement(&hog).of(Limit::Memory), Some(Means::EachProcess));
    let taken = while_the_neighbour_answers(&host, || ask(&hog, ALLOCATE, 256).unwrap());
    assert!((1..64).contains(&taken), "{taken}");
    assert_eq!(hog.scope().overruns(Limit::Memory), 0);
}

#[test]
fn a_cpu_hog_is_killed_when_its_time_is_over() {
    let host = host();
    let hog = host.load(spec("hog", PluginLimits { cpu_seconds: Some(1), ..wide() })).unwrap();
    while_the_neighbour_answers(&host, || ask(&hog, SPIN, 200).unwrap_err());
    let crash = hog.crash().unwrap();
    assert!(crash.to_string().starts_with("it was killed for using more than 1 s of a processor's time "), "{crash}");
    // By the kernel, which asks first.
    assert_eq!(crash.exit.unwrap().signal(), Some(rustix::process::Signal::XCPU.as_raw()));
    assert_eq!(hog.scope().overruns(Limit::CpuTime), 1);
}

#[test]
fn a_plugin_that_spends_its_time_in_others_is_killed_when_it_is_over() {
    let host = host();
    let hog = host.load(spec("hog", PluginLimits { cpu_seconds: Some(1), ..wide() })).unwrap();
    if enforcement(&hog).of(Limit::CpuTime) != Some(Means::Cgroup) {
        return;
    }
    // None of them uses much: they come to an end, if nobody ends them.
    let one = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done";
    let script = format!("echo 1; n=0; while [ $n -lt 1000 ]; do sh -c '{one}'; n=$((n+1)); done");
    while_the_neighbour_answers(&host, || {
        run(&hog, &script);
        eventually("it is killed", || hog.crash().is_some());
    });
    let crash = hog.crash().unwrap().to_string();
    assert!(crash.starts_with("it was killed for using more than 1 s of a processor's time "), "{crash}");
    assert_eq!(hog.scope().overruns(Limit::CpuTime), 1);
}

#[test]
fn an_fd_hog_runs_out_of_descriptors() {
    let host = host();
    let hog = host.load(spec("hog", PluginLimits { open_files: Some(50), ..wide() })).unwrap();
    let opened = while_the_neighbour_answers(&host, || ask(&hog, OPEN, 200).unwrap());
    assert!((1..50).contains(&opened), "{opened}");
    assert_eq!(ask(&host.plugin("neighbour").unwrap(), OPEN, 200).unwrap(), 200);
}

#[test]
fn each_process_of_a_plugin_has_the_limits_for_itself() {
    let host = host();
    let limits = PluginLimits { open_files: Some(50), processes: Some(20), ..wide() };
    let one = spec("pair", limits);
    let supervision =
        rapace_host::Supervision { instances: 2.try_into().unwrap(), ..rapace_host::Supervision::default() };
    let pair = host.load(one.supervision(supervision)).unwrap();
    if enforcement(&pair).of(Limit::Processes) != Some(Means::Cgroup) {
        return;
    }
    let instances = pair.instances();
    let groups: Vec<_> =
        instances.iter().map(|instance| crate::cgroups_of(instance.process_id.unwrap(), std::process::id())).collect();
    assert!(!groups[0].is_empty() && groups[0].is_disjoint(&groups[1]), "{groups:?}");
    for group in groups.iter().flatten().filter(|group| group.join("pids.max").exists()) {
        assert_eq!(std::fs::read_to_string(group.join("pids.max")).unwrap(), "20\n");
    }
}

#[test]
fn what_a_plugin_uses_is_told_with_what_it_has_started() {
    for builder in [PluginHost::builder(crate::config()), PluginHost::builder(crate::config()).without_cgroups()] {
        let host = builder.build().unwrap();
        let plugin = host.load(spec("busy", wide())).unwrap();
        let has_cgroup = enforcement(&plugin).of(Limit::Processes) == Some(Means::Cgroup);
        let before = plugin.usage().unwrap();
        assert!(before.memory_bytes > 0 && before.processes > 0, "{before:?}");
        assert_eq!(ask(&plugin, FORK, 5).unwrap(), 5);
        let after = plugin.usage().unwrap();
        assert_eq!(after.processes >= 6, has_cgroup, "{after:?}");
        ask(&plugin, SPIN, 1).unwrap();
        // A second of time is less of a processor's where others want it too.
        eventually("its time is accounted", || plugin.usage().unwrap().cpu > before.cpu + Duration::from_millis(10));
        plugin.shutdown();
        assert_eq!(plugin.usage(), None);
    }
}
