//! Calls that take longer, or for ever.

use super::*;

#[test]
fn a_delayed_call_takes_so_long() {
    Pair::both("delay=300ms of test.Store.get nth 1", |pair| {
        let start = Instant::now();
        assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
        assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    });
}

#[test]
fn others_do_not_wait_for_a_delayed_or_a_dropped_call() {
    for plan in ["delay=3600s of test.Store.get", "drop of test.Store.get"] {
        Pair::both(plan, |pair| {
            let store = StoreClient::new(&pair.plugin).with_deadline(LONG);
            let outcome = pair.plugin.as_caller().block_on(async {
                // The one that is delayed is sent first.
                match select(pin!(store.get(text("a"))), pin!(store.put(text("b"), vec![1]))).await {
                    Either::Left(_) => None,
                    Either::Right((put, _)) => Some(put),
                }
            });
            assert_eq!(outcome.unwrap(), Some(Ok(1)));
        });
    }
}

#[test]
fn a_deadline_passes_within_a_delay() {
    Pair::both("delay=3600s of test.Store.get nth 1", |pair| {
        assert_eq!(pair.client(SHORT).get(text("a")), Err(CallError::DeadlineExceeded { waited: SHORT }));
        assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
    });
    Pair::both("delay=3600s of test.Store.get nth 1", |pair| {
        let store = StoreClient::new(&pair.plugin).with_deadline(SHORT);
        let outcome = pair.plugin.as_caller().block_on(async { store.get(text("a")).await }).unwrap();
        assert_eq!(outcome, Err(CallError::DeadlineExceeded { waited: SHORT }));
    });
}

#[test]
fn a_delay_is_part_of_the_time_of_which_the_handler_is_told() {
    Pair::both("delay=300ms of test.Store.left", |pair| {
        let bound = (LONG.as_millis() - 300).try_into().unwrap();
        let left = pair.client(LONG).left().unwrap();
        assert!(left <= bound, "{left}");
        let store = StoreClient::new(&pair.plugin).with_deadline(LONG);
        let left = pair.plugin.as_caller().block_on(async { store.left().await }).unwrap().unwrap();
        assert!(left <= bound, "{left}");
    });
}

#[test]
fn a_dropped_call_ends_by_its_deadline_and_leaves_nothing() {
    Pair::both("drop of test.Store.get times 2", |pair| {
        for _ in 0..2 {
            assert_eq!(pair.client(SHORT).get(text("a")), Err(CallError::DeadlineExceeded { waited: SHORT }));
        }
        assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
        assert_eq!(pair.begun(), 1, "the dropped ones never began");
        let start = Instant::now();
        // Those that the plugin has dropped are over when it has said so.
        while pair.plugin.session().unwrap().stats().calls_in_flight > 0 {
            assert!(start.elapsed() < LONG);
            assert!(pair.client(LONG).begun().is_ok());
        }
    });
}

#[test]
fn a_dropped_call_ends_with_the_session() {
    Pair::both("drop of test.Store.get", |pair| {
        let client = StoreClient::new(&pair.plugin).with_deadline(LONG);
        let error = std::thread::scope(|scope| {
            let call = scope.spawn(|| client.blocking().get(text("a")));
            // The call is under way or not: both end with the process.
            assert_eq!(pair.client(LONG).put(text("b"), vec![1]), Ok(1));
            pair.plugin.session().unwrap().reap(Duration::ZERO);
            call.join().unwrap().unwrap_err()
        });
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
    Pair::both("drop of test.Store.get", |pair| {
        let store = StoreClient::new(&pair.plugin).with_deadline(LONG);
        let outcome = pair.plugin.as_caller().block_on(async {
            let end = async {
                pair.plugin.session().unwrap().reap(Duration::ZERO);
            };
            futures_util::future::join(store.get(text("a")), end).await.0
        });
        assert_eq!(outcome.unwrap().unwrap_err().code(), Code::Unavailable);
    });
}

#[test]
fn who_never_waits_is_told_that_there_is_no_room() {
    let pair = Pair::calling("delay=1ms times 1; drop times 1; exhaust times 1; error=Aborted times 1");
    let session = pair.plugin.session().unwrap();
    let started = || session.try_start(begun(), b"", &CallOptions::new());
    for _ in 0..3 {
        assert_eq!(started().unwrap_err(), CallError::WouldBlock);
    }
    assert_eq!(started().unwrap_err().code(), Code::Aborted);
    assert!(started().unwrap().wait().is_ok());
}

#[test]
fn a_task_that_waits_for_a_dropped_call_ends_by_its_deadline() {
    Pair::both("drop of test.Store.get; exhaust of test.Store.put", |pair| {
        let store = StoreClient::new(&pair.plugin).with_deadline(SHORT);
        let outcome = pair.plugin.as_caller().block_on(async { store.get(text("a")).await }).unwrap();
        assert_eq!(outcome, Err(CallError::DeadlineExceeded { waited: SHORT }));
        let outcome = pair.plugin.as_caller().block_on(async { store.put(text("a"), vec![]).await }).unwrap();
        assert!(matches!(outcome.unwrap_err().code(), Code::ResourceExhausted | Code::DeadlineExceeded));
    });
}

#[test]
fn a_host_that_serves_late_or_never_serves_others_meanwhile() {
    // The host's handlers run on its runtime, the plugin's on the thread that serves.
    Pair::both("delay=100ms of test.Back.increment nth 1; drop of test.Back.increment nth 2", |pair| {
        let start = Instant::now();
        assert_eq!(pair.client(LONG).ask(1), Ok(2));
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        assert_eq!(pair.client(SHORT).ask(1), Err(Error::Call(CallError::DeadlineExceeded { waited: SHORT })));
        assert_eq!(pair.client(LONG).ask(1), Ok(2));
        assert_eq!(pair.client(LONG).put(text("a"), vec![1]), Ok(1));
    });
}
