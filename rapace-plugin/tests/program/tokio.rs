//! A plugin with a tokio runtime.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rapace_macros::service;
use rapace_plugin::PluginMain;
use rapace_plugin::testing::{FakeHost, TestPlugin};
use rapace_service::{Context, Services, Stream};
use rapace_session::{AsCaller, CallOptions, Code, Config, Handshake, IncomingCall, NoService, PeerA, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::sleep;

use crate::contract::{Log, OracleClient, WorkerClient, echo, note, polite};
use crate::process::{Started, test_program};
use crate::{PATIENCE, eventually};

/// Of which runtime somebody is.
fn runtime() -> String {
    Handle::try_current().map_or_else(|error| error.to_string(), |handle| handle.id().to_string())
}

#[service(name = "test.Tokio", version = "1.0", provider = "plugin", crate = "rapace_service")]
pub(crate) trait Tokio {
    /// Of which runtime it is, before and behind a wait.
    #[method(id = 30)]
    async fn runtimes(&self) -> (String, String);
    /// By a socket, in another task.
    #[method(id = 31)]
    async fn echo(&self, text: &str) -> String;
    /// Reads a file.
    #[method(id = 32)]
    async fn read(&self, path: &str) -> Vec<u8>;
    /// Numbers, with a pause before each.
    #[method(id = 33)]
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;
    /// Computes, behind a wait, until it is told to stop.
    #[method(id = 34)]
    async fn compute(&self);
    #[method(id = 35)]
    async fn stop(&self);
    #[method(id = 36)]
    async fn panic(&self);
    #[method(id = 37)]
    async fn sleep(&self);
    /// Keeps the thread that serves, until another has called the host.
    #[method(id = 38)]
    async fn ask_aside(&self, ctx: &Context) -> Vec<u8>;
}

#[derive(Default)]
pub(crate) struct Impl {
    stop: AtomicBool,
    log: Log,
}

impl Tokio for Impl {
    async fn runtimes(&self) -> (String, String) {
        let before = runtime();
        sleep(Duration::from_millis(1)).await;
        (before, runtime())
    }

    async fn echo(&self, text: &str) -> String {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let length = text.len();
        let other = tokio::spawn(async move {
            let mut bytes = vec![0; length];
            theirs.read_exact(&mut bytes).await?;
            theirs.write_all(&bytes).await
        });
        let mut bytes = vec![0; length];
        ours.write_all(text.as_bytes()).await.unwrap();
        ours.read_exact(&mut bytes).await.unwrap();
        other.await.unwrap().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    async fn read(&self, path: &str) -> Vec<u8> {
        tokio::fs::read(path).await.unwrap()
    }

    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        futures_util::stream::unfold(0, move |number| async move {
            sleep(Duration::from_millis(1)).await;
            (number < to).then_some((number, number + 1))
        })
    }

    async fn compute(&self) {
        sleep(Duration::from_millis(1)).await;
        note(&self.log, "computes");
        while !self.stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    }

    async fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    async fn panic(&self) {
        sleep(Duration::from_millis(1)).await;
        panic!("on purpose");
    }

    async fn sleep(&self) {
        note(&self.log, "sleeps");
        let _said = Says(Arc::clone(&self.log), "woken");
        sleep(Duration::from_secs(3600)).await;
    }

    async fn ask_aside(&self, ctx: &Context) -> Vec<u8> {
        let caller = ctx.as_caller();
        let aside = std::thread::spawn(move || caller.call_blocking(EXPORT_FOR_PLUGIN, b"", &CallOptions::new()));
        aside.join().unwrap().unwrap().body.into_vec()
    }
}

/// Of a host that answers with the plugin's state.
const EXPORT_FOR_PLUGIN: u32 = 99;

/// Says, when it is dropped, whether it is within a runtime.
struct Says(Log, &'static str);

impl Drop for Says {
    fn drop(&mut self) {
        note(&self.0, &format!("{}: {}", self.1, Handle::try_current().is_ok()));
    }
}

pub(crate) fn main() -> PluginMain {
    PluginMain::new("timed", "1").serve(TokioServer::new(Impl::default())).tokio()
}

fn has(log: &Log, what: &str) -> bool {
    log.lock().unwrap().iter().any(|noted| noted == what)
}

fn client(plugin: &TestPlugin) -> TokioClient {
    TokioClient::new(plugin)
}

#[test]
fn handlers_use_timers_sockets_and_files_of_tokio() {
    let plugin = FakeHost::new().start(main());
    let client = client(&plugin).blocking();
    let (before, behind) = client.runtimes().unwrap();
    assert_eq!(before, behind);
    assert_eq!(client.runtimes().unwrap(), (before, behind));
    assert_eq!(client.echo("there and back").unwrap(), "there and back");
    let this = file!().rsplit('/').next().unwrap();
    let path = format!("{}/tests/program/{this}", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(client.read(&path).unwrap(), std::fs::read(&path).unwrap());
    let numbers: Result<Vec<u32>, _> = client.count(5).unwrap().collect();
    assert_eq!(numbers.unwrap(), [0, 1, 2, 3, 4]);
    assert!(plugin.shut_down().is_ok());
}

#[test]
fn all_of_the_programs_code_is_within_the_runtime() {
    let log = Log::default();
    let [of_setup, of_task, of_end, of_drop] = [(); 4].map(|()| Arc::clone(&log));
    let say = |log: &Log, what: &str| note(log, &format!("{what}: {}", runtime()));
    let main = main()
        .setup(move |_| {
            let dropped = Says(Arc::clone(&of_drop), "a task is dropped");
            // It goes on until the runtime does not.
            tokio::spawn(async move {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            });
            say(&of_setup, "setup");
            Ok(())
        })
        .background(move |ctx| async move {
            sleep(Duration::from_millis(1)).await;
            say(&of_task, "task");
            ctx.stopped().await;
        })
        .export_state(move |_| runtime().into_bytes())
        .on_shutdown(move |_| say(&of_end, "end"));
    let plugin = FakeHost::new().start(main);
    assert_eq!(plugin.initialized(), Ok(()));
    let own = client(&plugin).blocking().runtimes().unwrap().0;
    let state = plugin.as_caller().call_blocking(2003, b"", &CallOptions::new()).unwrap();
    assert_eq!(postcard::from_bytes::<Vec<u8>>(&state.body).unwrap(), own.as_bytes());
    eventually("the task has waited", || has(&log, &format!("task: {own}")));
    assert!(plugin.shut_down().is_ok());
    for what in [&*format!("setup: {own}"), &format!("end: {own}")] {
        assert!(has(&log, what), "{what} is not in {log:?}");
    }
    assert!(log.lock().unwrap().iter().any(|noted| noted.starts_with("a task is dropped")));
}

#[test]
fn a_call_is_within_the_runtime_whichever_thread_serves_it() {
    let host = FakeHost::new().services(|call: IncomingCall| {
        assert_eq!(call.method(), EXPORT_FOR_PLUGIN);
        let state = call.call_back(2003, b"", &CallOptions::new()).unwrap();
        call.reply(&postcard::from_bytes::<Vec<u8>>(&state.body).unwrap());
    });
    let plugin = host.start(main().export_state(|_| runtime().into_bytes()));
    let own = client(&plugin).blocking().runtimes().unwrap().0;
    assert_eq!(String::from_utf8(client(&plugin).blocking().ask_aside().unwrap()).unwrap(), own);
}

#[test]
fn a_handler_that_computes_behind_a_wait_holds_up_no_other() {
    let imp = Impl::default();
    let log = Arc::clone(&imp.log);
    let plugin = FakeHost::new().start(PluginMain::new("timed", "1").serve(TokioServer::new(imp)).tokio());
    let busy = client(&plugin).blocking();
    let computes = std::thread::spawn(move || busy.compute());
    eventually("it computes", || has(&log, "computes"));
    client(&plugin).blocking().stop().unwrap();
    computes.join().unwrap().unwrap();
}

#[test]
fn a_handler_that_panics_behind_a_wait_fails_its_call_alone() {
    let plugin = FakeHost::new().start(main());
    let error = client(&plugin).blocking().panic().unwrap_err();
    let text = "Internal: the handler of test.Tokio.panic panicked: the callee's output says why";
    assert_eq!(error.to_string(), text);
    assert_eq!(client(&plugin).blocking().echo("well").unwrap(), "well");
}

#[test]
fn the_host_is_called_from_within_the_runtime() {
    let (oracle, _asked) = echo();
    let host = FakeHost::new().config(&crate::contract::manners("Hello")).services(Services::new().add(oracle));
    let plugin = host.start(polite().tokio().setup(|ctx| {
        let answer = ctx.as_caller().block_on(async {
            sleep(Duration::from_millis(1)).await;
            OracleClient::new(ctx).answer("from the setup").await
        });
        if answer?? == "from the setup?" { Ok(()) } else { Err("another answer".into()) }
    }));
    assert_eq!(plugin.initialized(), Ok(()));
    assert_eq!(WorkerClient::new(&plugin).blocking().ask("what").unwrap(), "what?");
}

#[test]
fn what_is_not_done_within_the_limit_is_dropped_at_the_end() {
    let imp = Impl::default();
    let log = Arc::clone(&imp.log);
    let main = PluginMain::new("timed", "1").serve(TokioServer::new(imp)).tokio();
    let plugin = FakeHost::new().start(main.stop_limit(Duration::from_millis(10)));
    let sleeps = client(&plugin).blocking();
    let call = std::thread::spawn(move || sleeps.sleep());
    eventually("it sleeps", || has(&log, "sleeps"));
    assert!(plugin.shut_down().is_ok());
    assert!(call.join().unwrap().is_err());
    assert!(has(&log, "woken: true"), "{log:?}");
}

fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[test]
fn a_runtime_without_threads_is_driven() {
    let plugin = FakeHost::new().start(main().tokio_runtime(one_thread));
    assert_eq!(client(&plugin).blocking().echo("there and back").unwrap(), "there and back");
    assert!(plugin.shut_down().is_ok());
}

#[test]
fn a_runtime_that_is_there_is_taken() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let id = runtime.handle().id().to_string();
    let plugin = FakeHost::new().start(main().tokio_runtime(|| Ok(runtime)));
    assert_eq!(client(&plugin).blocking().runtimes().unwrap(), (id.clone(), id));
}

#[test]
fn a_runtime_that_cannot_be_made_is_an_error() {
    for (make, text) in [
        ((|| Err(io::Error::other("no threads"))) as fn() -> io::Result<Runtime>, "no threads"),
        (|| std::panic::resume_unwind(Box::new("no message")), "what makes it panicked"),
    ] {
        let (_host, socket) = rapace_core::socket::Socket::pair().unwrap();
        let error = main().tokio_runtime(make).run_on(socket).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot start the tokio runtime: {text}"));
    }
}

#[test]
fn a_plugin_may_be_run_within_another_runtime() {
    let (ours, theirs) = rapace_core::socket::Socket::pair().unwrap();
    let plugin = std::thread::spawn(move || one_thread().unwrap().block_on(async { main().run_on(theirs) }));
    let handshake = Handshake::<PeerA>::offer(ours, None, Config::new("host", "1")).unwrap();
    let session = handshake.finish(NoService).unwrap();
    assert_eq!(TokioClient::new(&session).blocking().echo("well").unwrap(), "well");
    session.close(&Status::new(Code::Unavailable, "done"));
    assert!(plugin.join().unwrap().is_ok());
}

#[test]
fn what_blocks_the_runtime_is_told_of_and_left() {
    for make in [one_thread as fn() -> _, || Builder::new_multi_thread().worker_threads(1).build()] {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let (begins, begun) = mpsc::channel();
        let main = main().tokio_runtime(make).grace(Duration::from_millis(20)).setup(move |_| {
            tokio::spawn(async move {
                begins.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            });
            Ok(())
        });
        let plugin = FakeHost::new().start(main);
        begun.recv_timeout(PATIENCE).unwrap();
        assert!(plugin.shut_down().is_ok());
        drop(release);
    }
}

#[test]
fn a_process_whose_runtime_is_blocked_ends_and_says_so() {
    let plugin = Started::new(&mut test_program("blocked runtime"), NoService);
    plugin.session.call_lifecycle(2000, b"", &CallOptions::new()).unwrap();
    plugin.session.call_lifecycle(2002, b"", &CallOptions::new()).unwrap();
    plugin.session.close(&Status::new(Code::Unavailable, "done"));
    let (exit, stderr) = plugin.end();
    assert_eq!(stderr, "timed: what blocks the tokio runtime goes on 2s behind its end\n");
    assert_eq!(exit.code(), Some(0));
}

/// A plugin with a task that never gives its thread back.
pub(crate) fn blocked() -> PluginMain {
    // Under load, too, the process is to be quicker than its guardian.
    let main = main().tokio_runtime(|| Builder::new_multi_thread().worker_threads(1).build());
    main.grace(Duration::from_secs(4)).setup(|_| {
        let (begins, begun) = mpsc::channel();
        tokio::spawn(async move {
            begins.send(()).unwrap();
            loop {
                std::thread::park();
            }
        });
        Ok(begun.recv()?)
    })
}
