//! Processes that die or stop amid streams.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP};
use rapace_session::tokio::AsyncSession;
use rapace_session::{CallError, CallOptions, Config, Session, SessionEnd, WaitStrategy};
use rapace_tests::pattern::{word, words};
use rapace_tests::stream::{Kind, Load};
use rapace_tests::{join, method};

use crate::streams::{runtime, start};
use rapace_tests::service::REST;

use crate::support::{Plugin, config, eventually, waiting};

/// Within this time every call of a session has ended whose peer was killed, however busy the machine. Who only looks at its
/// peer now and then would take longer.
const AT_ONCE: Duration = Duration::from_secs(15);
const SELDOM: Duration = Duration::from_secs(600);

/// One call of each kind with items, without end.
fn endless() -> Vec<Load> {
    let kinds = [Kind::Server, Kind::Client, Kind::Both];
    kinds.iter().map(|kind| Load { kind: *kind, count: u64::MAX, bytes: 3000, seed: 7 }).collect()
}

async fn run_endless(session: Session<rapace_session::PeerA>) -> Vec<Result<(), CallError>> {
    let caller = session.caller();
    join::all(endless().into_iter().map(|load| load.job(caller.clone())).collect()).await
}

/// Both sides have got on.
#[track_caller]
fn wait_until_busy(plugin: &Plugin) {
    eventually("items go both ways", || {
        let link = plugin.stats().link;
        link.frames_sent > 500 && link.frames_received > 500
    });
}

#[track_caller]
fn check_killed(outcomes: Vec<Result<(), CallError>>) {
    assert_eq!(outcomes.len(), endless().len());
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(matches!(error.session_end(), Some(SessionEnd::PeerGone(_))), "{error}");
    }
}

#[track_caller]
fn check_nothing_left(plugin: &Plugin) {
    eventually("nothing is left here", || plugin.snapshot().left_over() == 0);
}

fn arguments() -> Vec<u8> {
    words(&[8, u64::MAX, 3000])
}

#[track_caller]
fn check_kill(mut config: Config, arguments_of_peer: &[&str]) {
    config.timeouts.liveness = SELDOM;
    let plugin = start(config, arguments_of_peer);
    let theirs = plugin.start_call(method::LOAD_HOST, &arguments());
    let took = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..3).map(|_| scope.spawn(|| plugin.block_on(run_endless(Session::clone(&plugin))))).collect();
        wait_until_busy(&plugin);
        let start = Instant::now();
        plugin.signal(SIGKILL);
        threads.into_iter().for_each(|thread| check_killed(thread.join().unwrap()));
        start.elapsed()
    });
    assert!(took < AT_ONCE, "{took:?}");
    assert!(matches!(theirs.wait(), Err(CallError::SessionEnded { .. })));
    check_nothing_left(&plugin);
}

#[test]
fn a_killed_plugin_ends_all_streams_at_once() {
    check_kill(config(), &["serve"]);
    check_kill(waiting(WaitStrategy::Park), &["serve", "tokio=1"]);
}

#[test]
fn a_killed_plugin_ends_all_streams_of_tasks_at_once() {
    let mut config = config();
    config.timeouts.liveness = SELDOM;
    let plugin = start(config, &["serve"]);
    runtime().block_on(async {
        let session = AsyncSession::new(Session::clone(&plugin)).unwrap();
        let theirs = session.start(method::LOAD_HOST, &arguments(), &CallOptions::new()).await.unwrap();
        let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(run_endless(Session::clone(&plugin)))).collect();
        tokio::task::block_in_place(|| wait_until_busy(&plugin));
        let start = Instant::now();
        plugin.signal(SIGKILL);
        for task in tasks {
            check_killed(task.await.unwrap());
        }
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert!(matches!(theirs.await, Err(CallError::SessionEnded { .. })));
        tokio::task::block_in_place(|| check_nothing_left(&plugin));
    });
}

#[test]
fn a_plugin_that_was_stopped_amid_streams_goes_on() {
    for arguments_of_peer in [&["serve"][..], &["serve", "tokio=1"]] {
        let plugin = start(config(), arguments_of_peer);
        let loads = Load::mixed(12, 2000, 300);
        let theirs = plugin.start_call(method::LOAD_HOST, &words(&[12, 2000, 300]));
        thread::scope(|scope| {
            let jobs: Vec<_> = loads.into_iter().map(|load| load.job(plugin.caller())).collect();
            let streams = scope.spawn(|| plugin.block_on(join::all(jobs)));
            wait_until_busy(&plugin);
            plugin.signal(SIGSTOP);
            let mut before = plugin.stats().link;
            eventually("nothing moves", || {
                thread::park_timeout(20 * REST);
                let link = plugin.stats().link;
                std::mem::replace(&mut before, link).frames_received == link.frames_received
            });
            assert!(!streams.is_finished());
            plugin.signal(SIGCONT);
            streams.join().unwrap().into_iter().for_each(|outcome| outcome.unwrap());
        });
        assert_eq!(word(&theirs.wait().unwrap().body, 0), 12);
        plugin.check_clean();
    }
}

#[test]
fn a_host_that_closes_amid_streams_ends_its_plugin_in_good_order() {
    for arguments_of_peer in [&["serve"][..], &["serve", "threads=3"], &["serve", "tokio=1"]] {
        let plugin = start(config(), arguments_of_peer);
        let theirs = plugin.start_call(method::LOAD_HOST, &arguments());
        thread::scope(|scope| {
            let streams = scope.spawn(|| plugin.block_on(run_endless(Session::clone(&plugin))));
            wait_until_busy(&plugin);
            assert_eq!(plugin.close_and_reap().code(), Some(0));
            for outcome in streams.join().unwrap() {
                assert!(matches!(outcome, Err(CallError::SessionEnded { .. })));
            }
        });
        drop(theirs);
        check_nothing_left(&plugin);
    }
}
