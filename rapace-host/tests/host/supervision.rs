//! Plugins that are started again, given up, stopped for a while, killed because they hang.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rapace_host::{
    Backoff, Breaker, BreakerState, Health, PluginHandle, PluginHost, PluginHostBuilder, PluginScope, PluginState,
    RestartLimit, RestartPolicy, StateChange, Supervision, Unresponsive,
};
use rapace_session::{AsCaller, CallError, CallOptions, Config, Timeouts};

use crate::plugin::{ECHO, ENDLESS, EXIT, PART, PID, PING};
use crate::{PATIENCE, config, eventually, is_there, spec, stop, watched};

/// Restarts without pauses worth the name.
fn restarting(restart: RestartPolicy, restarts: u32) -> Supervision {
    let tiny = Duration::from_millis(1);
    let backoff = Backoff { first: tiny, most: tiny, ..Backoff::default() };
    Supervision { restart, backoff, limit: RestartLimit { restarts, window: PATIENCE }, ..Supervision::default() }
}

/// Waits until the plugin has come into this state.
#[track_caller]
fn until(changes: &mpsc::Receiver<StateChange>, state: PluginState) -> Vec<PluginState> {
    let mut seen = Vec::new();
    while seen.last() != Some(&state) {
        match changes.recv_timeout(PATIENCE) {
            Ok(change) => seen.push(change.to),
            Err(error) => panic!("{error}: not {state}, but {seen:?}"),
        }
    }
    seen
}

fn echo(plugin: &PluginHandle) -> Result<(), CallError> {
    plugin.call(ECHO, b"any", &CallOptions::new()).map(drop)
}

fn exit(plugin: &PluginHandle, code: u8) {
    plugin.call(EXIT, &[code], &CallOptions::new()).unwrap_err();
}

#[test]
fn a_plugin_that_crashes_is_started_again() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain").supervision(restarting(RestartPolicy::OnFailure, 100))).unwrap();
    until(&changes, PluginState::Running);
    for _ in 0..3 {
        let pid = plugin.process_id().unwrap();
        plugin.kill();
        use PluginState::*;
        assert_eq!(until(&changes, Running), [Crashed, Backoff, Connected, Initializing, Running]);
        assert!(!is_there(pid));
        echo(&plugin).unwrap();
    }
}

#[test]
fn a_crash_loop_ends_in_quarantine_and_a_hand_ends_that() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let supervision = Supervision { critical: true, ..restarting(RestartPolicy::OnFailure, 3) };
    let plugin = host.keep(spec("dies at start").supervision(supervision)).unwrap();
    let seen = until(&changes, PluginState::Quarantined);
    assert_eq!(seen.iter().filter(|state| **state == PluginState::Connected).count(), 4, "{seen:?}");
    assert_eq!(plugin.state(), PluginState::Quarantined);
    assert_eq!((plugin.health(), host.health()), (Health::Unhealthy, Health::Unhealthy));
    let refused = echo(&plugin).unwrap_err();
    assert_eq!(refused.to_string(), "the call was not run: Unavailable: plugin dies at start is Quarantined");
    assert!(plugin.crash().unwrap().to_string().contains("SIGABRT"), "{:?}", plugin.crash());
    // By hand it is tried again, and its past is forgotten.
    plugin.restart().unwrap_err();
    let seen = until(&changes, PluginState::Quarantined);
    assert_eq!(seen.iter().filter(|state| **state == PluginState::Connected).count(), 4, "{seen:?}");
}

#[test]
fn a_program_that_exits_at_once_is_tried_and_given_up() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let script = crate::script("exit 3").supervision(restarting(RestartPolicy::Always, 2));
    host.load(script.clone()).unwrap_err();
    let _kept = host.keep(script).unwrap();
    let seen = until(&changes, PluginState::Quarantined);
    assert_eq!(seen.iter().filter(|state| **state == PluginState::Backoff).count(), 2, "{seen:?}");
}

#[test]
fn one_that_ends_in_good_order_is_stopped_and_started_again_only_if_always() {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        let (host, changes) = watched(PluginHost::builder(config()));
        let plugin = host.load(spec("leaver").supervision(restarting(policy, 100))).unwrap();
        until(&changes, PluginState::Running);
        plugin.call(PART, b"", &CallOptions::new()).unwrap_err();
        let next = if policy == RestartPolicy::Always { PluginState::Running } else { PluginState::Stopped };
        assert!(!until(&changes, next).contains(&PluginState::Crashed), "{policy:?}");
        assert_eq!(plugin.crash().map(|crash| crash.to_string()), None);
    }
}

#[test]
fn a_shutdown_in_a_pause_is_the_end_of_it() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let mut supervision = restarting(RestartPolicy::Always, 100);
    (supervision.backoff.first, supervision.backoff.most) = (PATIENCE, PATIENCE);
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    plugin.kill();
    until(&changes, PluginState::Backoff);
    assert!(plugin.shutdown().is_none());
    assert_eq!(plugin.state(), PluginState::Stopped);
}

fn quick_to_judge() -> PluginHostBuilder {
    let timeouts = Timeouts { liveness: Duration::from_millis(200), ..Timeouts::default() };
    PluginHost::builder(Config { timeouts, ..config() })
}

#[test]
fn a_hung_plugin_is_killed_if_that_is_the_policy() {
    let (host, changes) = watched(quick_to_judge());
    let supervision = Supervision { unresponsive: Unresponsive::Kill, ..restarting(RestartPolicy::OnFailure, 100) };
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    until(&changes, PluginState::Running);
    let error = plugin.call(ENDLESS, b"", &CallOptions::new().deadline(PATIENCE)).unwrap_err();
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    until(&changes, PluginState::Running);
    // On a busy machine it may be found to be slow once more.
    eventually("it takes calls", || echo(&plugin).is_ok());
}

#[test]
fn a_stopped_process_is_killed_if_that_is_the_policy() {
    let (host, changes) = watched(quick_to_judge());
    let supervision = Supervision { unresponsive: Unresponsive::Kill, ..restarting(RestartPolicy::OnFailure, 100) };
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    until(&changes, PluginState::Running);
    stop(plugin.process_id().unwrap());
    plugin.call(ECHO, b"", &CallOptions::new().deadline(PATIENCE)).unwrap_err();
    until(&changes, PluginState::Running);
    // On a busy machine it may be found to be slow once more.
    eventually("it takes calls", || echo(&plugin).is_ok());
}

#[test]
fn an_idle_plugin_is_stopped_and_the_next_call_starts_it() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let supervision = Supervision { idle_timeout: Some(Duration::from_millis(100)), ..Supervision::default() };
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    until(&changes, PluginState::Running);
    for _ in 0..3 {
        let pid = plugin.process_id();
        assert!(!until(&changes, PluginState::Stopped).contains(&PluginState::Crashed));
        assert_eq!((plugin.health(), plugin.process_id()), (Health::Healthy, None));
        // Several at once start it once.
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| echo(&plugin).unwrap()))));
        assert_eq!(until(&changes, PluginState::Running).len(), 3);
        assert_ne!(plugin.process_id(), pid);
    }
    plugin.shutdown();
    until(&changes, PluginState::Stopped);
    assert!(echo(&plugin).is_err(), "what was shut down stays so");
}

#[test]
fn a_plugin_that_ends_because_nothing_calls_it_is_started_by_the_next_call() {
    for policy in [RestartPolicy::Never, RestartPolicy::Always] {
        let (host, changes) = watched(PluginHost::builder(Config::new("test-host", "1.0.0")));
        let plugin = host.load(spec("drowsy").supervision(restarting(policy, 100))).unwrap();
        until(&changes, PluginState::Running);
        for _ in 0..3 {
            assert_eq!(until(&changes, PluginState::Stopped), [PluginState::Stopped], "{policy:?}");
            assert_eq!((plugin.health(), plugin.crash().map(|crash| crash.to_string())), (Health::Healthy, None));
            plugin.call(PING, b"", &CallOptions::new()).unwrap();
            until(&changes, PluginState::Running);
        }
    }
}

#[test]
fn no_call_is_lost_to_a_plugin_that_ends_because_nothing_calls_it() {
    let (host, changes) = watched(PluginHost::builder(Config::new("test-host", "1.0.0")));
    let plugin = host.load(spec("drowsy")).unwrap();
    // Calls come at about the time at which it ends.
    let mut pause = Duration::from_millis(45);
    let mut ended = 0;
    while ended < 20 {
        thread::sleep(pause);
        plugin.call(PING, b"", &CallOptions::new()).unwrap();
        let new = changes.try_iter().filter(|change| change.to == PluginState::Stopped).count();
        ended += new;
        pause =
            if new > 0 { pause.saturating_sub(Duration::from_millis(1)) } else { pause + Duration::from_micros(300) };
    }
}

#[test]
fn a_plugin_at_work_is_not_stopped_for_being_idle() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let supervision = Supervision { idle_timeout: Some(Duration::from_millis(20)), ..Supervision::default() };
    let busy = host.load(spec("busy").supervision(supervision)).unwrap();
    until(&changes, PluginState::Running);
    let pid = busy.process_id().unwrap();
    // It is asked again and again.
    let asked = || busy.session().map_or(0, |session| session.stats().link.frames_received);
    let before = asked();
    eventually("asked whether it is idle", || asked() > before + 3);
    assert_eq!((busy.process_id(), busy.state()), (Some(pid), PluginState::Running));
}

#[test]
fn calls_go_to_all_instances_and_to_those_that_are_left() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let supervision = Supervision { instances: NonZeroU16::new(3).unwrap(), ..Supervision::default() };
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    let pids = |calls: usize| {
        let call = || plugin.call(PID, b"", &CallOptions::new()).unwrap().body.to_vec();
        (0..calls).map(|_| call()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(pids(30).len(), 3);
    assert_eq!(plugin.instances().iter().map(|instance| instance.number).collect::<Vec<_>>(), [0, 1, 2]);
    exit(&plugin, 4);
    until(&changes, PluginState::Crashed);
    assert_eq!(pids(30).len(), 2);
    assert_eq!((plugin.state(), plugin.health()), (PluginState::Running, Health::Degraded));
    assert_eq!(host.shutdown().len(), 1);
}

#[test]
fn a_busy_instance_is_passed_over() {
    let host = PluginHost::builder(config()).services(|_: &PluginScope| crate::answers).build().unwrap();
    let supervision = Supervision { instances: NonZeroU16::new(2).unwrap(), ..Supervision::default() };
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    let caller = plugin.as_caller();
    thread::scope(|scope| {
        let endless = scope.spawn(|| caller.call_blocking(ENDLESS, b"", &CallOptions::new().deadline(PATIENCE)));
        eventually("one is busy", || plugin.instances().iter().any(|instance| instance.calls_in_flight == 1));
        (0..20).for_each(|_| echo(&plugin).unwrap());
        plugin.kill();
        endless.join().unwrap().unwrap_err();
    });
}

#[test]
fn too_many_failures_open_the_breaker() {
    let host = PluginHost::builder(config()).services(|_: &PluginScope| crate::answers).build().unwrap();
    let breaker = Breaker { failures: 2, open: PATIENCE };
    let plugin =
        host.load(spec("plain").supervision(Supervision { breaker: Some(breaker), ..Supervision::default() })).unwrap();
    assert_eq!(plugin.breaker(), Some(BreakerState::Closed));
    let late = || plugin.call(ENDLESS, b"", &CallOptions::new().deadline(Duration::from_millis(20))).unwrap_err();
    assert!(matches!(late(), CallError::DeadlineExceeded { .. }));
    assert!(matches!(late(), CallError::DeadlineExceeded { .. }));
    let refused = echo(&plugin).unwrap_err();
    assert!(refused.to_string().contains("too many calls have failed: none is tried for"), "{refused}");
    assert_eq!((plugin.breaker(), plugin.is_ready()), (Some(BreakerState::Open), false));
    assert_eq!(plugin.health(), Health::Degraded);
    plugin.restart().unwrap();
    assert_eq!(plugin.breaker(), Some(BreakerState::Closed));
    echo(&plugin).unwrap();
}

/// Calls wait, and the pauses are long enough to be met.
fn calls_wait(restarts: u32) -> Supervision {
    let mut supervision = Supervision { calls_wait: true, ..restarting(RestartPolicy::OnFailure, restarts) };
    (supervision.backoff.first, supervision.backoff.most) = [Duration::from_millis(300); 2].into();
    supervision
}

#[test]
fn calls_wait_for_the_next_start_if_they_may() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain").supervision(calls_wait(u32::MAX))).unwrap();
    until(&changes, PluginState::Running);
    for _ in 0..3 {
        plugin.kill();
        until(&changes, PluginState::Backoff);
        plugin.call(ECHO, b"any", &CallOptions::new().deadline(PATIENCE)).unwrap();
        until(&changes, PluginState::Running);
        // Nobody has noticed its end.
        exit(&plugin, 3);
        plugin.call(ECHO, b"any", &CallOptions::new().deadline(PATIENCE)).unwrap();
        until(&changes, PluginState::Running);
    }
    // No longer than it may.
    plugin.kill();
    let error = plugin.call(ECHO, b"any", &CallOptions::new().deadline(Duration::from_millis(1))).unwrap_err();
    assert!(!error.may_have_run(), "{error}");
}

#[test]
fn an_idempotent_call_goes_on_in_the_next_life() {
    let (sender, begun) = mpsc::channel();
    let services = move |_: &PluginScope| {
        let sender = sender.clone();
        move |call: rapace_session::IncomingCall| drop(sender.send(call))
    };
    let host = PluginHost::builder(config()).services(services).build().unwrap();
    let plugin = host.load(spec("plain").supervision(calls_wait(u32::MAX))).unwrap();
    let options = CallOptions::new().deadline(PATIENCE).idempotent();
    thread::scope(|scope| {
        let asks = scope.spawn(|| plugin.call(crate::plugin::ASK, b"", &options));
        let _first = begun.recv_timeout(PATIENCE).unwrap();
        plugin.kill();
        begun.recv_timeout(PATIENCE).unwrap().reply(b"again");
        assert!(asks.join().unwrap().unwrap().body == b"again"[..]);
    });
}

#[test]
fn calls_that_wait_are_refused_when_nothing_comes_any_more() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.keep(spec("dies at start").supervision(calls_wait(1))).unwrap();
    until(&changes, PluginState::Backoff);
    // Longer than this test waits.
    let patient = CallOptions::new().deadline(10 * PATIENCE);
    let refusal = |plugin: &PluginHandle, act: &dyn Fn()| {
        let (caller, (sender, called), patient) = (plugin.clone(), mpsc::channel(), patient.clone());
        thread::spawn(move || sender.send(caller.call(ECHO, b"any", &patient)));
        act();
        called.recv_timeout(PATIENCE).unwrap().unwrap_err().to_string()
    };
    let refused = refusal(&plugin, &|| {});
    assert!(refused.ends_with("plugin dies at start is Quarantined"), "{refused}");
    let mut long = calls_wait(9);
    (long.backoff.first, long.backoff.most) = (10 * PATIENCE, 10 * PATIENCE);
    let plugin = host.load(spec("plain").supervision(long)).unwrap();
    plugin.kill();
    let refused = refusal(&plugin, &|| drop(plugin.shutdown()));
    assert!(refused.ends_with("plugin plain is Stopped"), "{refused}");
}

#[test]
fn calls_wait_while_a_plugin_is_restarted() {
    let host = Arc::new(PluginHost::builder(config()).build().unwrap());
    let plugin = host.load(spec("plain")).unwrap();
    let (done, calls) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                echo(&plugin).unwrap();
                calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        for _ in 0..5 {
            let before = calls.load(std::sync::atomic::Ordering::Relaxed);
            eventually("calls go on", || calls.load(std::sync::atomic::Ordering::Relaxed) > before);
            plugin.restart().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
