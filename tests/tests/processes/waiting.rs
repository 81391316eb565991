//! How waiting threads are woken, and what that costs in system calls (SPEC section 8).

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rapace_session::{NoService, WaitStrategy};
use rapace_tests::method;
use rapace_tests::snapshot::Snapshot;

use crate::support::{PATIENCE, Plugin, both_cores, config, eventually, offer, peer, spawn, waiting};

/// A spinner whose peer has no core at present spins in vain. On a machine that is busy with other things, fewer calls
/// have to do than there would be in this time.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// So many calls in a row, or as many as there is time for; says how many.
#[track_caller]
fn call_often(plugin: &Plugin, calls: u32) -> u32 {
    let begin = Instant::now();
    for round in 0..calls {
        if begin.elapsed() > LONG_ENOUGH {
            return round;
        }
        let start = Instant::now();
        assert_eq!(plugin.try_call(method::ECHO, &round.to_le_bytes()).unwrap(), round.to_le_bytes());
        // A wake-up that was lost ends with the next look at the peer, or with the patience of the call.
        assert!(start.elapsed() < PATIENCE / 2, "call {round} took {:?}", start.elapsed());
    }
    calls
}

#[test]
fn every_wait_strategy_works_with_every_other() {
    let strategies = [
        (WaitStrategy::Park, "wait=park"),
        (WaitStrategy::Spin, "wait=spin"),
        (WaitStrategy::Adaptive, "wait=adaptive"),
    ];
    for (host, _) in strategies {
        for (_, plugin) in strategies {
            let cores = both_cores();
            let plugin = Plugin::start_with(waiting(host), &["serve", plugin], NoService);
            cores.part();
            call_often(&plugin, 1000);
            plugin.check_clean();
        }
    }
}

#[test]
fn a_call_of_sleepers_costs_one_bell_each_way() {
    let plugin = Plugin::start_with(waiting(WaitStrategy::Park), &["serve", "wait=park"], NoService);
    let (here, there) = (plugin.snapshot(), plugin.peer_snapshot());
    let calls = u64::from(call_often(&plugin, 1000));
    let here = plugin.snapshot().bells_sent - here.bells_sent;
    let there = plugin.peer_snapshot().bells_sent - there.bells_sent;
    // The calls that asked for the snapshots are counted too. A peer that is still awake needs no bell.
    for (side, bells) in [("here", here), ("there", there)] {
        assert!((1..=calls + 2).contains(&bells), "{bells} bells for {calls} calls, {side}");
    }
}

#[test]
fn a_call_with_slots_costs_no_more_bells() {
    const CALLS: u32 = 300;
    let plugin = Plugin::start_with(waiting(WaitStrategy::Park), &["serve", "wait=park"], NoService);
    let (here, there) = (plugin.snapshot(), plugin.peer_snapshot());
    for _ in 0..CALLS {
        assert_eq!(plugin.try_call(method::ECHO, &[7; 5000]).unwrap(), [7; 5000]);
    }
    let here = plugin.snapshot().bells_sent - here.bells_sent;
    let there = plugin.peer_snapshot().bells_sent - there.bells_sent;
    for (side, bells) in [("here", here), ("there", there)] {
        assert!(bells <= u64::from(CALLS) + 2, "{bells} bells for {CALLS} calls, {side}");
    }
}

#[test]
fn peers_that_are_awake_make_no_system_calls() {
    let cores = both_cores();
    let plugin = Plugin::start_with(waiting(WaitStrategy::Spin), &["serve", "wait=spin"], NoService);
    cores.part();
    let calls = call_often(&plugin, 100_000);
    assert!(calls >= 300, "{calls} calls in {LONG_ENOUGH:?}");
    for (side, snapshot) in [("here", plugin.snapshot()), ("there", plugin.peer_snapshot())] {
        let Snapshot { bells_sent, sleeps, .. } = snapshot;
        assert!(bells_sent + sleeps < 100, "{bells_sent} bells and {sleeps} sleeps for {calls} calls, {side}");
    }
}

#[test]
fn the_kernel_counts_no_system_calls_of_a_busy_peer() {
    let cores = both_cores();
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, and this run is to be complete");
        eprintln!("strace is missing: what the sessions count themselves has to do");
        return;
    }
    let counts = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("strace-{}", std::process::id()));
    let traced = peer(&["serve", "wait=spin"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&counts).arg(traced.get_program()).args(traced.get_args());
    strace.envs(traced.get_envs().filter_map(|(key, value)| Some((key, value?)))).stdout(std::process::Stdio::null());
    let (socket, child) = spawn(&mut strace);
    let plugin = Plugin::of(offer(socket, child, waiting(WaitStrategy::Spin), NoService).unwrap());
    cores.part();
    let begin = Instant::now();
    let calls = call_often(&plugin, 100_000);
    // A peer that sees nothing for 10 ms looks at its socket, which happens when this process has no core.
    let looks = begin.elapsed().as_millis() / 10;
    assert_eq!(plugin.close_and_reap().code(), Some(0));
    let table = std::fs::read_to_string(&counts).unwrap();
    std::fs::remove_file(&counts).unwrap();
    let total = table.lines().find(|line| line.ends_with("total")).unwrap();
    let counted: u128 = total.split_whitespace().nth(3).unwrap().parse().unwrap();
    // Starting a process takes some hundred; a call that took one would add as many as there were calls.
    assert!(counted < 1000 + 2 * looks, "{counted} system calls for {calls} calls and {looks} looks:\n{table}");
}

#[test]
fn states_may_be_asked_for_beside_calls_that_sleep() {
    // Both look at the socket. A bell that one of them reads must not be lost to the other one, which sleeps for it:
    // such a call would last until the liveness timeout.
    let mut config = waiting(WaitStrategy::Park);
    config.timeouts.liveness = 10 * PATIENCE;
    let plugin = Plugin::start_with(config, &["serve", "wait=park"], NoService);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                plugin.peer_state();
            }
        });
        let calls = scope.spawn(|| call_often(&plugin, 2000));
        let outcome = calls.join();
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn an_adaptive_host_calls_after_silences() {
    let plugin = Plugin::start_with(config(), &["serve"], NoService);
    for _ in 0..20 {
        eventually("the peer is dormant", || plugin.peer_state() == rapace_session::PeerState::Dormant);
        call_often(&plugin, 10);
    }
}
