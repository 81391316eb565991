//! The tokio driver: two ends in one process, one of them or both in a runtime.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rapace_core::socket::{Listener, Socket};
use rapace_session::tokio::{AsyncListener, AsyncSession};
use rapace_session::{
    CallError, CallOptions, Code, Config, Handler, Handshake, HandshakeError, IncomingCall, NoService, PeerA, PeerB,
    Process, Session, SessionEnd, Status, Timeouts,
};

fn pair(a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let config = Config::new("test", "1");
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn echo(call: IncomingCall) {
    let body = call.body().to_vec();
    call.reply(&body);
}

/// The peer wants its reply after it has gone to sleep, so the reply comes from another task.
fn echo_later(call: IncomingCall) {
    tokio::spawn(async move {
        tokio::task::yield_now().await;
        echo(call);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_all_sizes_get_their_replies() {
    let (host, plugin) = pair(NoService, echo);
    let server = thread::spawn(move || plugin.serve());
    let host = AsyncSession::new(host).unwrap();
    for bytes in [0usize, 1, 24, 25, 4096, 4097, 509 * 4096, 3 << 20] {
        let body: Vec<u8> = (0..=250u8).cycle().take(bytes).collect();
        let reply = host.call(1, &body, &CallOptions::new()).await.unwrap();
        assert!(reply.body == body[..], "{bytes} bytes");
    }
    assert_eq!(host.session().stats().calls_in_flight, 0);
    drop(host);
    assert!(matches!(&*server.join().unwrap(), SessionEnd::PeerClosed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_call_both_ways_at_once() {
    let (host, plugin) = pair(echo_later, echo_later);
    let (host, plugin) = (AsyncSession::new(host).unwrap(), AsyncSession::new(plugin).unwrap());
    let mut tasks = Vec::new();
    for task in 0..64u32 {
        let (host, plugin) = (host.clone(), plugin.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..50u32 {
                let body = [task.to_le_bytes(), round.to_le_bytes()].concat();
                assert!(host.call(1, &body, &CallOptions::new()).await.unwrap().body == body[..]);
                let body = vec![task.to_le_bytes()[0]; 70_000];
                assert!(plugin.call(1, &body, &CallOptions::new()).await.unwrap().body == body[..]);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for stats in [host.session().stats(), plugin.session().stats()] {
        assert_eq!((stats.calls_in_flight, stats.inbound_bytes, stats.outbound_bytes), (0, 0, 0));
    }
}

#[tokio::test]
async fn one_thread_is_enough_for_both_ends() {
    let (host, plugin) = pair(NoService, echo_later);
    let (host, _plugin) = (AsyncSession::new(host).unwrap(), AsyncSession::new(plugin).unwrap());
    for round in 0..100u32 {
        let body = round.to_le_bytes();
        assert!(host.call(1, &body, &CallOptions::new()).await.unwrap().body == body[..]);
    }
}

#[tokio::test]
async fn a_deadline_and_a_drop_cancel_the_handler() {
    let (sender, mut held) = tokio::sync::mpsc::unbounded_channel();
    let hold = move |call: IncomingCall| sender.send(call).unwrap();
    let (host, plugin) = pair(NoService, hold);
    let (host, _plugin) = (AsyncSession::new(host).unwrap(), AsyncSession::new(plugin).unwrap());
    // Long enough for the handler to begin on a busy machine: one whose time is over is not begun.
    let soon = Duration::from_secs(1);
    let error = host.call(1, b"", &CallOptions::new().deadline(soon)).await.unwrap_err();
    assert_eq!(error, CallError::DeadlineExceeded { waited: soon });
    let pending = host.start(1, b"", &CallOptions::new()).await.unwrap();
    let first = held.recv().await.unwrap();
    let second = held.recv().await.unwrap();
    drop(pending);
    while !(first.is_cancelled() && second.is_cancelled()) {
        tokio::task::yield_now().await;
    }
    first.fail(Status::new(Code::Cancelled, "so be it"));
    second.reply(b"too late");
    while host.session().stats().calls_in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_end_of_the_session_ends_calls_and_waits() {
    let (host, plugin) = pair(NoService, |call: IncomingCall| std::mem::forget(call));
    let host = AsyncSession::new(host).unwrap();
    let pending = host.start(1, b"", &CallOptions::new()).await.unwrap();
    let ended = tokio::spawn({
        let host = host.clone();
        async move { host.ended().await }
    });
    let reason = Status::new(Code::Unavailable, "enough");
    plugin.close(&reason);
    assert_eq!(*ended.await.unwrap(), SessionEnd::PeerClosed(reason.clone()));
    let error = pending.await.unwrap_err();
    assert_eq!(error.session_end(), Some(&SessionEnd::PeerClosed(reason)));
}

#[tokio::test]
async fn a_full_ring_is_waited_for() {
    let served = Arc::new(AtomicBool::new(false));
    let (host, plugin) = pair(NoService, echo);
    let host = AsyncSession::new(host).unwrap();
    let mut pending = Vec::new();
    while let Ok(call) = host.session().try_start(1, &[7; 30], &CallOptions::new()) {
        pending.push(call);
    }
    let waiting = tokio::spawn({
        let (host, served) = (host.clone(), Arc::clone(&served));
        async move {
            let call = host.start(1, b"late", &CallOptions::new()).await.unwrap();
            assert!(served.load(Ordering::SeqCst), "there was no room before the peer took a frame");
            call.await.unwrap()
        }
    });
    tokio::task::yield_now().await;
    served.store(true, Ordering::SeqCst);
    let _plugin = AsyncSession::new(plugin).unwrap();
    assert!(waiting.await.unwrap().body == b"late"[..]);
}

/// Held by a test whose peers spin, one such test at a time. Each is kept to a core of its own: two spinners on one core need
/// a time slice for each message.
struct BothCores {
    all: CpuSet,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Keeps this thread to the first core. None where there is but one: nobody spins there, and each call is a wake-up.
async fn both_cores() -> Option<BothCores> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    if thread::available_parallelism().unwrap().get() == 1 {
        return None;
    }
    let cores = BothCores { all: sched_getaffinity(Pid::from_raw(0)).unwrap(), _alone: ALONE.lock().await };
    keep_to(&cores.all, 0);
    Some(cores)
}

impl Drop for BothCores {
    fn drop(&mut self) {
        // The thread may go on with another test.
        sched_setaffinity(Pid::from_raw(0), &self.all).unwrap();
    }
}

/// Keeps this thread to one of these cores.
fn keep_to(all: &CpuSet, index: usize) {
    let core = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap()).nth(index).unwrap();
    let mut one = CpuSet::new();
    one.set(core).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// A stretch of calls in a row costs neither side a system call, as soon as both have a core.
async fn check_that_nobody_sleeps(host: AsyncSession<PeerA>, plugin: Session<PeerB>) {
    // More than half a ring, behind which a peer tells how far it has come. It takes less than a time slice.
    const STRETCH: u64 = 40;
    let begin = std::time::Instant::now();
    let sides = || [host.session().stats().link, plugin.stats().link].map(|link| link.bells_sent + link.bells_received);
    loop {
        let before = sides();
        for number in 0..STRETCH {
            let body = number.to_le_bytes();
            assert!(host.call(1, &body, &CallOptions::new()).await.unwrap().body == body[..]);
        }
        let bells = sides().iter().sum::<u64>() - before.iter().sum::<u64>();
        if bells == 0 {
            break;
        }
        // On a machine that is busy with other things, the two look at the same time only now and then.
        assert!(begin.elapsed() < Duration::from_secs(600), "{bells} bells for {STRETCH} calls");
    }
}

#[tokio::test]
async fn calls_in_a_row_of_a_task_to_a_thread_ring_no_bells() {
    let Some(cores) = both_cores().await else { return };
    let (host, plugin) = pair(NoService, echo);
    let (server, all) = (plugin.clone(), cores.all);
    thread::spawn(move || {
        keep_to(&all, 1);
        server.serve()
    });
    check_that_nobody_sleeps(AsyncSession::new(host).unwrap(), plugin).await;
}

#[tokio::test]
async fn calls_in_a_row_of_a_task_to_a_task_ring_no_bells() {
    let Some(cores) = both_cores().await else { return };
    let (host, plugin) = pair(NoService, echo);
    let (server, all) = (plugin.clone(), cores.all);
    thread::spawn(move || {
        keep_to(&all, 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { AsyncSession::new(server).unwrap().ended().await });
    });
    check_that_nobody_sleeps(AsyncSession::new(host).unwrap(), plugin).await;
}

/// Waits with tokio's clock, and says of which runtime it is after that.
fn wait_in_runtime(call: IncomingCall) {
    call.run_async(|call| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let runtime = format!("{:?}", tokio::runtime::Handle::current().id());
        call.reply(runtime.as_bytes());
    });
}

#[test]
fn a_runtime_polls_the_handlers_of_a_session_that_threads_serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (host, plugin) = pair(NoService, wait_in_runtime);
    plugin.run_handlers_on(runtime.handle().clone());
    let server = thread::spawn(move || plugin.serve());
    let expected = format!("{:?}", runtime.handle().id());
    for _ in 0..10 {
        assert!(host.call(1, b"", &CallOptions::new()).unwrap().body == expected.as_bytes()[..]);
    }
    host.close(&Status::new(Code::Unavailable, "done"));
    assert!(matches!(&*server.join().unwrap(), SessionEnd::PeerClosed(_)));
}

#[test]
fn the_end_of_a_runtime_ends_the_calls_that_it_runs() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (begins, begun) = mpsc::channel();
    let (host, plugin) = pair(NoService, move |call: IncomingCall| {
        let begins = begins.clone();
        call.run_async(|call| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            begins.send(()).unwrap();
            std::future::pending::<()>().await;
            call.reply(b"");
        });
    });
    plugin.run_handlers_on(runtime.handle().clone());
    let served = plugin.clone();
    let server = thread::spawn(move || served.serve());
    let pending = host.start(1, b"", &CallOptions::new()).unwrap();
    begun.recv().unwrap();
    drop(runtime);
    let error = pending.wait().unwrap_err();
    assert_eq!(error.to_string(), "Internal: the handler of method 1 ended without an answer");
    // The next is refused by the runtime, and fails in turn.
    assert_eq!(host.call(1, b"", &CallOptions::new()).unwrap_err().code(), Code::Internal);
    plugin.close(&Status::new(Code::Unavailable, "done"));
    server.join().unwrap();
}

#[tokio::test]
async fn peers_meet_at_a_listener_and_one_that_is_silent_holds_no_thread() {
    let path = std::env::temp_dir().join(format!("rapace-tokio-{}.sock", std::process::id()));
    let listener = AsyncListener::new(Listener::bind(&path).unwrap()).unwrap();
    let to = listener.path().to_owned();
    let short = Config {
        timeouts: Timeouts { start: Duration::from_millis(50), ..Timeouts::default() },
        ..Config::new("a", "1")
    };
    let silent = Socket::connect(&to).unwrap();
    let handshake = Handshake::<PeerA>::offer(listener.accept().await.unwrap(), None, short.clone()).unwrap();
    let error = handshake.finish_async(NoService).await.unwrap_err();
    assert!(matches!(error, HandshakeError::TimedOut { due: "hello", .. }), "{error}");
    drop(silent);
    drop(Socket::connect(&to).unwrap());
    let gone = listener.accept().await.unwrap();
    let error = match Handshake::<PeerA>::offer(gone, None, short) {
        Ok(handshake) => handshake.finish_async(NoService).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, HandshakeError::PeerGone(None)), "{error}");
    let caller = thread::spawn(move || {
        let session = Session::connect(to, Config::new("b", "1"), NoService).unwrap();
        session.call(1, b"hello", &CallOptions::new()).unwrap().body.to_vec()
    });
    // All on this one thread.
    let socket = listener.accept().await.unwrap();
    let handshake = Handshake::<PeerA>::offer(socket, None, Config::new("a", "1")).unwrap();
    let session = AsyncSession::new(handshake.finish_async(echo).await.unwrap()).unwrap();
    session.ended().await;
    assert_eq!(caller.join().unwrap(), b"hello");
}

#[tokio::test]
async fn whoever_sees_the_end_of_a_process_holds_up_no_other_task() {
    let (begins, begun) = tokio::sync::oneshot::channel();
    let (other, others) = mpsc::channel();
    let (tells, told) = mpsc::channel();
    let others = Mutex::new(others);
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let id = child.id().to_string();
    let process = Process::new(child).unwrap().at_end(move |_| {
        begins.send(()).unwrap();
        tells.send(others.into_inner().unwrap().recv_timeout(Duration::from_secs(20))).unwrap();
    });
    let (a, b) = Socket::pair().unwrap();
    let config = Config::new("test", "1");
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(NoService).unwrap());
    let host = Handshake::<PeerA>::offer(a, Some(process), config).unwrap().finish(NoService).unwrap();
    let (host, _plugin) = (AsyncSession::new(host).unwrap(), plugin.join().unwrap());
    let another = tokio::spawn(async move {
        begun.await.unwrap();
        other.send(()).unwrap();
    });
    assert!(Command::new("kill").args(["-9", &id]).status().unwrap().success());
    let end = host.ended().await;
    assert!(matches!(&*end, SessionEnd::PeerGone(Some(exit)) if exit.signal() == Some(9)), "{end:?}");
    assert_eq!(told.recv().unwrap(), Ok(()));
    another.await.unwrap();
}
