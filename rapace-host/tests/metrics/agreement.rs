//! Counts that agree with what a test did, call by call.

use std::time::Duration;

use rapace_host::{Breaker, CallerSide, OTHER_METHODS, PluginHandle, PluginState, Supervision};
use rapace_session::{CallError, CallOptions, Code, Observe};

use super::plugin::{ASK, ECHO, FAIL, PRINT, WAIT};
use super::{ASKED, builder, counted, eventually, spec};

fn ask(plugin: &PluginHandle, method: u32, body: &[u8]) {
    plugin.call(ASK, &[&method.to_le_bytes(), body].concat(), &CallOptions::new()).unwrap();
}

#[test]
fn each_call_is_counted_by_its_method_and_by_how_it_ended() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("one")).unwrap();
    let options = CallOptions::new();
    for bytes in [0, 24, 25, 5000, 2_000_000] {
        plugin.call(ECHO, &vec![7; bytes], &options).unwrap();
    }
    for code in [5, 13, 5, 16] {
        plugin.call(FAIL, &[code], &options).unwrap_err();
    }
    drop(plugin.session().unwrap().start(WAIT, b"cancelled", &options).unwrap());
    let late = CallOptions::new().deadline(Duration::from_millis(1));
    plugin.call(WAIT, b"late", &late).unwrap_err();
    let lost = plugin.session().unwrap().start(WAIT, b"lost", &options).unwrap();

    let echo = counted(&plugin, CallerSide::Host, "test.Plugin.echo");
    assert_eq!((echo.ok, echo.failed(), echo.in_flight, echo.id), (5, 0, 0, Some(ECHO)));
    assert_eq!((echo.request_bytes, echo.reply_bytes), (2_005_049, 2_005_049));
    let fail = counted(&plugin, CallerSide::Host, "test.Plugin.fail");
    assert_eq!((fail.ok, fail.calls(), fail.request_bytes, fail.reply_bytes), (0, 4, 4, 0));
    let codes = [Code::NotFound, Code::Internal, Code::Unauthenticated].map(|code| fail.failed_with(code));
    assert_eq!(codes, [2, 1, 1]);
    let wait = counted(&plugin, CallerSide::Host, "test.Plugin.wait");
    assert_eq!((wait.failed_with(Code::Cancelled), wait.failed_with(Code::DeadlineExceeded)), (1, 1));
    assert_eq!((wait.calls(), wait.in_flight, wait.request_bytes), (2, 1, 17));

    plugin.kill();
    assert!(matches!(lost.wait(), Err(CallError::SessionEnded { .. })));
    let wait = counted(&plugin, CallerSide::Host, "test.Plugin.wait");
    assert_eq!((wait.calls(), wait.in_flight, wait.failed_with(Code::Unavailable)), (3, 0, 1));
    assert!(matches!(plugin.call(ECHO, b"nobody is there", &options), Err(CallError::Refused { .. })));
    let stats = plugin.stats();
    assert_eq!((stats.state, stats.processes), (PluginState::Crashed, 0));
    assert_eq!(stats.refused, [("Unavailable".to_owned(), 1)].into());
    assert_eq!(counted(&plugin, CallerSide::Host, "test.Plugin.echo"), echo);
}

#[test]
fn calls_by_the_plugin_are_counted_too() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("asker")).unwrap();
    for body in [&b"abc"[..], b"", &[7; 4000]] {
        ask(&plugin, ASKED, body);
    }
    ask(&plugin, 77, b"unknown");
    let asked = counted(&plugin, CallerSide::Plugin, "test.Host.asked");
    assert_eq!((asked.ok, asked.failed(), asked.in_flight), (3, 0, 0));
    assert_eq!((asked.request_bytes, asked.reply_bytes), (4003, 4003));
    let unknown = counted(&plugin, CallerSide::Plugin, "77");
    assert_eq!((unknown.calls(), unknown.failed_with(Code::NotFound), unknown.request_bytes), (1, 1, 7));
    assert_eq!(counted(&plugin, CallerSide::Host, "test.Plugin.ask").ok, 4);
}

#[test]
fn methods_that_a_plugin_makes_up_do_not_grow_without_end_nor_push_out_others() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("inventive")).unwrap();
    for method in 5000..5100 {
        ask(&plugin, method, b"x");
    }
    plugin.restart().unwrap();
    for method in 6000..6100 {
        ask(&plugin, method, b"x");
    }
    ask(&plugin, ASKED, b"");
    let stats = plugin.stats();
    let by_plugin: Vec<_> = stats.methods.iter().filter(|method| method.side == CallerSide::Plugin).collect();
    assert_eq!(by_plugin.len(), 66, "64 of them, the host's own, and all others:\n{stats}");
    assert_eq!(by_plugin.iter().map(|method| method.calls()).sum::<u64>(), 201);
    assert_eq!(stats.method(CallerSide::Plugin, OTHER_METHODS).unwrap().calls(), 136);
    assert_eq!(stats.method(CallerSide::Plugin, "test.Host.asked").unwrap().ok, 1);
}

#[test]
fn calls_that_an_open_breaker_keeps_back_are_counted_as_not_sent() {
    let host = builder().build().unwrap();
    let breaker = Some(Breaker { failures: 2, open: Duration::from_secs(3600) });
    let plugin = host.load(spec("failing").supervision(Supervision { breaker, ..Supervision::default() })).unwrap();
    for _ in 0..5 {
        plugin.call(FAIL, &[13], &CallOptions::new()).unwrap_err();
    }
    let stats = plugin.stats();
    assert_eq!(counted(&plugin, CallerSide::Host, "test.Plugin.fail").calls(), 2);
    assert_eq!(stats.refused.values().sum::<u64>(), 3, "{stats}");
}

#[test]
fn what_a_plugin_prints_and_moves_is_counted() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("loud")).unwrap();
    // The harness of the tests, which the plugin is, says something of its own.
    let before = plugin.stats();
    for _ in 0..3 {
        plugin.call(PRINT, b"a line", &CallOptions::new()).unwrap();
    }
    let lines = || (plugin.stats().stdout_lines - before.stdout_lines, plugin.stats().stderr_lines);
    eventually("the lines are read", || lines() == (3, 6));
    let stats = plugin.stats();
    assert_eq!(stats.method(CallerSide::Host, "5").unwrap().ok, 3, "it is not described: {stats}");
    assert!(stats.traffic.frames_sent >= before.traffic.frames_sent + 3);
    assert_eq!((stats.room.slots_free, stats.traffic.faults), (stats.room.slots, 0));
    assert!(stats.room.ring_capacity >= 64);
}

#[test]
fn a_host_that_counts_no_calls_still_counts_lives() {
    let host = builder().observe(Observe::Nothing).build().unwrap();
    let plugin = host.load(spec("quiet")).unwrap();
    plugin.call(ECHO, b"any", &CallOptions::new()).unwrap();
    let stats = host.snapshot().plugin("quiet").unwrap().clone();
    assert_eq!((stats.methods.len(), stats.starts, stats.restarts), (0, 1, 0));
}
