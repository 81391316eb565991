//! Everybody has a turn: streams among each other, and calls beside streams.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use rapace_session::{CallError, CallOptions, Caller, StreamingCall};
use rapace_tests::pattern::{word, words};
use rapace_tests::stream::{Kind, Load, RECEIVES, SENDS};
use rapace_tests::{join, method};

use crate::streams::start;
use crate::support::{Plugin, config, eventually};

/// Each stream has so many items in the time in which all of them run.
const ENOUGH: u64 = 500;
const DEADLINE: Duration = Duration::from_secs(10);

/// Streams until it is told to stop, and counts.
async fn greedy(caller: Caller, load: Load, items: &AtomicU64, stop: &AtomicBool) -> Result<(), CallError> {
    let (method, streams) = match load.kind {
        Kind::Server => (method::SEND_ITEMS, RECEIVES),
        _ => (method::TAKE_ITEMS, SENDS),
    };
    let call = caller.open(method, &load.body(), streams, &CallOptions::new()).await?;
    poll_fn(|cx| {
        loop {
            if stop.load(Ordering::SeqCst) {
                return Poll::Ready(Ok(()));
            }
            match step(&call, cx, load, items.load(Ordering::SeqCst))? {
                Poll::Ready(()) => items.fetch_add(1, Ordering::SeqCst),
                Poll::Pending => return Poll::Pending,
            };
        }
    })
    .await
}

fn step(call: &StreamingCall, cx: &mut std::task::Context<'_>, load: Load, number: u64) -> Result<Poll<()>, CallError> {
    match load.kind {
        Kind::Server => match call.poll_item(cx) {
            Poll::Ready(Some(item)) => load.check(number, &item).map(Poll::Ready),
            Poll::Ready(None) => Err(CallError::WouldBlock),
            Poll::Pending => Ok(Poll::Pending),
        },
        _ => match call.poll_send(cx, &load.item(number)) {
            Poll::Ready(sent) => sent.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        },
    }
}

/// Eight streams of one thread, that want all they can get, beside calls both ways.
#[track_caller]
fn check_greedy(arguments: &[&str], sizes: [usize; 2]) {
    let plugin = start(config(), arguments);
    let loads: Vec<_> = (0..8)
        .map(|index| {
            let kind = if index < 4 { Kind::Server } else { Kind::Client };
            Load { kind, count: u64::MAX, bytes: sizes[index % 2], seed: 7 }
        })
        .collect();
    let counts: Vec<_> = loads.iter().map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    let enough = || counts.iter().all(|count| count.load(Ordering::SeqCst) >= ENOUGH);
    thread::scope(|scope| {
        let streams = scope.spawn(|| {
            let jobs = loads.iter().zip(&counts).map(|(load, count)| {
                let job: join::Job<'_, _> = Box::pin(greedy(plugin.caller(), *load, count, &stop));
                job
            });
            plugin.block_on(join::all(jobs.collect()))
        });
        eventually("all streams run", || counts.iter().all(|count| count.load(Ordering::SeqCst) > 0));
        let calls = scope.spawn(|| call_often(&plugin, 300));
        let theirs = scope.spawn(|| {
            let options = CallOptions::new().deadline(DEADLINE);
            plugin.call(method::CALL_HOST, &words(&[2, 100, method::ECHO.into(), 3000]), &options)
        });
        let (calls, theirs) = (calls.join(), theirs.join());
        let started = std::time::Instant::now();
        while !enough() && started.elapsed() < DEADLINE {
            thread::park_timeout(rapace_tests::service::REST);
        }
        let counted: Vec<_> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        stop.store(true, Ordering::SeqCst);
        streams.join().unwrap().into_iter().for_each(|outcome| outcome.unwrap());
        calls.unwrap();
        assert_eq!(word(&theirs.unwrap().unwrap().body, 0), 200, "calls of the plugin");
        assert!(counted.iter().all(|count| *count >= ENOUGH), "{counted:?}");
    });
    plugin.check_clean();
}

fn call_often(plugin: &Plugin, calls: usize) {
    let options = CallOptions::new().deadline(DEADLINE);
    for round in 0..calls {
        let body = vec![7; if round.is_multiple_of(2) { 10 } else { 5000 }];
        assert!(plugin.call(method::ECHO, &body, &options).unwrap().body == body[..]);
    }
}

#[test]
fn greedy_streams_and_calls_get_on_together() {
    check_greedy(&["serve"], [100, 100]);
}

#[test]
fn greedy_streams_of_large_items_and_of_small_ones_get_on_together() {
    check_greedy(&["serve"], [20, 30_000]);
}

#[test]
fn greedy_streams_get_on_with_a_plugin_of_tasks() {
    check_greedy(&["serve", "tokio=1"], [100, 5000]);
}

#[test]
fn the_only_thread_of_a_host_serves_beside_its_greedy_streams() {
    for arguments in [&["serve"][..], &["serve", "tokio=1"]] {
        let plugin = start(config(), arguments);
        let (counts, stop) = ([(); 8].map(|()| AtomicU64::new(0)), AtomicBool::new(false));
        let mut jobs: Vec<join::Job<'_, Result<(), CallError>>> = Vec::new();
        for (index, count) in counts.iter().enumerate() {
            let kind = if index < 6 { Kind::Server } else { Kind::Client };
            let load = Load { kind, count: u64::MAX, bytes: 100, seed: 7 };
            jobs.push(Box::pin(greedy(plugin.caller(), load, count, &stop)));
        }
        jobs.push(Box::pin(async {
            let arguments = words(&[2, 200, method::ECHO.into(), 100]);
            let options = CallOptions::new().deadline(DEADLINE);
            let reply = plugin.caller().call(method::CALL_HOST, &arguments, &options).await;
            stop.store(true, Ordering::SeqCst);
            assert_eq!(word(&reply?.body, 0), 400, "calls of the plugin");
            Ok(())
        }));
        plugin.block_on(join::all(jobs)).into_iter().for_each(|outcome| outcome.unwrap());
        plugin.check_clean();
    }
}

/// So many threads keep the plugin's only one busy with such calls, and a stream gets on all the same.
#[track_caller]
fn check_flood(method: u32, body: &[u8], items: u64) {
    let plugin = start(config(), &["serve"]);
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = Load { kind: Kind::Server, count: u64::MAX, bytes: 100, seed: 7 };
    thread::scope(|scope| {
        let stream = scope.spawn(|| plugin.block_on(greedy(plugin.caller(), load, &count, &stop)));
        let floods: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let calls: Vec<_> = (0..16).map(|_| plugin.start_call(method, body)).collect();
                        calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
                    }
                })
            })
            .collect();
        let start = std::time::Instant::now();
        while count.load(Ordering::SeqCst) < items && start.elapsed() < DEADLINE {
            thread::park_timeout(rapace_tests::service::REST);
        }
        stop.store(true, Ordering::SeqCst);
        floods.into_iter().for_each(|flood| flood.join().unwrap());
        stream.join().unwrap().unwrap();
        let count = count.load(Ordering::SeqCst);
        assert!(count >= items, "{count} items beside calls");
    });
    plugin.check_clean();
}

#[test]
fn a_flood_of_calls_does_not_stop_a_stream() {
    check_flood(method::ECHO, b"flood", 20_000);
}

#[test]
fn a_flood_of_calls_that_take_time_does_not_stop_a_stream() {
    // There is always one that waits for the plugin's thread.
    check_flood(method::COMPUTE, &words(&[1, 0]), 5000);
}
