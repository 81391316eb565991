//! Things that come at the wrong moment, from observers, other threads and plugins.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_host::{
    Backoff, Breaker, BreakerState, Ending, PluginHandle, PluginHost, PluginScope, PluginState, RestartLimit,
    RestartPolicy, ShutdownTimes, StateChange, Supervision, Unresponsive,
};
use rapace_session::{AsCaller, CallError, CallOptions, Config, Timeouts};

use crate::plugin::{ECHO, GATE};
use crate::{PATIENCE, config, eventually, gate, is_there, spec, watched, with_patience};

const TINY: Duration = Duration::from_millis(20);

/// Restarts what has crashed, after this pause.
fn restarting(pause: Duration) -> Supervision {
    let backoff = Backoff { first: pause, most: pause, ..Backoff::default() };
    let limit = RestartLimit { restarts: 1000, ..RestartLimit::default() };
    Supervision { restart: RestartPolicy::OnFailure, backoff, limit, ..Supervision::default() }
}

fn idle(timeout: Duration) -> Supervision {
    Supervision { idle_timeout: Some(timeout), ..Supervision::default() }
}

#[track_caller]
fn until(changes: &mpsc::Receiver<StateChange>, state: PluginState) {
    while changes.recv_timeout(PATIENCE).unwrap().to != state {}
}

fn echo(plugin: &PluginHandle) -> Result<(), CallError> {
    plugin.call(ECHO, b"any", &CallOptions::new().deadline(PATIENCE)).map(drop)
}

/// A place for what an observer uses, which is made after it.
type Place<T> = Arc<Mutex<Option<T>>>;

#[test]
fn who_hears_of_a_crash_may_have_it_rest() {
    let place: Place<PluginHandle> = Place::default();
    let (to_end, (told, heard)) = (Arc::clone(&place), mpsc::channel());
    let observer = move |change: &StateChange| {
        if change.to == PluginState::Crashed {
            let plugin = to_end.lock().unwrap().clone();
            assert!(plugin.unwrap().shutdown().is_none());
        }
        let _ = told.send(change.to);
    };
    let host = PluginHost::builder(config()).on_state(observer).build().unwrap();
    let plugin = host.load(spec("plain").supervision(restarting(PATIENCE))).unwrap();
    *place.lock().unwrap() = Some(plugin.clone());
    plugin.kill();
    while heard.recv_timeout(PATIENCE).unwrap() != PluginState::Crashed {}
    // It is started by hand, and not because a time has come.
    plugin.restart().unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(PluginState::Connected));
    place.lock().unwrap().take();
}

#[test]
fn a_host_that_has_shut_down_starts_nothing_any_more() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain").supervision(idle(TINY))).unwrap();
    until(&changes, PluginState::Stopped);
    // Asleep, it has nothing to shut down.
    assert!(host.shutdown().is_empty());
    let error = echo(&plugin).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    let error = plugin.restart().unwrap_err();
    assert_eq!(error.cause.to_string(), "the host shuts down");
    assert_eq!(plugin.state(), PluginState::Stopped);
}

#[test]
fn a_plugin_that_is_asleep_when_it_is_shut_down_stays_so() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain").supervision(idle(TINY))).unwrap();
    until(&changes, PluginState::Stopped);
    assert!(plugin.shutdown().is_none());
    let error = echo(&plugin).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    plugin.restart().unwrap();
    echo(&plugin).unwrap();
}

#[test]
fn a_plugin_that_is_being_loaded_when_its_host_shuts_down_does_not_stay() {
    let ((starts, begun), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let may_go = Mutex::new(may_go);
    let services = move |_: &PluginScope| {
        starts.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        crate::answers
    };
    let host = PluginHost::builder(config()).services(services).build().unwrap();
    thread::scope(|scope| {
        let loads = scope.spawn(|| host.load(spec("plain")));
        begun.recv_timeout(PATIENCE).unwrap();
        assert!(host.shutdown().is_empty());
        go.send(()).unwrap();
        assert_eq!(loads.join().unwrap().unwrap_err().cause.to_string(), "the host shuts down");
    });
    assert!(host.plugins().is_empty());
}

#[test]
fn a_call_that_comes_while_its_plugin_falls_asleep_waits_until_it_is_awake() {
    let (_reader, writer, gate) = gate();
    let times = ShutdownTimes { exit: PATIENCE, ..ShutdownTimes::default() };
    let (host, changes) = watched(with_patience(PATIENCE).shutdown_times(times));
    let plugin = host.load(spec("plain").env(GATE, gate).supervision(idle(TINY))).unwrap();
    until(&changes, PluginState::ShuttingDown);
    let error = plugin.call(ECHO, b"", &CallOptions::new().deadline(TINY)).unwrap_err();
    assert!(matches!(error, CallError::NoSession { .. }), "{error}");
    drop(writer);
    echo(&plugin).unwrap();
}

#[test]
fn a_plugin_that_fails_as_it_falls_asleep_is_started_by_the_next_call() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("fails at the end").supervision(idle(TINY))).unwrap();
    until(&changes, PluginState::Crashed);
    assert!(plugin.crash().is_some());
    echo(&plugin).unwrap();
}

#[test]
fn a_call_that_waits_for_one_that_will_not_wake_is_told_so() {
    let ((starts, begun), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let (place, may_go): (Place<PluginHandle>, _) = (Place::default(), Mutex::new(may_go));
    let to_end = Arc::clone(&place);
    let services = move |_: &PluginScope| {
        if let Some(plugin) = to_end.lock().unwrap().take() {
            // The reload has the plugin for itself meanwhile, and this is its thread.
            starts.send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
            plugin.shutdown();
        }
        crate::answers
    };
    let (host, changes) = watched(with_patience(PATIENCE).services(services));
    let plugin = host.load(spec("plain").supervision(idle(TINY))).unwrap();
    until(&changes, PluginState::Stopped);
    *place.lock().unwrap() = Some(plugin.clone());
    let caller = plugin.as_caller();
    thread::scope(|scope| {
        let reload = scope.spawn(|| plugin.reload(spec("plain").env(crate::plugin::ROLE, "dies at start")));
        begun.recv_timeout(PATIENCE).unwrap();
        let options = CallOptions::new();
        let mut call = Box::pin(caller.call(ECHO, b"", &options));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        go.send(()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(call).unwrap_err();
        assert!(matches!(error, CallError::Refused { .. }), "{error}");
        reload.join().unwrap().unwrap_err();
    });
}

#[test]
fn an_unload_takes_nothing_but_what_it_has_shut_down() {
    let place: Arc<OnceLock<std::sync::Weak<PluginHost>>> = Arc::default();
    let (host_of, once) = (Arc::clone(&place), AtomicBool::new(false));
    let observer = move |change: &StateChange| {
        let host = host_of.get().and_then(std::sync::Weak::upgrade);
        if change.to == PluginState::Stopped && !once.swap(true, SeqCst) {
            // Another one of that name comes before the first unload is at its end.
            let host = host.unwrap();
            host.unload("plain").unwrap();
            host.load(spec("plain").contract("c", "second")).unwrap();
        }
    };
    let host = Arc::new(PluginHost::builder(config()).on_state(observer).build().unwrap());
    place.set(Arc::downgrade(&host)).unwrap();
    let first = host.load(spec("plain").contract("c", "first")).unwrap();
    host.unload("plain").unwrap();
    let second = host.plugin("plain").unwrap();
    echo(&second).unwrap();
    assert!(host.get("c", "first").is_none() && host.get("c", "second").is_some());
    let error = first.restart().unwrap_err();
    assert_eq!(error.cause.to_string(), "it has been unloaded");
}

#[test]
fn a_plugin_that_takes_its_time_to_shut_down_is_not_killed_for_its_silence() {
    // On a busy machine, a plugin that is called may have no core for a while.
    let timeouts = Timeouts { liveness: Duration::from_secs(1), ..Timeouts::default() };
    let times = ShutdownTimes {
        acknowledge: Duration::from_secs(3),
        exit: TINY,
        terminate: PATIENCE,
        ..ShutdownTimes::default()
    };
    let host = PluginHost::builder(Config { timeouts, ..config() }).shutdown_times(times).build().unwrap();
    let supervision = Supervision { unresponsive: Unresponsive::Kill, ..Supervision::default() };
    let plugin = host.load(spec("stubborn").supervision(supervision)).unwrap();
    echo(&plugin).unwrap();
    let report = plugin.shutdown().unwrap();
    assert_eq!(report.ending, Ending::Terminated, "{report}");
}

#[test]
fn a_reload_brings_its_own_breaker() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    assert_eq!(plugin.breaker(), None);
    let breaker = Breaker { failures: 1, open: PATIENCE };
    plugin.reload(spec("plain").supervision(Supervision { breaker: Some(breaker), ..Supervision::default() })).unwrap();
    assert_eq!(plugin.breaker(), Some(BreakerState::Closed));
    plugin.call(crate::plugin::EXIT, &[1], &CallOptions::new()).unwrap_err();
    assert_eq!(plugin.breaker(), Some(BreakerState::Open));
    plugin.reload(spec("plain")).unwrap();
    assert_eq!(plugin.breaker(), None);
    echo(&plugin).unwrap();
}

#[test]
fn an_observer_that_panics_stops_no_restart() {
    let observer = |change: &StateChange| assert!(change.to != PluginState::Crashed, "a fault of the observer's");
    let host = PluginHost::builder(config()).on_state(observer).build().unwrap();
    let plugin = host.load(spec("plain").supervision(restarting(TINY))).unwrap();
    let pid = plugin.process_id();
    plugin.kill();
    eventually("it is started again", || plugin.process_id().is_some_and(|now| Some(now) != pid));
    eventually("it takes calls", || echo(&plugin).is_ok());
}

#[test]
fn two_restarts_one_within_the_other_start_it_once() {
    let (place, started): (Place<PluginHandle>, Arc<AtomicU32>) = Default::default();
    let (to_restart, count) = (Arc::clone(&place), Arc::clone(&started));
    let observer = move |change: &StateChange| {
        if change.to == PluginState::Stopped
            && let Some(plugin) = { to_restart.lock().unwrap().take() }
        {
            plugin.restart().unwrap();
        }
    };
    let services = move |_: &PluginScope| {
        count.fetch_add(1, SeqCst);
        crate::answers
    };
    let host = PluginHost::builder(config()).services(services).on_state(observer).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    *place.lock().unwrap() = Some(plugin.clone());
    plugin.restart().unwrap();
    echo(&plugin).unwrap();
    assert_eq!(started.load(SeqCst), 2);
}

#[test]
fn a_plugin_that_is_long_in_transition_takes_no_threads_from_the_others() {
    let ((starts, begun), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let (is_held, may_go) = (Arc::new(AtomicBool::new(false)), Mutex::new(may_go));
    let holds = Arc::clone(&is_held);
    let services = move |scope: &PluginScope| {
        if scope.name() == "held" && holds.load(SeqCst) {
            starts.send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
        }
        crate::answers
    };
    let host = with_patience(PATIENCE).services(services).build().unwrap();
    let other = host.load(spec("other").supervision(restarting(Duration::ZERO))).unwrap();
    // It is found idle again and again, and says that it is not.
    let busy = spec("held").env(crate::plugin::ROLE, "busy").supervision(idle(Duration::ZERO));
    let held = host.load(busy.clone()).unwrap();
    is_held.store(true, SeqCst);
    thread::scope(|scope| {
        let reload = scope.spawn(|| held.reload(busy));
        begun.recv_timeout(PATIENCE).unwrap();
        let done = (0..20).try_for_each(|_| {
            let pid = other.process_id();
            other.kill();
            let start = std::time::Instant::now();
            while other.process_id().is_none_or(|now| Some(now) == pid) {
                if start.elapsed() > PATIENCE / 4 {
                    return Err("it is not started again");
                }
                thread::yield_now();
            }
            Ok(())
        });
        go.send(()).unwrap();
        reload.join().unwrap().unwrap();
        assert_eq!(done, Ok(()));
    });
}

#[test]
fn strangers_at_a_join_point_take_no_threads_from_the_others() {
    let host = with_patience(PATIENCE * 10).build().unwrap();
    let other = host.load(spec("other").supervision(restarting(Duration::ZERO))).unwrap();
    let by_hand = host.keep(rapace_host::PluginSpec::by_hand("by hand")).unwrap();
    let path = std::env::temp_dir().join(format!("rapace-{}-strangers.sock", std::process::id()));
    let point = by_hand.join_at(path).unwrap();
    // They connect and say nothing.
    let strangers = (0..40).map(|_| {
        let stranger = std::cell::OnceCell::new();
        let connects = || Socket::connect(point.path()).is_ok_and(|socket| stranger.set(socket).is_ok());
        eventually("there is room in the queue", connects);
        stranger
    });
    let strangers: Vec<_> = strangers.collect();
    for _ in 0..20 {
        let pid = other.process_id();
        other.kill();
        eventually("it is started again", || other.process_id().is_some_and(|now| Some(now) != pid));
    }
    let is_turned_away = |stranger: &&std::cell::OnceCell<Socket>| {
        stranger.get().unwrap().wait(None, Some(Duration::ZERO)).unwrap().hangup
    };
    eventually("all but one are turned away", || strangers.iter().filter(is_turned_away).count() >= 39);
}

#[test]
fn a_plugin_that_calls_its_host_is_at_work() {
    let (sender, begun) = mpsc::channel();
    let services = move |_: &PluginScope| {
        let sender = sender.clone();
        move |call: rapace_session::IncomingCall| drop(sender.send(call))
    };
    let (host, changes) = watched(PluginHost::builder(config()).services(services));
    let plugin = host.load(spec("self-employed").supervision(idle(TINY))).unwrap();
    let asked = begun.recv_timeout(PATIENCE).unwrap();
    // Nobody is asked who is known to be at work, so there is only time to tell by.
    let start = std::time::Instant::now();
    eventually("it had time to fall asleep", || start.elapsed() > 20 * TINY);
    assert_eq!(plugin.state(), PluginState::Running);
    asked.reply(b"");
    until(&changes, PluginState::Stopped);
}

#[test]
fn times_without_end_are_no_overflow() {
    const MAX: Duration = Duration::MAX;
    let times = ShutdownTimes { drain: MAX, acknowledge: MAX, exit: MAX, terminate: MAX, hand_over: MAX };
    let timeouts = Timeouts { start: MAX, liveness: MAX, ..Timeouts::default() };
    let host = PluginHost::builder(Config { timeouts, ..config() }).shutdown_times(times).build().unwrap();
    let backoff = Backoff { first: MAX, most: MAX, factor: f64::INFINITY, jitter: f64::NAN };
    let supervision = Supervision {
        restart: RestartPolicy::Always,
        backoff,
        limit: RestartLimit { restarts: u32::MAX, window: MAX },
        breaker: Some(Breaker { failures: u32::MAX, open: MAX }),
        unresponsive: Unresponsive::Kill,
        idle_timeout: Some(MAX),
        ..Supervision::default()
    };
    let strange = spec("a \n\0 name \u{202e} as none").env(crate::plugin::ROLE, "plain").supervision(supervision);
    let plugin = host.load(strange.clone()).unwrap();
    plugin.call(ECHO, b"", &CallOptions::new().deadline(MAX)).unwrap();
    plugin.reload(strange).unwrap();
    plugin.kill();
    eventually("it is to be started again", || plugin.state() == PluginState::Backoff);
    plugin.restart().unwrap();
    assert!(plugin.shutdown().unwrap().acknowledged.is_ok());
}

#[test]
fn a_host_that_listens_for_signals_is_dropped_as_any_other() {
    const ALONE: &str = "RAPACE_TEST_SIGNALS";
    if std::env::var_os(ALONE).is_none() {
        // Signals are told to all of a process, which is to be its own.
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "attacks::a_host_that_listens_for_signals_is_dropped_as_any_other"]).env(ALONE, "1");
        assert!(alone.output().unwrap().status.success());
        return;
    }
    let host = PluginHost::builder(config()).build().unwrap();
    let signals = host.end_signals().unwrap();
    let pid = host.load(spec("plain")).unwrap().process_id().unwrap();
    drop(host);
    eventually("its plugin is gone", || !is_there(pid));
    // There is nobody who could tell of one any more.
    signals.wait();
}
