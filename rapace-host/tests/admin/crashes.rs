//! What is known of crashes.

use std::time::Duration;

use rapace_session::{CallOptions, Pulse};

use crate::{Stand, eventually};

fn id(method: &str) -> u32 {
    rapace_registry::MethodId::derived("test.Desk", method).get()
}

#[test]
fn the_report_of_a_plugin_that_was_killed_in_a_call_names_the_call() {
    let stand = Stand::new();
    let (session, pid) = (stand.plugin.session().unwrap(), stand.plugin.process_id());
    stand.desk().blocking().print("before", 2).unwrap();
    let secret = "a very secret argument";
    let body = [&[22_u8][..], secret.as_bytes()].concat();
    let waiting = session.start(id("wait"), b"", &CallOptions::new()).unwrap();
    let given_up = session.start(id("wait"), &body, &CallOptions::new()).unwrap();
    drop(given_up);
    eventually("the plugin has taken both", || {
        session.condition().ring_used == Some(0) || {
            drop(stand.desk().blocking().echo(secret));
            false
        }
    });
    drop(session);
    stand.plugin.kill().unwrap();
    waiting.wait().unwrap_err();
    let [crash] = stand.plugin.crashes().try_into().unwrap();
    assert_eq!((crash.process_id, crash.restarts, crash.overruns.len()), (pid, 0, 0));
    assert_eq!((crash.calls.count, crash.served.count), (1, 0), "{crash}");
    let call = &crash.calls.listed[0];
    assert_eq!(
        (&*call.method.clone().unwrap(), call.method_id, call.is_given_up),
        ("test.Desk.wait", id("wait"), false)
    );
    assert!(call.at_least <= call.at_most && call.at_most <= crash.uptime, "{call:?}");
    assert_eq!((crash.segment.peer, crash.segment.faults), (Some(Pulse::Dormant), 0));
    assert!(crash.segment.frames_sent > 3 && crash.segment.slots_free.is_some());
    let told = crash.to_string();
    assert!(told.starts_with("it was killed by signal 9 (SIGKILL) "), "{told}");
    for part in
        ["calls of the host in flight: test.Desk.wait for ", "calls of the plugin in flight: none", "| desk: before 0"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("secret") && !format!("{crash:?}").contains("secret"), "{told}");
    let operator = stand.operator();
    let admin = operator.admin();
    let [summary] = admin.about("desk").unwrap().crashes.try_into().unwrap();
    assert_eq!((summary.process_id, summary.report), (pid, told));
}

#[test]
fn the_age_of_a_call_is_known_while_somebody_looks_after_the_plugin() {
    let stand = Stand::new();
    let desk = stand.desk();
    std::thread::scope(|scope| {
        let called = scope.spawn(|| desk.blocking().wait().unwrap_err());
        eventually("the call is in flight", || stand.plugin.instances()[0].calls_in_flight == 1);
        // Two looks of whoever looks after it, which come with half of the liveness timeout between them.
        let uptime = stand.plugin.instances()[0].uptime;
        eventually("a while has passed", || stand.plugin.instances()[0].uptime > uptime + Duration::from_millis(1600));
        stand.plugin.kill().unwrap();
        called.join().unwrap();
    });
    let [crash] = stand.plugin.crashes().try_into().unwrap();
    let call = &crash.calls.listed[0];
    assert!(call.at_least >= Duration::from_millis(500), "{crash}");
    assert!(call.at_most >= Duration::from_millis(1600) && call.at_most <= crash.uptime, "{crash}");
}

#[test]
fn the_last_crashes_are_kept() {
    let stand = Stand::new();
    for code in 1..=10 {
        stand.desk().blocking().exit(code).unwrap_err();
        eventually("it has crashed", || {
            stand.plugin.crashes().last().is_some_and(|crash| crash.exit.and_then(|exit| exit.code()) == Some(code))
        });
        stand.plugin.restart().unwrap();
    }
    let crashes = stand.plugin.crashes();
    let codes: Vec<_> = crashes.iter().map(|crash| crash.exit.unwrap().code().unwrap()).collect();
    assert_eq!(codes, [3, 4, 5, 6, 7, 8, 9, 10]);
    let last = crashes.last().unwrap();
    assert_eq!((last.restarts, &*last.stderr), (9, "desk: told to exit with 10"));
    // Of its own life alone.
    let own: Vec<_> = last.log.iter().filter(|line| crate::own(line)).map(|line| &*line.text).collect();
    assert_eq!(own, ["desk: told to exit with 10"]);
}
