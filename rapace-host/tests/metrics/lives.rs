//! Counts over the lives of a plugin: they only grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use rapace_host::{Backoff, CallerSide, PluginHandle, PluginState, PluginStats, RestartPolicy, Supervision};
use rapace_session::{CallOptions, Code};

use super::plugin::ECHO;
use super::{builder, counted, eventually, spec};

/// All that only grows.
fn growing(stats: &PluginStats) -> Vec<(String, u64)> {
    let mut all = vec![
        ("starts".to_owned(), stats.starts),
        ("restarts".to_owned(), stats.restarts),
        ("crashes".to_owned(), stats.crashes),
        ("reloads".to_owned(), stats.reloads),
        ("frames".to_owned(), stats.traffic.frames_sent),
        ("stdout".to_owned(), stats.stdout_lines),
        ("processor".to_owned(), stats.cpu.unwrap_or_default().as_nanos().try_into().unwrap()),
    ];
    for method in &stats.methods {
        let of = |what: &str| format!("{} {} {what}", method.side.name(), method.method);
        all.extend([
            (of("ok"), method.ok),
            (of("calls"), method.calls()),
            (of("bytes there"), method.request_bytes),
            (of("bytes back"), method.reply_bytes),
            (of("timed"), method.latency.count()),
        ]);
    }
    all
}

/// Nothing that was counted before is less now.
fn check_growth(before: &mut PluginStats, now: PluginStats) {
    let counts = growing(&now);
    for (what, count) in growing(before) {
        let found = counts.iter().find(|(name, _)| *name == what).map(|(_, count)| *count);
        assert!(found.is_some_and(|found| found >= count), "{what} was {count}, and is {found:?}");
    }
    *before = now;
}

fn echo(plugin: &PluginHandle) {
    plugin.call(ECHO, b"four", &CallOptions::new()).unwrap();
}

#[test]
fn counts_go_on_over_a_crash_a_restart_and_a_reload() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("mortal")).unwrap();
    let mut before = plugin.stats();
    let ends: [fn(&PluginHandle); 3] = [
        |plugin| {
            plugin.kill();
            plugin.restart().unwrap();
        },
        |plugin| plugin.restart().unwrap(),
        |plugin| plugin.reload(spec("mortal")).unwrap(),
    ];
    for end in ends {
        echo(&plugin);
        check_growth(&mut before, plugin.stats());
        end(&plugin);
        check_growth(&mut before, plugin.stats());
    }
    echo(&plugin);
    check_growth(&mut before, plugin.stats());
    let echo = counted(&plugin, CallerSide::Host, "test.Plugin.echo");
    assert_eq!((echo.ok, echo.failed(), echo.in_flight), (4, 0, 0));
    assert_eq!((echo.request_bytes, echo.reply_bytes), (16, 16));
    let PluginStats { starts, restarts, crashes, reloads, processes, .. } = before;
    assert_eq!((starts, restarts, crashes, reloads, processes), (4, 2, 1, 1, 1));
    assert_eq!(plugin.shutdown().map(|_| ()), Some(()));
    let stats = plugin.stats();
    assert_eq!((stats.processes, stats.room.slots, stats.state), (0, 0, PluginState::Stopped));
    check_growth(&mut before, stats);
}

#[test]
fn a_plugin_that_is_restarted_by_its_policy_is_counted() {
    let host = builder().build().unwrap();
    let supervision = Supervision {
        restart: RestartPolicy::OnFailure,
        backoff: Backoff { first: std::time::Duration::ZERO, ..Backoff::default() },
        ..Supervision::default()
    };
    let plugin = host.load(spec("phoenix").supervision(supervision)).unwrap();
    for crash in 1..=3 {
        echo(&plugin);
        plugin.kill();
        eventually("it is started again", || {
            plugin.state() == PluginState::Running && plugin.stats().restarts == crash
        });
    }
    let stats = plugin.stats();
    assert_eq!((stats.starts, stats.restarts, stats.crashes), (4, 3, 3));
    assert_eq!(counted(&plugin, CallerSide::Host, "test.Plugin.echo").ok, 3);
}

/// Who looks while lives end and begin sees each life once.
#[test]
fn no_look_sees_less_than_the_one_before_while_lives_come_and_go() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("busy")).unwrap();
    let (done, made) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                echo(&plugin);
                made.fetch_add(1, Relaxed);
            }
        });
        let looking = scope.spawn(|| {
            let mut before = plugin.stats();
            while !done.load(Relaxed) {
                check_growth(&mut before, plugin.stats());
                thread::yield_now();
            }
        });
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..5 {
                let before = made.load(Relaxed);
                plugin.reload(spec("busy")).unwrap();
                eventually("calls go on", || made.load(Relaxed) > before || looking.is_finished());
            }
        }));
        done.store(true, Relaxed);
        looking.join().unwrap();
        acted.unwrap();
    });
    let echo = counted(&plugin, CallerSide::Host, "test.Plugin.echo");
    assert_eq!((echo.ok, echo.in_flight), (made.into_inner(), 0));
    // A call that has met the end of its version was made again.
    assert_eq!(echo.failed(), echo.failed_with(Code::Unavailable));
    assert_eq!(plugin.stats().reloads, 5);
}
