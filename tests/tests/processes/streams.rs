//! Streams of every kind, both ways at once, next to calls without (SPEC section 11, Credits).

use std::sync::Arc;

use rapace_core::GeometryConfig;
use rapace_session::tokio::AsyncSession;
use rapace_session::{CallOptions, Config, Session, WaitStrategy};
use rapace_tests::pattern::{word, words};
use rapace_tests::service::Service;
use rapace_tests::stream::{Kind, Load};
use rapace_tests::{join, method};

use crate::support::{FEW_DESCRIPTORS, FEW_SLOTS, Plugin, config, waiting};

/// What runs a host's futures.
#[derive(Clone, Copy, Debug)]
enum Runs {
    Threads,
    Tokio,
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn start(config: Config, arguments: &[&str]) -> Plugin {
    Plugin::start_with(config, arguments, Arc::new(Service::default()).router())
}

fn with(geometry: GeometryConfig) -> Config {
    Config { geometry, ..config() }
}

/// Makes calls of all kinds at once, and has the plugin make as many.
async fn load_both_ways(session: Session<rapace_session::PeerA>, calls: usize, count: u64, bytes: usize) {
    let caller = session.caller();
    let arguments = words(&[calls as u64, count, bytes as u64]);
    let theirs = caller.start(method::LOAD_HOST, &arguments, &CallOptions::new()).await.unwrap();
    let jobs = Load::mixed(calls, count, bytes).into_iter().map(|load| load.job(caller.clone())).collect();
    join::all(jobs).await.into_iter().for_each(|outcome| outcome.unwrap());
    assert_eq!(word(&theirs.await.unwrap().body, 0), calls as u64, "calls of the plugin");
}

#[track_caller]
fn check_load(plugin: &Plugin, runs: Runs, calls: usize, count: u64, bytes: usize) {
    let session = Session::clone(plugin);
    match runs {
        Runs::Threads => plugin.block_on(load_both_ways(session, calls, count, bytes)),
        Runs::Tokio => runtime().block_on(async {
            let _attended = AsyncSession::new(session.clone()).unwrap();
            tokio::spawn(load_both_ways(session, calls, count, bytes)).await.unwrap();
            check_clean_in_tokio(plugin).await;
        }),
    }
    if matches!(runs, Runs::Threads) {
        plugin.check_clean();
    }
}

/// As [`Plugin::check_clean`], which is for threads, while the runtime is still there.
async fn check_clean_in_tokio(plugin: &Plugin) {
    tokio::task::block_in_place(|| plugin.check_clean());
}

#[test]
fn every_kind_carries_items_of_all_sizes() {
    let plugin = start(config(), &["serve"]);
    // Half of the segment is two MiB.
    for (count, bytes) in
        [(0, 0), (9, 0), (9, 1), (9, 24), (9, 25), (200, 4096), (20, 4097), (5, 100_000), (2, 3 << 20)]
    {
        for kind in Kind::ALL {
            let load = Load { kind, count, bytes, seed: 7 };
            plugin.block_on(load.run(plugin.caller())).unwrap_or_else(|error| panic!("{load:?}: {error}"));
        }
        assert_eq!(plugin.ask(method::LOAD_HOST, &[4, count, bytes as u64]), words(&[4]), "{count} items of {bytes}");
    }
    plugin.check_clean();
}

#[test]
fn calls_of_all_kinds_share_a_session() {
    for (arguments, runs) in [(&["serve"][..], Runs::Threads), (&["serve", "tokio=1"], Runs::Tokio)] {
        for (calls, count, bytes) in [(1, 300, 5000), (16, 100, 5000), (64, 30, 50_000)] {
            // A runtime that ends closes its session.
            check_load(&start(config(), arguments), runs, calls, count, bytes);
        }
    }
}

#[test]
fn calls_of_all_kinds_share_the_smallest_segments() {
    for geometry in [FEW_SLOTS, FEW_DESCRIPTORS] {
        for (arguments, runs) in [(&["serve"][..], Runs::Tokio), (&["serve", "tokio=1"], Runs::Threads)] {
            for (calls, count, bytes) in [(1, 50, 20_000), (16, 20, 3000), (64, 10, 700)] {
                check_load(&start(with(geometry), arguments), runs, calls, count, bytes);
            }
        }
    }
}

#[test]
fn calls_of_all_kinds_share_a_session_of_many_threads() {
    let plugin = start(config(), &["serve", "threads=3"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| plugin.block_on(load_both_ways(Session::clone(&plugin), 16, 30, 3000)));
        }
    });
    plugin.check_clean();
}

#[test]
fn streams_of_sleepers_get_on() {
    let plugin = start(waiting(WaitStrategy::Park), &["serve", "wait=park"]);
    check_load(&plugin, Runs::Threads, 16, 100, 3000);
    let plugin = start(waiting(WaitStrategy::Park), &["serve", "wait=park", "tokio=1"]);
    check_load(&plugin, Runs::Tokio, 16, 100, 3000);
}
