//! Channels that are used over and over (SPEC C1).

use std::collections::VecDeque;

use rapace_session::{NoService, WaitStrategy};
use rapace_tests::method;

use crate::support::{Plugin, config, waiting};

#[test]
fn a_hundred_thousand_calls_share_one_channel_index() {
    let plugin = Plugin::start_with(waiting(WaitStrategy::Adaptive), &["serve", "calls=1"], NoService);
    for round in 0..100_000u32 {
        assert_eq!(plugin.try_call(method::ECHO, &round.to_le_bytes()).unwrap(), round.to_le_bytes());
    }
    let snapshot = plugin.snapshot();
    assert_eq!((snapshot.frames_sent, snapshot.faults), (100_002, 0), "a hello and an acceptance beside the calls");
    plugin.check_clean();
}

#[test]
fn five_thousand_calls_with_sixty_four_in_flight() {
    let plugin = Plugin::start_with(config(), &["serve", "calls=64"], NoService);
    let mut in_flight = VecDeque::new();
    for round in 0..5000u32 {
        if in_flight.len() == 64 {
            check_next(&mut in_flight);
        }
        in_flight.push_back((round, plugin.start_call(method::ECHO, &round.to_le_bytes())));
    }
    while !in_flight.is_empty() {
        check_next(&mut in_flight);
    }
    plugin.check_clean();
}

fn check_next(in_flight: &mut VecDeque<(u32, rapace_session::PendingCall)>) {
    let (round, call) = in_flight.pop_front().unwrap();
    assert_eq!(call.wait().unwrap().body.to_vec(), round.to_le_bytes());
}
