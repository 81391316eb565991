//! One life of a plugin: a process, its session, its end. A restart makes another one, and nothing is used again (SPEC P4).

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rapace_registry::{MethodId, Registry, Service, Version, json};
use rapace_service::intercept::SharedInterceptors;
use rapace_session::{
    CallError, CallOptions, Code, Config, Handshake, HandshakeError, LIFECYCLE_METHODS, PeerA, Process, Session,
    SessionEnd, Status,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::builder::Context;
use crate::crash::{Ages, CrashReport, LINES_KEPT, Names, SegmentAtEnd};
use crate::ending::Ending;
use crate::history::History;
use crate::kind::Connection;
use crate::limits::{Enclosure, Enforcement, Usage, watch_processor_time};
use crate::output::{Output, Stream};
use crate::sandbox::SandboxReport;
use crate::scope::{Limit, PluginScope};
use crate::spec::PluginSpec;
use crate::start::{StartCause, StartError};

/// How long a process that has lost its session may take to end by itself.
const EXIT_PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Instance {
    pub(crate) session: Session<PeerA>,
    pub(crate) pid: Option<u32>,
    /// A person has started it, who may have it in a debugger.
    pub(crate) is_by_hand: bool,
    /// What it is confined to.
    pub(crate) sandbox: Option<SandboxReport>,
    pidfd: Option<OwnedFd>,
    started: Instant,
    output: Option<Output>,
    enclosure: Option<Arc<Enclosure>>,
    enforcement: Enforcement,
    crash: OnceLock<CrashReport>,
    /// When its calls were seen.
    ages: Mutex<Ages>,
    history: Arc<History>,
    /// What it may call.
    pub(crate) offered: Arc<Registry>,
    scope: PluginScope,
    /// Of what the session has refused, what the scope has been told.
    refused: Mutex<[u64; 2]>,
}

impl Instance {
    /// Starts the process and shakes hands with it. When that fails, the process is killed and reaped.
    pub(crate) fn start(
        context: &Context,
        spec: &PluginSpec,
        scope: &PluginScope,
        history: &Arc<History>,
        around: &SharedInterceptors,
    ) -> Result<Self, StartError> {
        let of_cause = |cause| StartError::new(spec, cause);
        let of_status = |status| StartCause::Handshake(HandshakeError::OwnHello(status));
        let (services, offered) = context.services_of(scope).map_err(of_status).map_err(of_cause)?;
        lacking(&spec.requires, &offered).map_or(Ok(()), |(service, expected, found)| {
            Err(of_cause(StartCause::NotOffered { service, expected, found }))
        })?;
        if let Some(limit) = spec.limits.impossible().next() {
            return Err(of_cause(StartCause::NothingAllowed(limit)));
        }
        if let Some(reason) = spec.unconfined() {
            return Err(of_cause(StartCause::NotSandboxed(reason)));
        }
        // What the last life has started may hold what this one needs.
        scope.ends().wait();
        // Asked before, for one that joins is there once.
        let program = spec.kind.describe();
        let Connection { socket, process, output, sandbox, enclosure, is_by_hand } =
            spec.kind.connect(&spec.new_life(Some(context), scope)).map_err(of_cause)?;
        // What the host has verified before takes nothing of the plugin's time: a large program is hashed for long.
        let started = Instant::now();
        let pid = process.as_ref().map(Process::id);
        if let Some(pid) = pid {
            scope.is_process(pid);
        }
        let read = |(stdout, stderr)| context.output.read(scope, stdout, stderr);
        let output = output.map(read).transpose().map_err(StartCause::os("read the output")).map_err(of_cause)?;
        let own = enclosure.as_ref().map(|enclosure| enclosure.enforcement());
        let enforcement = own.unwrap_or_else(|| Enforcement::nothing(scope.limits()));
        tracing::info!(plugin = %spec.name, pid, %program, "started");
        if let Some(sandbox) = &sandbox {
            note(&spec.name, pid, sandbox);
        }
        if let Some(enclosure) = &enclosure {
            context.attendance.spawn(watch_processor_time(Arc::downgrade(enclosure)));
        }
        let offered = Arc::new(offered);
        let registry = Registry::clone(&offered);
        let config = Config { registry, observe: context.observe, ..spec.configured(&context.config) };
        let handshake = || {
            let pidfd = process.as_ref().map(|process| process.as_fd().try_clone_to_owned()).transpose()?;
            let handshake = Handshake::<PeerA>::offer(socket, process, config)?;
            let session = handshake.finish(services)?;
            // Before any call of the plugin, so that what a handler calls back with has it.
            session.put_around(around.around());
            context.attendance.attend(&session)?;
            Ok((pidfd, session))
        };
        match handshake() {
            Ok((pidfd, session)) => match lacking(&spec.provides, &session.peer().registry) {
                None => {
                    let (crash, scope, refused) = (OnceLock::new(), scope.clone(), Mutex::default());
                    let (ages, history) = (Mutex::new(Ages::new(Instant::now())), Arc::clone(history));
                    Ok(Self {
                        session,
                        pid,
                        is_by_hand,
                        sandbox,
                        pidfd,
                        started,
                        output,
                        enclosure,
                        enforcement,
                        crash,
                        offered,
                        ages,
                        history,
                        scope,
                        refused,
                    })
                }
                Some((service, expected, found)) => {
                    session.close(&Status::new(Code::FailedPrecondition, "a service is missing"));
                    session.reap(Duration::ZERO);
                    Err(of_cause(StartCause::NotProvided { service, expected, found }))
                }
            },
            Err(error) => {
                let exit = if let HandshakeError::PeerGone(exit) = error { exit } else { None };
                let stderr = tail(output.as_ref(), Stream::Stderr);
                let cause = StartCause::of_handshake(error, &tail(output.as_ref(), Stream::Stdout));
                Err(StartError { exit, stderr, ..of_cause(cause) })
            }
        }
    }

    /// Calls `initialize`, within what is left of the start timeout. When that fails, the process is killed and reaped.
    pub(crate) fn initialize(&self, context: &Context, spec: &PluginSpec) -> Result<(), StartError> {
        let whole = context.config.timeouts.start;
        let left = whole.saturating_sub(self.started.elapsed());
        self.call_lifecycle(LIFECYCLE_METHODS[0], &spec.config_data, left).map_err(|error| {
            // What was left tells nobody which time it was that was over.
            let error = match error {
                CallError::DeadlineExceeded { .. } => CallError::DeadlineExceeded { waited: whole },
                other => other,
            };
            let exit = match error.session_end() {
                Some(SessionEnd::PeerGone(exit)) => *exit,
                _ => None,
            };
            let stderr = self.crash_report().stderr;
            StartError { exit, stderr, ..StartError::new(spec, StartCause::Initialize(error)) }
        })
    }

    /// Calls `shutdown`.
    pub(crate) fn call_shutdown(&self, patience: Duration) -> Result<(), CallError> {
        self.call_lifecycle(LIFECYCLE_METHODS[1], b"", patience)
    }

    /// A plugin that does not serve a lifecycle call has nothing to do for it.
    fn call_lifecycle(&self, method: u32, body: &[u8], patience: Duration) -> Result<(), CallError> {
        match self.session.call_lifecycle(method, body, &CallOptions::new().deadline(patience)) {
            Err(CallError::Status(Status { code: Code::Unimplemented, .. })) => Ok(()),
            Ok(reply) => match own_error(&self.session.peer().registry, method, &reply.body) {
                Some(error) => Err(CallError::Status(Status::new(Code::FailedPrecondition, error))),
                None => Ok(()),
            },
            Err(error) => Err(error),
        }
    }

    /// Ends the process, the more firmly the longer it takes.
    pub(crate) fn end(&self, plugin: &str, exit: Duration, terminate: Duration) -> (Ending, Option<ExitStatus>) {
        let ending = if self.has_ended_within(exit) {
            Ending::Exited
        } else {
            tracing::warn!(plugin, pid = self.pid, waited = ?exit, "does not end: SIGTERM");
            // An error means that it has just ended.
            if let Some(pidfd) = &self.pidfd {
                let _ = pidfd_send_signal(pidfd, Signal::TERM);
            }
            if self.has_ended_within(terminate) {
                Ending::Terminated
            } else {
                tracing::warn!(plugin, pid = self.pid, waited = ?terminate, "does not end: SIGKILL");
                Ending::Killed
            }
        };
        (ending, self.kill())
    }

    /// Kills the process if it has not ended, with all that it has started, reaps it, and says how it ended.
    pub(crate) fn kill(&self) -> Option<ExitStatus> {
        self.settle();
        let exit = self.session.reap(Duration::ZERO);
        self.scope.ends().wait();
        exit
    }

    /// What is to be said of its end, which nobody asked for; a process that goes on is killed.
    pub(crate) fn crash_report(&self) -> CrashReport {
        let report = self.crash.get_or_init(|| {
            self.settle();
            let exit = self.session.reap(EXIT_PATIENCE);
            let end = self.session.end().unwrap_or_else(|| Arc::new(SessionEnd::PeerGone(exit)));
            let overruns = self.enclosure.as_ref().map(|enclosure| enclosure.overruns()).unwrap_or_default();
            let (condition, stats) = (self.session.condition(), self.session.stats());
            let names = Names { of_plugin: &self.session.peer().registry, of_host: &self.offered };
            let (calls, served) = self.ages.lock().at_end(&condition, &names);
            let stderr = tail(self.output.as_ref(), Stream::Stderr);
            // What it has printed is read by now, to the other output too.
            tail(self.output.as_ref(), Stream::Stdout);
            CrashReport {
                time: SystemTime::now(),
                process_id: self.pid,
                exit,
                end,
                uptime: self.uptime(),
                restarts: self.history.restarts(),
                overruns,
                calls,
                served,
                segment: SegmentAtEnd::new(&condition, &stats),
                stderr,
                log: self.scope.tail().last(LINES_KEPT, self.pid),
            }
        });
        report.clone()
    }

    /// Has the scope count what the session and the operating system have refused.
    pub(crate) fn settle(&self) {
        let mut told = self.refused.lock();
        let stats = self.session.stats();
        let now = [stats.requests_refused, stats.calls_refused];
        let before = std::mem::replace(&mut *told, now);
        drop(told);
        // Telling is logging, and what logs is somebody else's code.
        for (limit, before, now) in [(Limit::MessageBytes, before[0], now[0]), (Limit::Calls, before[1], now[1])] {
            self.scope.overrun_by(limit, now - before, "its session has refused that");
        }
        if let Some(enclosure) = &self.enclosure {
            enclosure.notice();
        }
    }

    /// By what it is held to the operating system's limits.
    pub(crate) fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// What it uses, while it runs.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let usage = self.enclosure.as_ref()?.usage(self.pid)?;
        // Of one that has ended the id may be another's.
        if self.has_ended_within(Duration::ZERO) {
            return None;
        }
        if let Some(enclosure) = &self.enclosure {
            enclosure.note_cpu(usage.cpu);
        }
        Some(usage)
    }

    /// A processor's time that it has used as far as was looked, and all of it when it has ended; none of what the host has not
    /// started.
    pub(crate) fn cpu_seen(&self) -> Option<Duration> {
        self.enclosure.as_ref().map(|enclosure| enclosure.cpu_seen())
    }

    /// Notes which calls are in flight, so that their age is known should it end.
    pub(crate) fn look_at_calls(&self) {
        self.ages.lock().look(&self.session.calls_in_flight(), Instant::now());
    }

    /// Lines that it has printed.
    pub(crate) fn lines(&self, stream: Stream) -> u64 {
        self.output.as_ref().map_or(0, |output| output.lines(stream))
    }

    /// How long it has been there.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it ended by itself in good order: it closed the session, and its process, if it had one, exited with 0.
    pub(crate) fn has_left(&self, report: &CrashReport) -> bool {
        let closed = matches!(&*report.end, SessionEnd::PeerClosed(_));
        closed && report.exit.map_or(self.pid.is_none(), |exit| exit.success())
    }

    fn has_ended_within(&self, patience: Duration) -> bool {
        let Some(pidfd) = &self.pidfd else { return true };
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            // A time that is too long for the kernel is without end.
            let timeout = Timespec::try_from(left).ok();
            let ended = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], timeout.as_ref());
            match ended {
                Ok(1..) => return true,
                _ if left.is_zero() => return false,
                // Interrupted, or woken early: it is looked again.
                Ok(0) | Err(_) => {}
            }
        }
    }
}

/// Tells what a process is confined to, and loudly what of it does not hold.
fn note(plugin: &str, pid: Option<u32>, sandbox: &SandboxReport) {
    if sandbox.is_complete() && sandbox.unreachable().is_empty() {
        tracing::info!(plugin, pid, %sandbox, "is confined");
    } else {
        tracing::warn!(plugin, pid, %sandbox, "is not confined to its permissions, or cannot use all of them");
    }
}

/// What a plugin says in a reply that is its own error: an `Err`, if its registry describes the method's result as a
/// `Result`.
fn own_error(registry: &Registry, method: u32, reply: &[u8]) -> Option<String> {
    let (_, method) = registry.method(MethodId::explicit(method).ok()?)?;
    let value = json::decode(method.result(), reply).ok()?;
    let error = value.as_object().filter(|object| object.len() == 1)?.get("Err")?;
    Some(error.as_str().map_or_else(|| error.to_string(), str::to_owned))
}

/// The first service that a registry does not have in this version or a later one that its callers understand.
fn lacking(expected: &[(String, Version)], registry: &Registry) -> Option<(String, Version, Option<Version>)> {
    expected.iter().find_map(|(name, expected)| {
        let found = registry.service(name).map(Service::version);
        let serves = found.is_some_and(|found| found.major == expected.major && found.minor >= expected.minor);
        (!serves).then(|| (name.clone(), *expected, found))
    })
}

/// The end of what has been printed.
fn tail(output: Option<&Output>, stream: Stream) -> String {
    output.map(|output| output.tail(stream)).unwrap_or_default()
}
