//! Calls with items that are given up: all is back where it was, on both sides, and so is the credit of the next call.

use std::task::{Context, Poll, Waker};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
use rapace_core::GeometryConfig;
use rapace_session::{CallOptions, Config, NoService, PeerState};
use rapace_tests::cancel::{Point, WINDOW_ITEMS};
use rapace_tests::method;
use rapace_tests::pattern::{word, words};
use rapace_tests::stream::{RECEIVES, SENDS, send};

use crate::streams::start;
use crate::support::{FEW_DESCRIPTORS, FEW_SLOTS, Plugin, config, eventually};

const ROUNDS: usize = 3;

/// Gives up calls of one side at every point.
#[track_caller]
fn check_points(geometry: GeometryConfig, arguments: &[&str], cancel: impl Fn(&Plugin, Point) -> u64) {
    let plugin = start(Config { geometry, ..config() }, arguments);
    for point in Point::ALL {
        let mut credits = Vec::new();
        for _ in 0..ROUNDS {
            credits.push(cancel(&plugin, point));
            plugin.check_clean();
        }
        let (least, most) = match point {
            Point::NoCreditUp => (WINDOW_ITEMS, WINDOW_ITEMS),
            // What is kept of the items is a little more.
            Point::NoCreditDown => (WINDOW_ITEMS, WINDOW_ITEMS + WINDOW_ITEMS / 7),
            _ => (0, 0),
        };
        assert!(credits.iter().all(|credit| (least..=most).contains(credit)), "{point:?}: {credits:?}");
    }
    let held = plugin.ask(method::HELD_ITEMS, &[]);
    assert_eq!(word(&held, 0), word(&held, 1), "handlers that were begun, and that heard of it");
}

fn of_the_host(plugin: &Plugin, point: Point) -> u64 {
    let caller = plugin.caller();
    plugin.block_on(point.cancel(&caller, || plugin.stats())).unwrap_or_else(|error| panic!("{point:?}: {error}"))
}

fn of_the_plugin(plugin: &Plugin, point: Point) -> u64 {
    let index = Point::ALL.iter().position(|other| *other == point).unwrap();
    let credit = plugin.try_call(method::CANCEL_TO_HOST, &words(&[index as u64]));
    word(&credit.unwrap_or_else(|error| panic!("{point:?}: {error}")), 0)
}

#[test]
fn a_host_gives_up_at_every_point() {
    check_points(GeometryConfig::default(), &["serve"], of_the_host);
}

#[test]
fn a_host_of_tokios_plugin_gives_up_at_every_point() {
    check_points(GeometryConfig::default(), &["serve", "tokio=1"], of_the_host);
}

#[test]
fn a_host_gives_up_at_every_point_in_the_smallest_segments() {
    check_points(FEW_SLOTS, &["serve"], of_the_host);
    check_points(FEW_DESCRIPTORS, &["serve"], of_the_host);
}

#[test]
fn a_plugin_gives_up_at_every_point() {
    check_points(GeometryConfig::default(), &["serve"], of_the_plugin);
    check_points(FEW_SLOTS, &["serve", "tokio=1"], of_the_plugin);
}

#[test]
fn a_caller_that_waits_for_room_gives_up() {
    const WINDOW: usize = 64 << 20;
    let plugin = Plugin::start(&["serve", "window=67108864"]);
    for _ in 0..ROUNDS {
        let call = plugin.block_on(async {
            let call = plugin.caller().open(method::HOLD_ITEMS, b"", SENDS, &CallOptions::new()).await.unwrap();
            send(&call, b"credit has come").await.unwrap();
            call
        });
        eventually("the plugin is dormant", || plugin.peer_state() == PeerState::Dormant);
        plugin.signal(SIGSTOP);
        let (item, mut sent) = ([7; 5000], 0);
        while let Poll::Ready(outcome) = call.poll_send(&mut Context::from_waker(Waker::noop()), &item) {
            outcome.unwrap();
            sent += 1;
            assert!(sent * item.len() < WINDOW, "there is no end of room");
        }
        drop(call);
        plugin.signal(SIGCONT);
        plugin.check_clean();
    }
}

#[test]
fn a_callee_that_waits_for_room_is_given_up() {
    let mut config = config();
    config.limits.stream_window_bytes = 64 << 20;
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    for _ in 0..ROUNDS {
        let (caller, arguments, options) = (plugin.caller(), words(&[u64::MAX, 5000, 0]), CallOptions::new());
        let call = plugin.block_on(caller.open(method::SEND_ITEMS, &arguments, RECEIVES, &options)).unwrap();
        // Nobody takes frames here until it can send no more.
        eventually("the plugin has no room", || {
            let states = crate::support::task_states(plugin.pid());
            plugin.peer_state() == PeerState::Dormant && states.iter().all(|state| *state == 'S')
        });
        drop(call);
        plugin.check_clean();
    }
}
