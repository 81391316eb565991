//! A plugin as it should be.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::tokio::AsyncSession;
use rapace_session::{
    CallOptions, Code, Handshake, IncomingCall, PeerB, PeerState, Role, Router, Session, SessionEnd, Status,
};
use rapace_tests::method;
use rapace_tests::pattern::{pattern, word, words};
use rapace_tests::service::{REST, Service};
use rapace_tests::snapshot::Snapshot;

use crate::Failure;
use crate::crash::Exercise;
use crate::options::Options;
use crate::streams::with_streams;

/// The session, for handlers that call the host or look at the session.
pub(crate) type Own = Arc<OnceLock<Session<PeerB>>>;

/// Serves until the session ends; prints why it did. The exit code says so too.
pub(crate) fn serve(options: Options) -> Result<ExitCode, Failure> {
    // The host sees a panic as a status, and the tests provoke some.
    std::panic::set_hook(Box::new(|_| {}));
    let (own, exercise) = (Own::default(), Arc::new(Exercise::default()));
    let socket = Socket::from_stdin()?;
    let session = Handshake::<PeerB>::accept(socket, options.config)?.finish(router(&own, &exercise))?;
    // Nobody else sets it, and no handler runs before somebody serves.
    let _ = own.set(session.clone());
    for _ in 1..options.threads {
        let session = session.clone();
        thread::spawn(move || session.serve());
    }
    let noise = options.noise;
    if noise > 0 {
        thread::spawn(move || make_noise(noise));
    }
    let end = if options.tokio { serve_in_tokio(&session)? } else { session.serve() };
    println!("{end}");
    exercise.report(&session)?;
    Ok(exit_code(&end))
}

/// How a session ended, for whoever has started this process.
pub(crate) fn exit_code(end: &SessionEnd) -> ExitCode {
    match end {
        SessionEnd::PeerClosed(_) => ExitCode::SUCCESS,
        SessionEnd::PeerGone(_) => ExitCode::from(3),
        SessionEnd::Fault(_) => ExitCode::from(4),
        _ => ExitCode::from(5),
    }
}

/// Tasks of tokio run the handlers that are not ready.
pub(crate) fn serve_in_tokio<R: Role>(session: &Session<R>) -> Result<Arc<SessionEnd>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { Ok(AsyncSession::new(session.clone())?.ended().await) })
}

fn router(own: &Own, exercise: &Arc<Exercise>) -> Router {
    let service = Arc::new(Service::default());
    let with = |handle: fn(&Session<PeerB>, IncomingCall)| {
        let own = Arc::clone(own);
        move |call: IncomingCall| {
            if let Some(session) = own.get() {
                handle(session, call);
            }
        }
    };
    let releasing = Arc::clone(&service);
    let (exercise, exercising) = (Arc::clone(exercise), Arc::clone(own));
    with_streams(service.router(), own)
        .method(method::SNAPSHOT, with(|session, call| call.reply(&Snapshot::from(session.stats()).encode())))
        .method(method::CALL_HOST, with(call_host))
        .method(method::COMPUTE, with(compute))
        .method(
            method::GO_AWAY,
            with(|session, call| {
                session.go_away(&Status::new(Code::Unavailable, "the plugin drains"));
                call.reply(b"");
            }),
        )
        .method(method::INITIALIZE, |call: IncomingCall| {
            let body = call.body().to_vec();
            call.reply(&body);
        })
        .method(method::LEAVE, with(leave))
        .method(
            method::CLOSE,
            with(|session, _| session.close(&Status::new(Code::Aborted, "the plugin has had enough"))),
        )
        .method(method::RELEASE_AND_EXIT, move |call: IncomingCall| {
            releasing.release();
            std::process::exit(i32::try_from(word(call.body(), 0)).unwrap_or(1));
        })
        .method(method::EXERCISE, move |call: IncomingCall| {
            if let Some(session) = exercising.get() {
                exercise.begin(session, call);
            }
        })
        .method(method::HOST_STATE, with(|session, call| call.reply(&words(&[state_number(session.peer_state())]))))
}

/// Calls the host from threads of its own, so that this one goes on serving.
fn call_host(session: &Session<PeerB>, call: IncomingCall) {
    let [threads, rounds, method, bytes] = [0, 1, 2, 3].map(|index| word(call.body(), index));
    let session = session.clone();
    thread::spawn(move || {
        let good = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..threads {
                let (session, good) = (&session, &good);
                scope.spawn(move || {
                    for round in 0..rounds {
                        if comes_back(session, method, bytes, thread << 32 | round) {
                            good.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        call.reply(&words(&[good.load(Ordering::SeqCst)]));
    });
}

fn comes_back(session: &Session<PeerB>, method: u64, bytes: u64, seed: u64) -> bool {
    let (Ok(method), Ok(bytes)) = (u32::try_from(method), usize::try_from(bytes)) else { return false };
    // As deep as it gets, of a nested call.
    let mut body = words(&[session.peer().depth_max.into()]);
    body.extend(pattern(bytes, seed));
    session.call(method, &body, &CallOptions::new()).is_ok_and(|reply| reply.body == body[..])
}

fn compute(session: &Session<PeerB>, call: IncomingCall) {
    take_time(session, &call);
    call.reply(b"");
}

fn leave(session: &Session<PeerB>, call: IncomingCall) {
    take_time(session, &call);
    session.go_away(&Status::new(Code::Unavailable, "the plugin leaves"));
    // Dropped, the call would be answered.
    std::mem::forget(call);
}

fn take_time(session: &Session<PeerB>, call: &IncomingCall) {
    let time = Duration::from_millis(word(call.body(), 0));
    let start = Instant::now();
    while start.elapsed() < time {
        if word(call.body(), 1) != 0 {
            session.heartbeat();
        }
        thread::park_timeout(REST);
    }
}

fn state_number(state: PeerState) -> u64 {
    match state {
        PeerState::Alive => 0,
        PeerState::Dormant => 1,
        PeerState::Unresponsive { .. } => 2,
        _ => 3,
    }
}

fn make_noise(bytes: usize) {
    let line = [b'~'; 1024];
    for _ in 0..bytes.div_ceil(line.len()) {
        // Whoever reads it may have gone.
        let _ = std::io::stdout().write_all(&line);
        let _ = std::io::stderr().write_all(&line);
    }
}
