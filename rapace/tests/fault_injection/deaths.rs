//! Plugins that die at a call.

use super::*;

#[test]
fn a_plugin_is_killed_at_a_call_and_serves_again_when_it_is_restarted() {
    for action in ["kill", "kill-after"] {
        Pair::both(&format!("{action} of test.Store.get nth 2"), |pair| {
            let client = pair.client(LONG);
            assert_eq!(client.get(text("a")), Ok(vec![]));
            pair.is_killed(&client.get(text("a")).unwrap_err());
            pair.plugin.restart().unwrap();
            assert_eq!(client.get(text("a")), Ok(vec![]));
        });
    }
}

#[test]
fn a_plugin_that_is_killed_by_a_plan_of_its_own_says_so_at_last() {
    let pair = Pair::serving("kill of test.Store.get");
    pair.is_killed(&pair.client(LONG).get(text("a")).unwrap_err());
    let stderr = pair.crash_report().stderr;
    assert!(stderr.contains("injected fault: kill by rule 1: call 1 of test.Store.get from test-host"), "{stderr}");
}

#[test]
fn a_stream_is_torn_by_death_or_goes_on_later() {
    let pair = Pair::serving("kill of test.Store.numbers item 4");
    let numbers: Vec<_> = pair.client(LONG).numbers(10).unwrap().collect();
    let (last, before) = numbers.split_last().unwrap();
    assert!(before.iter().map(|item| item.clone().unwrap()).eq(0..3), "{numbers:?}");
    pair.is_killed(last.as_ref().unwrap_err());

    let pair = Pair::serving("delay=200ms of test.Store.numbers item 4");
    let start = Instant::now();
    let mut numbers = pair.client(LONG).numbers(6).unwrap();
    assert!(numbers.by_ref().take(3).map(Result::unwrap).eq(0..3));
    assert!(numbers.map(Result::unwrap).eq(3..6));
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());

    // A call with a stream is delayed, dropped and failed as a whole.
    let pair = Pair::calling("drop of test.Store.numbers nth 1; delay=1ms of test.Store.numbers nth 2");
    let dropped = pair.client(SHORT).numbers(3).map(|_| ());
    assert_eq!(dropped, Err(CallError::DeadlineExceeded { waited: SHORT }));
    assert!(pair.client(LONG).numbers(3).unwrap().map(Result::unwrap).eq(0..3));
}
