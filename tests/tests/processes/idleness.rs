//! A session in which nothing happens costs nothing.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rapace_session::{CallOptions, Config, NoService, PeerState, StreamingCall};
use rapace_tests::method;
use rapace_tests::stream::{BOTH, next, send};

use crate::support::{Plugin, config, eventually, switches, task_state, tasks, waiting, while_serving};

/// How long nothing may happen. The stretch of time is what is tested.
const WINDOW: Duration = Duration::from_millis(300);

/// How often each thread has been switched away from, of its own will or not.
fn all_switches(tasks: &[PathBuf]) -> Vec<[u64; 2]> {
    tasks
        .iter()
        .map(|task| ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].map(|name| switches(task, name)))
        .collect()
}

/// After some calls, neither process has a thread that runs.
#[track_caller]
fn check_idle(config: Config, arguments: &[&str], plugin_threads: usize) {
    check_idle_with(config, arguments, plugin_threads, |_| ());
}

/// The same, with something that stays open.
#[track_caller]
fn check_idle_with<T>(config: Config, arguments: &[&str], plugin_threads: usize, open: impl FnOnce(&Plugin) -> T) {
    let plugin = Plugin::start_with(config, arguments, NoService);
    let _open = open(&plugin);
    while_serving(&plugin, |server| {
        let server_task = PathBuf::from(format!("/proc/self/task/{server}"));
        for _ in 0..10 {
            assert_eq!(plugin.try_call(method::ECHO, b"busy").unwrap(), b"busy");
        }
        let mut watched = Vec::new();
        eventually("both sides sleep", || {
            // The threads that measure the machine have ended by then.
            watched = tasks(plugin.pid());
            let there = watched.len() == plugin_threads;
            watched.push(server_task.clone());
            there
                && watched.iter().all(|task| task_state(task) == Some('S'))
                && plugin.peer_state() == PeerState::Dormant
        });
        // A bell that was on its way when the last call ended is read late.
        let mut before = all_switches(&watched);
        eventually("nothing is on its way any more", || {
            thread::sleep(WINDOW / 10);
            let now = all_switches(&watched);
            let settled = now == before;
            before = now;
            settled
        });
        thread::sleep(WINDOW);
        assert_eq!(all_switches(&watched), before, "switches of the plugin's threads, and of the host's");
    });
}

#[test]
fn an_idle_session_makes_no_wake_ups() {
    check_idle(config(), &["serve"], 1);
}

#[test]
fn an_idle_session_with_more_threads_makes_no_wake_ups() {
    check_idle(waiting(rapace_session::WaitStrategy::Park), &["serve", "threads=3", "wait=park"], 3);
}

#[test]
fn an_idle_session_with_a_short_liveness_timeout_makes_no_wake_ups() {
    let mut config = config();
    config.timeouts.liveness = WINDOW / 30;
    check_idle(config, &["serve", "liveness=10"], 1);
}

/// A stream on which an item has gone there and back, and of which more are to come.
fn open_stream(plugin: &Plugin) -> StreamingCall {
    plugin.block_on(async {
        let call = plugin.caller().open(method::ECHO_ITEMS, b"", BOTH, &CallOptions::new()).await.unwrap();
        send(&call, b"there and back").await.unwrap();
        assert_eq!(*next(&call).await.unwrap(), *b"there and back");
        call
    })
}

/// A caller that waits looks once per liveness timeout whether its peer still lives.
fn judging_late(config: Config) -> Config {
    let mut config = config;
    config.timeouts.liveness = 1000 * WINDOW;
    config
}

#[test]
fn an_idle_stream_makes_no_wake_ups() {
    check_idle_with(judging_late(config()), &["serve"], 1, open_stream);
    let parking = judging_late(waiting(rapace_session::WaitStrategy::Park));
    check_idle_with(parking, &["serve", "threads=3", "wait=park"], 3, open_stream);
}

#[test]
fn an_idle_stream_of_a_plugin_of_tasks_makes_no_wake_ups() {
    check_idle_with(judging_late(config()), &["serve", "tokio=1"], 3, open_stream);
}
