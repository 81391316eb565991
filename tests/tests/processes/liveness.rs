//! Peers that live and make no progress (SPEC section 9).

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
use rapace_session::{Config, NoService, PeerState, WaitStrategy};
use rapace_tests::method;
use rapace_tests::pattern::words;

use crate::support::{PATIENCE, Plugin, config, eventually};

const LIVENESS: Duration = Duration::from_millis(150);

fn judging(config: Config) -> Config {
    let mut config = config;
    config.timeouts.liveness = LIVENESS;
    config
}

#[track_caller]
fn wait_until_dormant(plugin: &Plugin) {
    eventually("the plugin is dormant", || plugin.peer_state() == PeerState::Dormant);
}

fn is_unresponsive(plugin: &Plugin) -> bool {
    match plugin.peer_state() {
        PeerState::Unresponsive { silent } => {
            assert!(silent >= LIVENESS, "{silent:?}");
            assert!(!plugin.is_peer_alive());
            true
        }
        PeerState::Alive | PeerState::Dormant => false,
        other => panic!("{other:?}"),
    }
}

/// A plugin is stopped in mid-call and goes on.
#[track_caller]
fn check_stopped(wait: WaitStrategy, argument: &str) {
    let plugin = Plugin::start_with(judging(Config { wait, ..config() }), &["serve", argument], NoService);
    assert_eq!(plugin.try_call(method::ECHO, b"before").unwrap(), b"before");
    plugin.signal(SIGSTOP);
    thread::scope(|scope| {
        let call = scope.spawn(|| plugin.try_call(method::ECHO, b"during"));
        eventually("the plugin is unresponsive", || is_unresponsive(&plugin));
        plugin.signal(SIGCONT);
        assert_eq!(call.join().unwrap().unwrap(), b"during");
    });
    eventually("the plugin is back", || plugin.is_peer_alive());
    assert_eq!(plugin.try_call(method::ECHO, b"after").unwrap(), b"after");
}

#[test]
fn a_stopped_plugin_with_a_call_is_unresponsive_until_it_goes_on() {
    check_stopped(WaitStrategy::Adaptive, "wait=adaptive");
}

#[test]
fn a_stopped_plugin_that_sleeps_is_unresponsive_until_it_goes_on() {
    check_stopped(WaitStrategy::Park, "wait=park");
}

#[test]
fn a_stopped_plugin_that_spins_is_unresponsive_until_it_goes_on() {
    check_stopped(WaitStrategy::Spin, "wait=spin");
}

#[test]
fn an_idle_plugin_owes_nothing_even_if_it_is_stopped() {
    let plugin = Plugin::start_with(judging(config()), &["serve"], NoService);
    plugin.try_call(method::ECHO, b"").unwrap();
    wait_until_dormant(&plugin);
    plugin.signal(SIGSTOP);
    // The stretch of time is what is tested.
    let start = Instant::now();
    while start.elapsed() < 4 * LIVENESS {
        assert_eq!(plugin.peer_state(), PeerState::Dormant);
        thread::park_timeout(LIVENESS / 20);
    }
    // Being called changes that.
    let call = plugin.start_call(method::ECHO, b"now it does");
    assert_eq!(plugin.peer_state(), PeerState::Alive);
    eventually("the plugin is unresponsive", || is_unresponsive(&plugin));
    plugin.signal(SIGCONT);
    assert_eq!(call.wait().unwrap().body.to_vec(), b"now it does");
    wait_until_dormant(&plugin);
}

#[test]
fn a_plugin_that_has_answered_is_dormant_and_stays_so() {
    // It may have answered and gone back to sleep before the host has returned from ringing it.
    let mut config = config();
    // A machine that is busy with other things is never as slow.
    config.timeouts.liveness = PATIENCE / 2;
    let plugin = Plugin::start_with(config, &["serve", "wait=park"], NoService);
    for _ in 0..2000 {
        plugin.try_call(method::ECHO, b"").unwrap();
        let start = Instant::now();
        while plugin.peer_state() != PeerState::Dormant {
            assert!(start.elapsed() < PATIENCE / 2, "{:?}", plugin.peer_state());
            thread::yield_now();
        }
    }
}

/// A handler computes for two liveness timeouts; says whether the plugin was ever unresponsive.
fn unresponsive_while_computing(beats: bool) -> bool {
    let mut config = judging(config());
    // Long enough for a machine that is busy with other things.
    config.timeouts.liveness = 8 * LIVENESS;
    let time = 2 * config.timeouts.liveness;
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    thread::scope(|scope| {
        let body = words(&[u64::try_from(time.as_millis()).unwrap(), beats.into()]);
        let call = scope.spawn(|| plugin.try_call(method::COMPUTE, &{ body }));
        let mut unresponsive = false;
        while !call.is_finished() {
            unresponsive |= is_unresponsive(&plugin);
            thread::park_timeout(LIVENESS / 20);
        }
        call.join().unwrap().unwrap();
        eventually("the plugin is back", || plugin.is_peer_alive());
        unresponsive
    })
}

#[test]
fn a_handler_that_computes_for_long_makes_its_plugin_unresponsive() {
    assert!(unresponsive_while_computing(false));
}

#[test]
fn a_handler_that_says_so_makes_progress() {
    assert!(!unresponsive_while_computing(true));
}

#[test]
fn a_busy_plugin_is_alive() {
    // One that spins is never rung, so that only its calls tell of progress.
    for wait in ["wait=adaptive", "wait=spin"] {
        let plugin = Plugin::start_with(judging(config()), &["serve", wait], NoService);
        let start = Instant::now();
        while start.elapsed() < 3 * LIVENESS {
            plugin.try_call(method::ECHO, b"").unwrap();
            assert!(plugin.is_peer_alive(), "{:?}", plugin.peer_state());
        }
    }
}

#[test]
fn a_plugin_judges_its_host_too() {
    // The host calls and waits, so it is awake or owes nothing.
    let plugin = Plugin::start_with(judging(config()), &["serve", "liveness=150"], NoService);
    for _ in 0..100 {
        assert!(plugin.count(method::HOST_STATE) <= 1);
    }
}
