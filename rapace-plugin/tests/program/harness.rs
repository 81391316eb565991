//! The harness itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use rapace_plugin::PluginMain;
use rapace_plugin::testing::{FakeHost, pair};
use rapace_session::{CallOptions, Code, Config, IncomingCall, NoService, Status};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_plugin_that_does_not_end_is_told_of() {
    let (release, released) = mpsc::channel::<()>();
    let main = PluginMain::new("stuck", "1").on_shutdown(move |_| {
        let _ = released.recv();
    });
    let plugin = FakeHost::new().start(main).patience(Duration::from_millis(50));
    let panic = catch_unwind(AssertUnwindSafe(|| drop(plugin))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert_eq!(text, "shutdown was not answered: no reply within 50ms");
    drop(release);
}

#[test]
fn a_plugin_without_a_session_is_told_of() {
    let main = PluginMain::new("x".repeat(1000), "1");
    let error = FakeHost::new().try_start(main).unwrap_err();
    assert!(error.to_string().starts_with("the peer is gone"), "{error}");
}

#[test]
fn both_ends_of_a_pair_call_each_other() {
    let echo = |mut call: IncomingCall| {
        let body = call.take_body();
        call.reply(&body);
    };
    let (host, plugin) = pair((Config::new("host", "1"), echo), (Config::new("plugin", "1"), echo)).unwrap();
    let served = plugin.clone();
    let serves = std::thread::spawn(move || drop(served.serve()));
    assert!(host.call(1, b"there", &CallOptions::new()).unwrap().body == b"there"[..]);
    let calls =
        std::thread::spawn(move || plugin.call(1, b"back", &CallOptions::new()).map(|reply| reply.body.to_vec()));
    host.serve_for(Duration::from_millis(1));
    while !calls.is_finished() {
        host.serve_for(Duration::from_millis(1));
    }
    assert_eq!(calls.join().unwrap().unwrap(), b"back");
    host.close(&Status::new(Code::Unavailable, "done"));
    serves.join().unwrap();
    let long = Config::new("y".repeat(1000), "1");
    assert!(pair((Config::new("host", "1"), NoService), (long, NoService)).is_err());
}

#[test]
fn a_plugin_of_a_test_leaves_no_thread() {
    // In a process of its own: other tests make threads, too.
    let output = crate::process::test_program("leaves_no_thread").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

pub(crate) fn leaves_no_thread() {
    let before = threads();
    for _ in 0..10 {
        let main = PluginMain::new("brief", "1")
            .idle_timeout(Duration::from_secs(3600))
            .background(|ctx| async move { ctx.stopped().await });
        drop(FakeHost::new().start(main));
    }
    // The kernel may take a moment to forget a thread that was joined; one is the session's, which measures a wake-up.
    crate::eventually("the threads are gone", || threads() <= before);
}
