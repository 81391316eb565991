//! Calls that are answered otherwise.

use super::*;

#[test]
fn a_corrupt_reply_is_an_error_of_that_call_only() {
    Pair::both("seed=3; corrupt of test.Store.get times 40", |pair| {
        let client = pair.client(LONG);
        let value: Vec<u32> = (0..40).map(|number| number * 1_000).collect();
        assert_eq!(client.put(text("a"), value.clone()), Ok(40));
        let replies: Vec<_> = (0..40).map(|_| client.get(text("a"))).collect();
        let errors: Vec<_> = replies.iter().filter_map(|reply| reply.as_ref().err()).cloned().collect();
        assert!(errors.len() > 10, "most corrupt replies are none: {replies:?}");
        for error in errors {
            let status = status(error);
            assert_eq!(status.code, Code::DataLoss);
            assert!(status.message.contains("the reply of test.Store.get"), "{status}");
        }
        assert!(replies.iter().all(|reply| reply.as_ref() != Ok(&value)));
        assert_eq!(client.get(text("a")), Ok(value));
        assert!(pair.plugin.session().unwrap().is_peer_alive());
    });
}

#[test]
fn a_corrupt_request_is_what_the_handler_gets() {
    Pair::both("seed=3; corrupt-request of test.Store.put times 40", |pair| {
        let client = pair.client(LONG);
        let replies: Vec<_> = (0..40).map(|_| client.put(text("a"), vec![1, 2, 3])).collect();
        let errors: Vec<_> = replies.iter().filter_map(|reply| reply.clone().err()).collect();
        assert!(errors.len() > 10, "{replies:?}");
        for error in errors {
            let status = status(error);
            assert_eq!(status.code, Code::InvalidArgument);
            assert!(status.message.contains("the request of test.Store.put"), "{status}");
        }
        assert_eq!(client.put(text("b"), vec![1, 2, 3]), Ok(3));
    });
}

#[test]
fn large_messages_are_corrupted_too() {
    let bytes = vec![0x5a; 300_000];
    for plan in ["corrupt of test.Store.echo times 1", "corrupt-request of test.Store.echo times 1"] {
        Pair::both(plan, |pair| {
            let client = pair.client(LONG);
            assert_ne!(client.echo(&bytes).as_ref(), Ok(&bytes), "{plan}");
            assert_eq!(client.echo(&bytes).as_ref(), Ok(&bytes), "{plan}");
        });
    }
}

#[test]
fn an_exhausted_plugin_says_so_and_one_without_room_is_noticed_by_the_caller() {
    let plan = "exhaust of test.Store.get times 1";
    let pair = Pair::serving(plan);
    let status = status(pair.client(LONG).get(text("a")).unwrap_err());
    assert_eq!(status.code, Code::ResourceExhausted);
    assert_eq!(status.message, "injected fault: exhaust by rule 1: call 1 of test.Store.get from test-host");
    assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));

    let pair = Pair::calling(plan);
    let error = pair.client(SHORT).get(text("a")).unwrap_err();
    assert_eq!(error, CallError::NoRoom { waited: SHORT });
    assert!(!error.may_have_run());
    assert_eq!(pair.client(LONG).get(text("a")), Ok(vec![]));
    assert_eq!(pair.begun(), 1);
}

#[test]
fn an_error_is_answered_in_the_place_of_the_handler() {
    Pair::both("error=PermissionDenied of test.Store.get nth 2", |pair| {
        let client = pair.client(LONG);
        assert_eq!(client.get(text("a")), Ok(vec![]));
        assert_eq!(status(client.get(text("a")).unwrap_err()).code, Code::PermissionDenied);
        assert_eq!(client.get(text("a")), Ok(vec![]));
        assert_eq!(pair.begun(), 2);
    });
}

#[test]
fn tasks_and_started_calls_meet_the_same_faults() {
    let plan = "seed=5; delay=1ms@0.3; error=Aborted@0.3; corrupt@0.3";
    let outcomes = |pair: &Pair| {
        let store = StoreClient::new(&pair.plugin).with_deadline(LONG);
        pair.plugin.as_caller().block_on(async move {
            let mut outcomes = Vec::new();
            for _ in 0..30 {
                outcomes.push(store.put(text("a"), vec![1, 2, 3]).await.map_err(|error| error.code()));
            }
            outcomes
        })
    };
    let (task, thread) = (Pair::calling(plan), Pair::calling(plan));
    let by_thread: Vec<_> =
        (0..30).map(|_| thread.client(LONG).put(text("a"), vec![1, 2, 3]).map_err(|error| error.code())).collect();
    assert_eq!(outcomes(&task).unwrap(), by_thread, "{}", task.faults);
    assert_eq!(task.faults.fates(), thread.faults.fates());
    for code in [Code::Aborted, Code::DataLoss] {
        assert!(by_thread.contains(&Err(code)), "{by_thread:?}");
    }
    // Of one that was started, the reply is what is corrupt.
    let started = Pair::calling("corrupt times 2");
    let session = started.plugin.session().unwrap();
    let options = CallOptions::new();
    for (call, is_whole) in [
        (session.start(begun(), b"", &options), false),
        (session.try_start(begun(), b"", &options), false),
        (session.start(begun(), b"", &options), true),
    ] {
        let reply = call.unwrap().wait().unwrap();
        assert_eq!(*reply.body == *b"\0", is_whole, "{:?}", &*reply.body);
    }
}
