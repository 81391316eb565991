//! Handlers that the executor has: they panic, they never answer, they drop their call.

use rapace_session::{CallError, CallOptions, Code};
use rapace_tests::method;
use rapace_tests::pattern::{word, words};
use rapace_tests::stream::{BOTH, RECEIVES, next, reply};

use crate::streams::start;
use crate::support::{Plugin, config, eventually};

fn each(check: impl Fn(&Plugin)) {
    for arguments in [&["serve"][..], &["serve", "threads=3"], &["serve", "tokio=1"]] {
        let plugin = start(config(), arguments);
        check(&plugin);
        plugin.check_clean();
    }
}

#[track_caller]
fn check_internal(error: &CallError, message: &str) {
    assert!(error.code() == Code::Internal && error.to_string().contains(message), "{error}");
}

#[test]
fn a_handler_that_panics_later_fails_its_call_alone() {
    each(|plugin| {
        let held = plugin.start_call(method::HOLD, b"meanwhile");
        for _ in 0..20 {
            let error = plugin.try_call(method::PANIC_LATER, b"").unwrap_err();
            check_internal(&error, "panicked");
        }
        assert_eq!(plugin.count(method::RELEASE), 1);
        assert_eq!(held.wait().unwrap().body.to_vec(), b"meanwhile");
    });
}

#[test]
fn a_handler_that_drops_its_call_amid_the_items_fails_it_behind_them() {
    each(|plugin| {
        plugin.block_on(async {
            let options = CallOptions::new();
            let call = plugin.caller().open(method::DROP_AMID, &words(&[5000]), RECEIVES, &options).await.unwrap();
            for number in 0..5000 {
                assert_eq!(word(&next(&call).await.unwrap(), 0), number);
            }
            assert!(next(&call).await.is_none());
            check_internal(&reply(&call).await.unwrap_err(), "without an answer");
        });
    });
}

#[test]
fn handlers_that_never_answer_end_when_they_are_cancelled() {
    each(|plugin| {
        const CALLS: u64 = 30;
        let caller = plugin.caller();
        for round in 1..=3 {
            let held = |index| words(&[round * CALLS, round * CALLS - index]);
            let options = CallOptions::new();
            let calls: Vec<_> = (0..CALLS)
                .map(|_| plugin.block_on(caller.open(method::HOLD_ITEMS, b"", BOTH, &options)).unwrap())
                .collect();
            eventually("all have begun", || plugin.ask(method::HELD_ITEMS, &[]) == held(CALLS));
            drop(calls);
            eventually("all have heard of it", || plugin.ask(method::HELD_ITEMS, &[]) == held(0));
        }
    });
}

#[test]
fn a_deadline_ends_a_handler_that_never_answers() {
    each(|plugin| {
        let deadline = std::time::Duration::from_millis(50);
        let options = CallOptions::new().deadline(deadline);
        plugin.block_on(async {
            let call = plugin.caller().open(method::HOLD_ITEMS, b"", BOTH, &options).await.unwrap();
            assert!(next(&call).await.is_none());
            assert_eq!(reply(&call).await.unwrap_err(), CallError::DeadlineExceeded { waited: deadline });
        });
        eventually("the handler has heard of it", || plugin.ask(method::HELD_ITEMS, &[]) == words(&[1, 1]));
    });
}
