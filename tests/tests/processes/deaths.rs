//! Processes that die: the kernel says so, at once, and nobody else is hurt (SPEC K5, L5, F3).

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rapace_core::GeometryConfig;
use rapace_session::{CallError, Config, NoService, PeerState, SessionEnd, WaitStrategy};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, words};
use rapace_tests::service::Service;

use crate::support::{PATIENCE, Plugin, both_cores, config, eventually, peer, spawn, task_state, task_states, waiting};

/// Within this time every call of a session has ended whose peer was killed, however busy the machine. Who only looks at its
/// peer now and then would take longer.
const AT_ONCE: Duration = Duration::from_secs(15);
const SELDOM: Duration = Duration::from_secs(600);

#[track_caller]
fn check_killed(outcome: Result<Vec<u8>, CallError>, signal: i32) {
    let error = outcome.unwrap_err();
    match error.session_end() {
        Some(SessionEnd::PeerGone(Some(exit))) => assert_eq!(exit.signal(), Some(signal)),
        _ => panic!("{error}"),
    }
}

/// Kills a plugin while so many threads wait for it.
#[track_caller]
fn check_kill(mut config: Config, arguments: &[&str]) {
    const CALLS: usize = 8;
    config.timeouts.liveness = SELDOM;
    let bystander = Plugin::start(&["serve"]);
    let plugin = Plugin::start_with(config, arguments, NoService);
    let (outcomes, took) = thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| plugin.try_call(method::HOLD, b"for ever"))).collect();
        eventually("all calls are held", || plugin.count(method::HELD) == CALLS as u64);
        let start = Instant::now();
        plugin.signal(Signal::SIGKILL);
        let outcomes: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        (outcomes, start.elapsed())
    });
    assert!(took < AT_ONCE, "{took:?}");
    // Each thread has had one outcome, and none is left for anybody else.
    assert_eq!((outcomes.len(), plugin.stats().calls_in_flight), (CALLS, 0));
    outcomes.into_iter().for_each(|outcome| check_killed(outcome, 9));
    check_killed(plugin.try_call(method::ECHO, b"too late"), 9);
    match plugin.peer_state() {
        PeerState::Gone { exit: Some(exit) } => assert_eq!(exit.signal(), Some(9)),
        other => panic!("{other:?}"),
    }
    assert_eq!(bystander.try_call(method::ECHO, b"unhurt").unwrap(), b"unhurt");
    bystander.check_clean();
}

#[test]
fn a_killed_plugin_fails_its_calls_at_once() {
    check_kill(config(), &["serve"]);
}

#[test]
fn a_killed_plugin_fails_the_calls_of_sleepers_at_once() {
    check_kill(waiting(WaitStrategy::Park), &["serve", "wait=park"]);
}

#[test]
fn a_killed_plugin_fails_the_calls_of_spinners_at_once() {
    check_kill(waiting(WaitStrategy::Spin), &["serve"]);
}

#[test]
fn a_stopped_plugin_can_be_killed() {
    let plugin = Plugin::start(&["serve"]);
    plugin.signal(Signal::SIGSTOP);
    let call = plugin.start_call(method::ECHO, b"");
    plugin.signal(Signal::SIGKILL);
    check_killed(call.wait().map(|reply| reply.body.into_vec()), 9);
}

#[test]
fn a_plugin_killed_while_it_is_sent_much_fails_its_calls() {
    let plugin = Plugin::start(&["serve"]);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..4u64)
            .map(|thread| {
                let plugin = &plugin;
                scope.spawn(move || {
                    let body = pattern(4 << 20, thread);
                    loop {
                        match plugin.try_call(method::ECHO, &body) {
                            Ok(reply) => assert!(reply == body),
                            Err(error) => return error,
                        }
                    }
                })
            })
            .collect();
        eventually("bytes wait for room", || plugin.stats().outbound_bytes > 0);
        plugin.signal(Signal::SIGKILL);
        calls.into_iter().for_each(|call| check_killed(Err(call.join().unwrap()), 9));
    });
    assert_eq!(plugin.snapshot().left_over(), 0);
}

#[test]
fn a_plugin_that_exits_is_told_with_its_code() {
    let plugin = Plugin::start(&["serve"]);
    let error = plugin.try_call(method::RELEASE_AND_EXIT, &words(&[42])).unwrap_err();
    match error.session_end() {
        Some(SessionEnd::PeerGone(Some(exit))) => assert_eq!(exit.code(), Some(42)),
        _ => panic!("{error}"),
    }
    assert_eq!(error.to_string(), "the peer is gone: its process exited with code 42");
}

#[test]
fn an_exit_code_may_come_a_moment_later_than_the_end_of_the_socket() {
    for wait in [WaitStrategy::Park, WaitStrategy::Adaptive, WaitStrategy::Spin] {
        let plugin = Plugin::start_with(waiting(wait), &["lie"], NoService);
        let error = plugin.try_call(method::HANG_UP, &words(&[42])).unwrap_err();
        match error.session_end() {
            Some(SessionEnd::PeerGone(Some(exit))) => assert_eq!(exit.code(), Some(42)),
            _ => panic!("{wait:?}: {error}"),
        }
    }
}

#[test]
fn replies_that_were_sent_before_a_death_count() {
    const CALLS: u32 = 1000;
    let mut config = config();
    config.geometry = GeometryConfig { ring_capacity: 4096, ..GeometryConfig::default() };
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    let calls: Vec<_> = (0..CALLS).map(|index| plugin.start_call(method::HOLD, &index.to_le_bytes())).collect();
    let last = plugin.start_call(method::RELEASE_AND_EXIT, &words(&[0]));
    // Nobody takes frames here before the plugin is dead.
    eventually("the plugin is dead", || task_states(plugin.pid()).iter().all(|state| *state == 'Z'));
    eventually("the host has noticed", || matches!(plugin.peer_state(), PeerState::Gone { .. }));
    for (index, call) in (0..CALLS).zip(calls) {
        assert_eq!(call.wait().map(|reply| reply.body.into_vec()), Ok(index.to_le_bytes().to_vec()), "call {index}");
    }
    assert!(last.wait().is_err());
}

#[test]
fn a_plugin_ends_soon_after_its_host_was_killed() {
    let (_socket, mut host) = spawn(peer(&["host"]).stdout(Stdio::piped()));
    let mut output = BufReader::new(host.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let plugin = Pid::from_raw(line.trim().parse().unwrap());
    // It serves once it sleeps.
    eventually("the plugin sleeps", || task_states(plugin).iter().all(|state| *state == 'S'));
    let start = Instant::now();
    host.kill().unwrap();
    host.wait().unwrap();
    // The output ends when both processes have ended that can write to it.
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(rest, "the peer is gone: it closed its socket\n");
    eventually("the plugin is gone", || task_states(plugin).iter().all(|state| *state == 'Z'));
}

#[test]
fn a_spinning_session_goes_on_while_another_one_dies() {
    let dying = Plugin::start(&["serve"]);
    let cores = both_cores();
    let spinning = Plugin::start_with(waiting(WaitStrategy::Spin), &["serve", "wait=spin"], NoService);
    cores.part();
    let (is_dead, start) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let spinner = scope.spawn(|| {
            let (mut round, mut behind) = (0u32, 0);
            // On a busy machine a spinner's peer has no core now and then, and each call takes long.
            while behind < 20 {
                behind += u32::from(is_dead.load(Ordering::SeqCst));
                assert_eq!(spinning.try_call(method::ECHO, &round.to_le_bytes()).unwrap(), round.to_le_bytes());
                assert!(start.elapsed() < 4 * PATIENCE, "{behind} of {round} calls behind the death");
                round = round.wrapping_add(1);
            }
        });
        let victim = scope.spawn(|| dying.try_call(method::HOLD, b""));
        eventually("the call is held", || dying.count(method::HELD) == 1);
        dying.signal(Signal::SIGKILL);
        let outcome = victim.join().unwrap();
        is_dead.store(true, Ordering::SeqCst);
        check_killed(outcome, 9);
        spinner.join().unwrap();
    });
    spinning.check_clean();
}

#[test]
fn a_process_that_is_waited_for_does_not_hold_up_the_calls_of_others() {
    let plugin = Plugin::start(&["serve"]);
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let reaper = scope.spawn(|| {
            tell.send(nix::unistd::gettid()).unwrap();
            plugin.reap(PATIENCE)
        });
        let task = PathBuf::from(format!("/proc/self/task/{}", told.recv().unwrap()));
        eventually("somebody waits for the process", || task_state(&task) == Some('S'));
        let start = Instant::now();
        assert_eq!(plugin.try_call(method::ECHO, b"meanwhile").unwrap(), b"meanwhile");
        assert_eq!(plugin.process_id(), Some(plugin.pid().as_raw().cast_unsigned()));
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
        kill(plugin.pid(), Signal::SIGKILL).unwrap();
        assert_eq!(reaper.join().unwrap().unwrap().signal(), Some(9));
    });
}

#[test]
fn a_handler_of_the_host_outlives_its_plugin() {
    let service = Arc::new(Service::default());
    let plugin = Plugin::start_with(config(), &["serve"], service.router());
    let entered = plugin.start_call(method::ENTER, b"");
    eventually("the plugin has called back", || {
        plugin.serve_for(Duration::from_millis(1));
        service.held() == 1
    });
    plugin.signal(Signal::SIGKILL);
    check_killed(entered.wait().map(|reply| reply.body.into_vec()), 9);
    let call = service.take_held().remove(0);
    assert!(call.is_cancelled());
    call.reply(b"to nobody");
    assert_eq!(plugin.snapshot().left_over(), 0);
}
