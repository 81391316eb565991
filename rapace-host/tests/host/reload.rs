//! A new version in the place of the old one, while it is called.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use rapace_host::{PluginHandle, PluginHost, PluginScope, PluginSpec, PluginState, ReloadError};
use rapace_session::{AsCaller, CallOptions};

use crate::plugin::{COUNT, ECHO, ENDLESS, INSTANCE_ROLE};
use crate::{PATIENCE, config, eventually, is_there, spec, watched, with_patience};

/// A version of the plugin `plain`: the program has another role.
fn version(role: &str) -> PluginSpec {
    spec("plain").env(crate::plugin::ROLE, role)
}

fn role(plugin: &PluginHandle) -> String {
    let reply = plugin.call(INSTANCE_ROLE, b"", &CallOptions::new()).unwrap();
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// Calls from two threads and a task while `act` runs; says how many there were. None of them may fail.
fn under_load(plugin: &PluginHandle, act: impl FnOnce(&AtomicU64)) -> u64 {
    let (done, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let caller = plugin.as_caller();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let reply = caller.call_blocking(ECHO, b"any", &CallOptions::new()).unwrap();
                    assert!(reply.body == b"any"[..]);
                    calls.fetch_add(1, Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                while !done.load(Relaxed) {
                    caller.call(ECHO, b"any", &CallOptions::new()).await.unwrap();
                    calls.fetch_add(1, Relaxed);
                }
            });
        });
        // A panic in it is not to leave the others at work.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&calls)));
        done.store(true, Relaxed);
        acted.unwrap();
    });
    calls.into_inner()
}

#[test]
fn a_reload_under_load_loses_no_call() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(version("old")).unwrap();
    assert_eq!(role(&plugin), "old");
    under_load(&plugin, |calls| {
        for round in 0..10 {
            let before = calls.load(Relaxed);
            eventually("calls go on", || calls.load(Relaxed) > before);
            let (pid, to) = (plugin.process_id().unwrap(), ["new", "old"][round % 2]);
            plugin.reload(version(to)).unwrap();
            assert_eq!((role(&plugin).as_str(), is_there(pid)), (to, false));
        }
    });
    assert_eq!(plugin.instances().len(), 1);
}

#[test]
fn a_new_version_that_does_not_start_leaves_the_old_one() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(version("old")).unwrap();
    let pid = plugin.process_id();
    under_load(&plugin, |_| {
        let error = plugin.reload(version("dies at start")).unwrap_err();
        assert!(matches!(error, ReloadError::Start(_)), "{error}");
        let error = plugin.reload(PluginSpec::new("plain", "/nonexistent/program")).unwrap_err();
        assert!(error.to_string().contains("there is no such program"), "{error}");
    });
    assert_eq!((plugin.process_id(), role(&plugin).as_str()), (pid, "old"));
    assert_eq!(plugin.state(), PluginState::Running);
    assert!(changes.try_iter().all(|change| change.to_string() != "Running -> Draining"));
    let error = plugin.reload(spec("picky")).unwrap_err();
    assert_eq!(error.to_string(), "plugin picky cannot take the place of plugin plain");
}

#[test]
fn calls_in_flight_end_on_the_old_version() {
    let (sender, begun) = std::sync::mpsc::channel();
    let services = move |_: &PluginScope| {
        let sender = sender.clone();
        move |call: rapace_session::IncomingCall| drop(sender.send(call))
    };
    // Who did not wait for the call would soon close its session.
    let times = rapace_host::ShutdownTimes { acknowledge: std::time::Duration::from_millis(1), ..Default::default() };
    let host = PluginHost::builder(config()).services(services).shutdown_times(times).build().unwrap();
    let plugin = host.load(version("old")).unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| plugin.call(crate::plugin::ASK, b"", &CallOptions::new().deadline(PATIENCE)));
        // The call of the host on which the old version's call waits.
        let asked = begun.recv_timeout(PATIENCE).unwrap();
        let reload = scope.spawn(|| plugin.reload(version("new")));
        // The old version serves nothing else while its call waits.
        eventually("the new version has its place", || plugin.instances()[0].number == 1);
        for _ in 0..100 {
            assert_eq!(role(&plugin), "new");
        }
        assert!(!reload.is_finished());
        asked.reply(b"at last");
        assert!(slow.join().unwrap().unwrap().body == b"at last"[..]);
        reload.join().unwrap().unwrap();
    });
}

#[test]
fn state_is_handed_over_and_no_call_is_counted_twice_or_never() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(version("counter")).unwrap();
    let caller = plugin.as_caller();
    let (done, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let count = || {
        let reply = caller.call_blocking(COUNT, b"", &CallOptions::new()).unwrap();
        u64::from_le_bytes(reply.body[..].try_into().unwrap())
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                assert_eq!(count(), calls.fetch_add(1, Relaxed) + 1);
            }
        });
        for _ in 0..5 {
            let before = calls.load(Relaxed);
            eventually("calls go on", || calls.load(Relaxed) > before);
            plugin.reload(version("counter")).unwrap();
        }
        done.store(true, Relaxed);
    });
    assert_eq!(count(), calls.load(Relaxed) + 1);
}

#[test]
fn a_version_that_does_not_take_the_state_does_not_take_the_place() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(version("counter")).unwrap();
    let count = || plugin.call(COUNT, b"", &CallOptions::new()).unwrap().body[0];
    assert_eq!(count(), 1);
    let error = plugin.reload(version("forgetful counter")).unwrap_err();
    assert!(matches!(error, ReloadError::State { action: "import", .. }), "{error}");
    assert_eq!(count(), 2);
}

#[test]
fn a_hand_over_has_a_time_of_its_own() {
    let hand_over = std::time::Duration::from_millis(300);
    let times = rapace_host::ShutdownTimes { hand_over, ..Default::default() };
    // Ten times as long as a test waits: what is bounded by the time for starts does not end.
    let host = with_patience(PATIENCE * 10).shutdown_times(times).build().unwrap();
    let plugin = host.load(version("counter")).unwrap();
    let count = || plugin.call(COUNT, b"", &CallOptions::new()).unwrap().body[0];
    assert_eq!(count(), 1);
    let (sender, reloaded) = std::sync::mpsc::channel();
    let replaced = plugin.clone();
    thread::spawn(move || sender.send(replaced.reload(version("slow counter"))));
    let error = reloaded.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::State { action: "import", .. }), "{error}");
    assert_eq!(count(), 2);
}

#[test]
fn a_call_that_does_not_end_keeps_the_old_version_only_for_a_time() {
    let times = rapace_host::ShutdownTimes { drain: std::time::Duration::from_millis(50), ..Default::default() };
    let host =
        PluginHost::builder(config()).services(|_: &PluginScope| crate::answers).shutdown_times(times).build().unwrap();
    let plugin = host.load(version("old")).unwrap();
    thread::scope(|scope| {
        let endless = scope.spawn(|| plugin.call(ENDLESS, b"", &CallOptions::new().deadline(PATIENCE)));
        eventually("it is in flight", || plugin.instances().iter().any(|instance| instance.calls_in_flight == 1));
        plugin.reload(version("new")).unwrap();
        assert_eq!(role(&plugin), "new");
        assert!(endless.join().unwrap().unwrap_err().may_have_run());
    });
}
