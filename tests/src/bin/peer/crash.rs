//! Peers that make calls of all kinds themselves, until they or their peer crash, and tell what became of each call.

use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rapace_core::socket::Socket;
use rapace_session::tokio::AsyncSession;
use rapace_session::{Code, Handshake, IncomingCall, PeerA, Process, Role, Session, Status};
use rapace_tests::exercise::{Ledger, exercise, have_exercised};
use rapace_tests::method;
use rapace_tests::pattern::word;
use rapace_tests::service::Service;
use rapace_tests::snapshot::Snapshot;
use tokio::runtime::Builder;

use crate::Failure;
use crate::options::Options;
use crate::plugin::{exit_code, serve_in_tokio};

/// Plugins of a host.
const PLUGINS: usize = 2;
/// How long a host waits for a plugin to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The calls that a peer makes at the wish of the other.
#[derive(Default)]
pub(crate) struct Exercise {
    ledger: Arc<Ledger>,
    callers: Mutex<Vec<JoinHandle<()>>>,
}

impl Exercise {
    /// Makes calls on a thread of its own. Somebody serves, as it is a handler that wants it.
    pub(crate) fn begin<R: Role>(&self, session: &Session<R>, call: IncomingCall) {
        let (session, ledger) = (session.clone(), Arc::clone(&self.ledger));
        self.callers.lock().push(thread::spawn(move || {
            exercise(&session, &ledger, word(call.body(), 0));
            call.reply(b"");
        }));
    }

    /// Waits until every call has ended, and prints what became of them, if there were any.
    pub(crate) fn report<R: Role>(&self, session: &Session<R>) -> Result<(), Failure> {
        let callers = std::mem::take(&mut *self.callers.lock());
        if callers.is_empty() {
            return Ok(());
        }
        for caller in callers {
            caller.join().map_err(|_| "a thread that calls has panicked")?;
        }
        report(&self.ledger, &[session])
    }
}

/// Prints how many calls were begun, how many have ended, how many badly without a death, and what is left of them.
fn report<R: Role>(ledger: &Ledger, sessions: &[&Session<R>]) -> Result<(), Failure> {
    let left: u64 = sessions.iter().map(|session| Snapshot::from(session.stats()).left_over()).sum();
    println!("calls {} {} {} {left}", ledger.begun(), ledger.done(), ledger.wrong().len());
    match ledger.wrong().first() {
        Some(wrong) => Err(format!("a call has failed: {wrong}").into()),
        None => Ok(()),
    }
}

/// A host that calls its plugins and is called by them, for so many rounds, and then closes. They have its arguments, and
/// its standard output.
pub(crate) fn host(options: Options) -> Result<ExitCode, Failure> {
    let started = (0..PLUGINS).map(|_| start_plugin()).collect::<Result<Vec<_>, _>>()?;
    let rounds = options.exercise;
    let mut sessions = Vec::new();
    for (socket, child) in started {
        let handler = Arc::new(Service::default()).router();
        sessions.push(
            Handshake::<PeerA>::offer(socket, Some(Process::new(child)?), options.config.clone())?.finish(handler)?,
        );
    }
    // With a runtime of its own, as plugin hosts have one.
    let runtime =
        options.tokio.then(|| Builder::new_multi_thread().worker_threads(1).enable_all().build()).transpose()?;
    if let Some(runtime) = &runtime {
        runtime
            .block_on(async { sessions.iter().try_for_each(|session| AsyncSession::new(session.clone()).map(drop)) })?;
    }
    println!("open");
    let ledger = Ledger::default();
    thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| have_exercised(session, &ledger, rounds));
            scope.spawn(|| exercise(session, &ledger, rounds));
        }
    });
    for session in &sessions {
        session.close(&Status::new(Code::Unavailable, "the host has done its rounds"));
        let exit = session.reap(PATIENCE);
        if !exit.is_some_and(|exit| exit.success()) {
            return Err(format!("a plugin has ended with {exit:?}").into());
        }
    }
    report(&ledger, &sessions.iter().collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// The host of a plugin that has started it, over its standard input. It makes calls when it is asked to, and closes the
/// session when it is asked to; the exit code is a plugin's.
pub(crate) fn plugins_host(options: Options) -> Result<ExitCode, Failure> {
    let (own, exercise) = (Arc::new(OnceLock::<Session<PeerA>>::new()), Arc::new(Exercise::default()));
    let with = |handle: fn(&Session<PeerA>, &Exercise, IncomingCall)| {
        let (own, exercise) = (Arc::clone(&own), Arc::clone(&exercise));
        move |call: IncomingCall| {
            if let Some(session) = own.get() {
                handle(session, &exercise, call);
            }
        }
    };
    let router = Arc::new(Service::default())
        .router()
        .method(method::EXERCISE, with(|session, exercise, call| exercise.begin(session, call)))
        .method(
            method::CLOSE,
            with(|session, _, _| session.close(&Status::new(Code::Aborted, "the host has had enough"))),
        );
    let session = Handshake::<PeerA>::offer(Socket::from_stdin()?, None, options.config)?.finish(router)?;
    // Nobody else sets it, and no handler runs before somebody serves.
    let _ = own.set(session.clone());
    let end = if options.tokio { serve_in_tokio(&session)? } else { session.serve() };
    exercise.report(&session)?;
    Ok(exit_code(&end))
}

fn start_plugin() -> Result<(Socket, Child), Failure> {
    let (ours, theirs) = Socket::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    // The arguments behind the behaviour are the plugin's too; it is not to crash.
    command.arg("serve").args(std::env::args().skip(2)).env_remove("RAPACE_CRASH_AT");
    let child = command.env("RAPACE_PROTOCOL", "1").stdin(Stdio::from(theirs.into_fd())).spawn()?;
    Ok((ours, child))
}
