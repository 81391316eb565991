//! A reader that is slow bounds its sender, and what both of them keep.

use std::task::Poll;

use nix::unistd::Pid;
use rapace_session::CallOptions;
use rapace_tests::pattern::word;
use rapace_tests::stream::{Kind, Load, RECEIVES, SENDS, reply, send};
use rapace_tests::{join, method, slow};

use crate::streams::start;
use crate::support::{Plugin, config};

/// Of so many items each way.
const MANY: u64 = 1_000_000;
/// Default of the limit.
const WINDOW: u64 = 256 << 10;

/// The most memory that a process has had so far.
fn peak_bytes(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Each way so many small items; gives the most bytes that each reader kept.
fn stream_both_ways(plugin: &Plugin, count: u64) -> (u64, u64) {
    let load = Load { kind: Kind::Server, count, bytes: 8, seed: 7 };
    let caller = plugin.caller();
    let down = async {
        let call = caller.open(method::SEND_ITEMS, &load.body(), RECEIVES, &CallOptions::new()).await?;
        let kept = || plugin.stats().inbound_bytes;
        let taken = slow::take_slowly(load, |cx| call.poll_item(cx).map(Ok), kept).await?;
        reply(&call).await.map(|_| taken)
    };
    let up = async {
        let call = caller.open(method::TAKE_SLOWLY, &load.body(), SENDS, &CallOptions::new()).await?;
        for number in 0..count {
            send(&call, &load.item(number)).await?;
        }
        call.finish();
        let reply = reply(&call).await?;
        Ok((word(&reply.body, 0), word(&reply.body, 1)))
    };
    let jobs: Vec<join::Job<'_, Result<(u64, u64), rapace_session::CallError>>> = vec![Box::pin(down), Box::pin(up)];
    let outcomes = plugin.block_on(join::all(jobs));
    let most: Vec<u64> = outcomes
        .into_iter()
        .map(|outcome| {
            let (taken, most) = outcome.unwrap();
            assert_eq!(taken, count);
            most
        })
        .collect();
    (most[0], most[1])
}

#[test]
fn a_million_items_each_way_take_no_more_memory_than_a_few() {
    let plugin = start(config(), &["serve"]);
    // Both ends have touched what they need.
    stream_both_ways(&plugin, MANY / 50);
    let peak = peak_bytes(plugin.pid());
    let most = stream_both_ways(&plugin, MANY);
    for kept in [most.0, most.1] {
        // A reader that keeps nothing has not been slow.
        assert!((slow::LAG as u64..=2 * WINDOW).contains(&kept), "{kept}");
    }
    // The plugin's alone: this process runs other tests, too.
    let grown = peak_bytes(plugin.pid()) - peak;
    assert!(grown < 1 << 20, "the plugin has grown by {grown} bytes");
    plugin.check_clean();
}

#[test]
fn a_reader_that_takes_nothing_keeps_a_window_and_holds_nobody_up() {
    let plugin = start(config(), &["serve"]);
    let load = Load { kind: Kind::Server, count: u64::MAX, bytes: 1000, seed: 7 };
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (caller, options) = (plugin.caller(), CallOptions::new());
            plugin.block_on(async { caller.open(method::SEND_ITEMS, &load.body(), RECEIVES, &options).await.unwrap() })
        })
        .collect();
    // A thousand bytes cost 64 more.
    let full = usize::try_from(WINDOW.div_ceil(1064)).unwrap() * 1000 * calls.len();
    crate::support::eventually("all windows are full", || {
        plugin.try_call(method::ECHO, &[7; 5000]).unwrap();
        plugin.stats().inbound_bytes >= full
    });
    for _ in 0..100 {
        plugin.try_call(method::ECHO, &[7; 5000]).unwrap();
    }
    let kept = plugin.stats().inbound_bytes;
    // The queues take some, too.
    assert!((full..full + full / 4).contains(&kept), "{kept} of {full}");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for call in &calls {
        let Poll::Ready(Some(item)) = call.poll_item(&mut context) else { panic!("there are items") };
        load.check(0, &item).unwrap();
    }
    drop(calls);
    plugin.check_clean();
}
