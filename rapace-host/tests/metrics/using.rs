//! What processes use, and what they would have used.

use std::time::Duration;

use rapace_host::{Limit, PluginLimits, PluginSpec};
use rapace_session::CallOptions;

use super::plugin::{ASK, KEEP, SPIN};
use super::{ASKED, builder, eventually, spec};

/// A plugin in a cgroup, where there are some, and one of which only the process is looked at.
fn both() -> [PluginSpec; 2] {
    let limits = PluginLimits { memory_bytes: Some(1 << 30), processes: Some(100), ..PluginLimits::default() };
    [spec("held").limits(limits), spec("free")]
}

#[test]
fn a_plugin_that_works_shows_more_of_a_processors_time_over_all_its_lives() {
    let host = builder().build().unwrap();
    for spec in both() {
        let plugin = host.load(spec).unwrap();
        let cpu = || plugin.stats().cpu.unwrap();
        let works = || {
            let before = cpu();
            eventually("its time shows", || {
                plugin.call(SPIN, b"", &CallOptions::new()).unwrap();
                cpu() >= before + Duration::from_millis(50)
            });
            cpu()
        };
        let first = works();
        // What was not looked at before its end counts too.
        plugin.call(SPIN, b"", &CallOptions::new()).unwrap();
        plugin.kill();
        let stats = plugin.stats();
        assert_eq!(stats.usage, None, "{stats}");
        let ended = stats.cpu.unwrap();
        assert!(ended > first, "{ended:?} after {first:?}");
        plugin.restart().unwrap();
        assert!(works() >= ended + Duration::from_millis(50));
        let stats = plugin.stats();
        assert!(stats.usage.unwrap().cpu < stats.cpu.unwrap(), "that of one life: {stats}");
    }
}

#[test]
fn memory_that_a_plugin_has_touched_shows_and_is_given_back_with_its_end() {
    let host = builder().build().unwrap();
    for spec in both() {
        let plugin = host.load(spec).unwrap();
        let before = plugin.stats().usage.unwrap();
        plugin.call(KEEP, &[50], &CallOptions::new()).unwrap();
        // The kernel sums up such accounts a little later.
        let most = before.memory_bytes + (45 << 20);
        eventually("50 MiB show", || plugin.stats().usage.unwrap().memory_bytes > most);
        assert!(plugin.stats().usage.unwrap().processes > 0);
        plugin.restart().unwrap();
        assert!(plugin.stats().usage.unwrap().memory_bytes < most);
        plugin.shutdown();
        assert_eq!(plugin.stats().usage, None);
    }
}

#[test]
fn a_snapshot_has_what_was_refused_until_then() {
    let host = builder().build().unwrap();
    let limits = PluginLimits { calls: Some(0), ..PluginLimits::default() };
    let plugin = host.load(spec("greedy").limits(limits)).unwrap();
    let ask = || drop(plugin.call(ASK, &ASKED.to_le_bytes(), &CallOptions::new()).unwrap());
    let overruns = || plugin.stats().overruns["calls"];
    (0..3).for_each(|_| ask());
    assert_eq!(overruns(), 3);
    ask();
    plugin.restart().unwrap();
    ask();
    assert_eq!(overruns(), 5);
    let stats = plugin.stats();
    for limit in Limit::ALL {
        assert_eq!(stats.overruns[limit.name()], plugin.scope().overruns(limit), "{limit}");
    }
}
