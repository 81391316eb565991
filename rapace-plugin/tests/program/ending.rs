//! How plugins end, in the test's process.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_plugin::testing::{FakeHost, TestPlugin};
use rapace_plugin::{MainError, PluginMain};
use rapace_service::Services;
use rapace_session::{
    AsCaller, CallError, CallOptions, Code, Config, Handshake, IncomingCall, NoService, PeerA, SessionEnd, Status,
};

use crate::contract::{Log, Manners, Oracle, OracleClient, OracleServer, WorkerClient, manners, note, polite};
use crate::{PATIENCE, eventually};

fn closed(plugin: &TestPlugin) -> Status {
    eventually("the plugin closes its session", || plugin.session().end().is_some());
    match &*plugin.session().end().unwrap() {
        SessionEnd::PeerClosed(status) => status.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn tasks_are_told_to_stop_behind_the_last_deeds_and_are_waited_for() {
    let log = Log::default();
    let [by_task, by_thread, by_deed] = [(); 3].map(|()| Arc::clone(&log));
    let main = PluginMain::new("busy", "1")
        .stop_limit(PATIENCE)
        .background(move |ctx| async move {
            ctx.stopped().await;
            note(&by_task, "task");
        })
        .background(move |ctx| async move {
            while !ctx.wait_stopped_for(Duration::from_millis(1)) {}
            assert!(ctx.is_stopping());
            ctx.wait_stopped();
            note(&by_thread, "task");
        })
        .on_shutdown(move |ctx| {
            assert!(ctx.is_stopping());
            note(&by_deed, "deed");
        });
    let plugin = FakeHost::new().start(main);
    let shutdown = plugin.session().call_lifecycle(2002, b"", &CallOptions::new());
    assert!(shutdown.is_ok());
    let mut done = log.lock().unwrap().clone();
    done.sort();
    assert_eq!(done, ["deed", "task", "task"]);
    assert!(plugin.shut_down().is_ok());
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[test]
fn a_session_that_just_closes_stops_a_plugin_too() {
    let log = Log::default();
    let [by_task, by_deed] = [(); 2].map(|()| Arc::clone(&log));
    let main = PluginMain::new("busy", "1")
        .background(move |ctx| async move {
            ctx.stopped().await;
            note(&by_task, "task");
        })
        .on_shutdown(move |_| note(&by_deed, "deed"));
    let plugin = FakeHost::new().start(main);
    plugin.session().close(&Status::new(Code::Unavailable, "enough"));
    assert!(plugin.wait().is_ok());
    assert_eq!(log.lock().unwrap().len(), 2);
}

/// A host that answers when the test lets it.
struct Gate {
    asked: Mutex<mpsc::Sender<String>>,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Oracle for Gate {
    async fn answer(&self, question: &str) -> String {
        self.asked.lock().unwrap().send(question.to_owned()).unwrap();
        self.release.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        String::new()
    }
}

/// Shuts down a plugin of which something asks its host when it is to stop: the shutdown waits for that.
fn check_waits(main: PluginMain<Manners>, begin: impl FnOnce(&TestPlugin)) {
    let ((ask, asked), (open, release)) = (mpsc::channel(), mpsc::channel());
    let gate = OracleServer::new(Gate { asked: Mutex::new(ask), release: Mutex::new(release) });
    let host = FakeHost::new().config(&manners("Hello")).services(Services::new().add(gate));
    let plugin = host.start(main.stop_limit(PATIENCE));
    begin(&plugin);
    let session = plugin.session().clone();
    let shutdown = std::thread::spawn(move || session.call_lifecycle(2002, b"", &CallOptions::new()).map(drop));
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), "last words");
    // There and back, so that an answer that was sent before would have come.
    assert!(plugin.as_caller().call_blocking(2006, b"", &CallOptions::new()).is_ok());
    assert!(!shutdown.is_finished());
    open.send(()).unwrap();
    assert_eq!(shutdown.join().unwrap(), Ok(()));
}

#[test]
fn a_shutdown_waits_for_calls_in_flight() {
    let (tell, told) = mpsc::channel();
    check_waits(polite(), move |plugin| {
        let client = WorkerClient::new(plugin).blocking();
        std::thread::spawn(move || tell.send(client.wait()).unwrap());
        eventually("the call is in flight", || plugin.session().stats().calls_in_flight == 1);
    });
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), "stopped");
}

#[test]
fn a_shutdown_waits_for_tasks() {
    let main = polite().background(|ctx| async move {
        ctx.stopped().await;
        OracleClient::new(&ctx).answer("last words").await.unwrap();
    });
    check_waits(main, |_| {});
}

#[test]
fn what_goes_on_behind_the_limit_is_left_alone() {
    let (release, released) = mpsc::channel::<()>();
    let main = PluginMain::new("stubborn", "1").stop_limit(Duration::from_millis(10)).background(move |_| async move {
        let _ = released.recv();
    });
    let plugin = FakeHost::new().start(main);
    assert!(plugin.session().call_lifecycle(2002, b"", &CallOptions::new()).is_ok());
    // The task ends with the test, not before.
    assert!(plugin.shut_down().is_ok());
    drop(release);
}

#[test]
fn a_task_that_panics_ends_the_plugin() {
    let main = PluginMain::new("fragile", "1").background(|ctx| async move {
        if !ctx.is_stopping() {
            panic!("a test's panic");
        }
    });
    let plugin = FakeHost::new().start(main);
    let status = closed(&plugin);
    assert_eq!((status.code, &*status.details), (Code::Internal, &b"panic"[..]));
    assert!(matches!(plugin.wait(), Err(MainError::Background)));
}

#[test]
fn a_plugin_that_is_idle_ends_by_itself_and_one_with_work_does_not() {
    let (give, work) = mpsc::channel();
    let idle = Duration::from_millis(20);
    let main = polite().idle_timeout(idle).setup(move |ctx| Ok(give.send(ctx.work())?));
    let plugin = FakeHost::new().config(&manners("Hello")).start(main);
    let work = work.recv().unwrap();
    // Not asked by a call: that would be one.
    assert_eq!(plugin.session().serve_for(idle * 10), None);
    assert!(WorkerClient::new(&plugin).blocking().greet("host").is_ok());
    drop(work);
    let status = closed(&plugin);
    assert_eq!((status.code, &*status.details), (Code::Unavailable, &b"idle"[..]));
    assert_eq!(status.message, "the plugin was idle for 20ms");
    assert!(plugin.wait().is_ok());
}

#[test]
fn a_plugin_that_is_not_initialized_yet_is_not_idle() {
    let idle = Duration::from_millis(20);
    let (ours, theirs) = Socket::pair().unwrap();
    let plugin = std::thread::spawn(move || PluginMain::new("idle", "1").idle_timeout(idle).run_on(theirs));
    let host = Handshake::<PeerA>::offer(ours, None, Config::new("host", "1")).unwrap().finish(NoService).unwrap();
    // A host that is busy with other things.
    assert_eq!(host.serve_for(idle * 20), None);
    assert!(host.call_lifecycle(2000, b"", &CallOptions::new()).is_ok());
    assert!(matches!(&*host.serve(), SessionEnd::PeerClosed(status) if *status.details == *b"idle"));
    assert!(plugin.join().unwrap().is_ok());
}

#[test]
fn a_plugin_that_ends_by_itself_is_sure_that_no_call_is_on_its_way() {
    let (tell, told) = mpsc::channel();
    // It is asked for an answer once it was told that it is to open no more calls.
    let services = move |call: IncomingCall| {
        let refused = call.call_back(2006, b"", &CallOptions::new()).map(drop);
        tell.send((call.method(), refused)).unwrap();
        call.unimplemented();
    };
    let main = PluginMain::new("idle", "1").idle_timeout(Duration::from_millis(4));
    let plugin = FakeHost::new().services(services).start(main);
    let (method, refused) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(method, 2006);
    assert!(matches!(refused, Err(CallError::Refused { .. })), "{refused:?}");
    assert!(plugin.wait().is_ok());
}

#[test]
fn questions_of_the_host_are_no_activity() {
    let main = PluginMain::new("asked", "1").idle_timeout(Duration::from_millis(500));
    let plugin = FakeHost::new().start(main);
    eventually("it ends though it is asked", || {
        let asked = plugin.as_caller().call_blocking(2005, b"", &CallOptions::new());
        asked.is_err() && plugin.session().end().is_some()
    });
    assert!(plugin.wait().is_ok());
}
