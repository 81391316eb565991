//! The plugins that keep to the protocol, whatever else they do.

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};
use nix::unistd::{Pid, setpgid};
use rapace::prelude::*;

use crate::contract::{Failure, HostClient, Left, Load, Worker, WorkerServer, registry, size};
use crate::liar;
use crate::temper::{LEAVES, NEVER_STARTS, Temper, Trick};

/// How the program is run; whoever starts a plugin by hand is told so.
const HINT: &str = "cargo run --release --example soak";
/// Between two calls of a plugin's own.
const REST: Duration = Duration::from_millis(3);
/// Failures of its own calls that a plugin can tell of.
const FAILURES_KEPT: usize = 5;
/// One start in so many comes to nothing, of plugins that crash.
const STARTS: u8 = 12;

/// Runs a plugin of this temper.
pub(crate) fn run(temper: Temper) -> ExitCode {
    // Ctrl-C is for the host, which then shuts its plugins down. Without these the verdict would only be a worse one.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    match temper {
        Temper::Lying => rapace::plugin::run(liar::run),
        Temper::Crashing if fastrand::u8(..STARTS) == 0 => std::process::exit(NEVER_STARTS),
        _ => rapace::plugin::run(|| serve(temper)),
    }
}

fn serve(temper: Temper) -> Result<(), Box<dyn Error>> {
    let (silent, blocked, quiet) = Default::default();
    let (handled, made, slots, failures) = Default::default();
    let state = Arc::new(State { temper, silent, blocked, quiet, handled, made, slots, failures });
    let config = Config { registry: registry()?, ..Config::new(temper.name(), env!("CARGO_PKG_VERSION")) };
    let plugin = Plugin::attach_with(config, HINT, |host| {
        Services::new().add(WorkerServer::new(Plain { host, state: Arc::clone(&state) }))
    })?;
    state.slots.store(plugin.session().stats().slots_free.into(), Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| visit(&plugin, &state));
        // One that hangs has one thread for it.
        if temper != Temper::Hanging {
            scope.spawn(|| plugin.session().serve());
        }
        Ok(plugin.serve()?)
    })
}

/// Calls the host without being asked to, from its own first call until the session ends.
fn visit(plugin: &Plugin, state: &State) {
    let (host, mut rng) = (HostClient::new(plugin).blocking(), fastrand::Rng::new());
    // The host counts its slots before it calls, and none of them is to be under way then.
    while state.handled.load(Relaxed) == 0 {
        if plugin.session().end().is_some() {
            return;
        }
        thread::sleep(REST);
    }
    while !state.quiet.load(Relaxed) {
        let load = Load::new(rng.u64(..), rng.usize(..20_000));
        let expected = load.answer();
        state.made.fetch_add(1, Relaxed);
        match host.echo(load) {
            Ok(reply) if Ok(&reply) == expected.as_ref() => {}
            Ok(_) => state.fail("a reply of the host is wrong".to_owned()),
            Err(rapace::Error::Call(CallError::SessionEnded { .. } | CallError::Refused { .. })) => return,
            Err(error) => state.fail(error.to_string()),
        }
        thread::sleep(REST);
    }
}

struct State {
    temper: Temper,
    /// Handlers answer no more.
    silent: AtomicBool,
    /// The next handler keeps its thread.
    blocked: AtomicBool,
    quiet: AtomicBool,
    handled: AtomicU64,
    made: AtomicU64,
    /// Own slots at the beginning.
    slots: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl State {
    fn fail(&self, failure: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_KEPT {
            failures.push(failure);
        }
    }

    /// What each handler begins with.
    async fn begin(&self) {
        if self.temper == Temper::Slow {
            let most = if fastrand::u8(..50) == 0 { 300 } else { 20 };
            thread::sleep(Duration::from_millis(fastrand::u64(..most)));
        }
        while self.blocked.load(Relaxed) {
            thread::park();
        }
        if self.silent.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn play(&self, trick: Trick) {
        match trick {
            Trick::Leave => std::process::exit(LEAVES),
            Trick::Abort => std::process::abort(),
            Trick::Kill => signal(Signal::SIGKILL),
            Trick::Fpe => signal(Signal::SIGFPE),
            Trick::Stop => signal(Signal::SIGSTOP),
            Trick::Block => self.blocked.store(true, Relaxed),
            Trick::Silence => self.silent.store(true, Relaxed),
            _ => {}
        }
    }
}

fn signal(signal: Signal) {
    // An error leaves a plugin that goes on, which the verdict notes.
    let _ = raise(signal);
}

fn inner(error: impl Error) -> Failure {
    Failure::Inner(error.to_string())
}

struct Plain {
    host: HostHandle,
    state: Arc<State>,
}

impl Worker for Plain {
    async fn ping(&self, number: u64) -> u64 {
        self.state.handled.fetch_add(1, Relaxed);
        self.state.begin().await;
        number.wrapping_add(1)
    }

    async fn echo(&self, load: Load) -> Result<Load, Failure> {
        self.state.handled.fetch_add(1, Relaxed);
        self.state.begin().await;
        load.answer()
    }

    fn count(&self, seed: u64, items: u32, bytes: u32) -> impl Stream<Item = Load> {
        stream::iter((0..items).map(move |index| Load::of_stream(seed, index, size(bytes))))
    }

    async fn sum(&self, mut loads: Incoming<Load>) -> Result<u32, Failure> {
        self.state.begin().await;
        let mut count = 0;
        while let Some(load) = loads.next().await {
            load.map_err(inner)?.answer()?;
            count += 1;
        }
        Ok(count)
    }

    fn relay(&self, loads: Incoming<Load>) -> impl Stream<Item = Load> {
        // A damaged load is missing in what the host gets back.
        loads.filter_map(|load| std::future::ready(load.ok().and_then(|load| load.answer().ok())))
    }

    async fn nested(&self, ctx: &Context, depth: u32) -> Result<u32, Failure> {
        self.state.begin().await;
        let Some(below) = depth.checked_sub(1) else { return Ok(0) };
        Ok(1 + HostClient::new(ctx).bounce(below).await.map_err(inner)?)
    }

    async fn pull(&self, ctx: &Context, seed: u64, items: u32) -> Result<u32, Failure> {
        let mut loads = HostClient::new(ctx).stock(seed, items, 1000).await.map_err(inner)?;
        let mut count = 0;
        while let Some(load) = loads.next().await {
            let load = load.map_err(inner)?;
            if load != Load::of_stream(seed, count, 1000) {
                return Err(Failure::Damaged(format!("load {count} of the host")));
            }
            count += 1;
        }
        Ok(count)
    }

    async fn wait(&self, ctx: &Context) {
        ctx.cancelled().await;
    }

    async fn turn(&self, trick: Trick, after_ms: u32) {
        if after_ms == 0 {
            return self.state.play(trick);
        }
        let state = Arc::clone(&self.state);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(after_ms.into()));
            state.play(trick);
        });
    }

    async fn left(&self) -> Left {
        self.state.quiet.store(true, Relaxed);
        let stats = self.host.session().map(|session| session.stats()).unwrap_or_default();
        let calls = stats.calls_in_flight + stats.served_in_flight.saturating_sub(1) + stats.tasks;
        Left {
            kept: (calls + stats.inbound_bytes + stats.outbound_bytes) as u64 + u64::from(stats.runs_held),
            slots: self.state.slots.load(Relaxed).abs_diff(stats.slots_free.into()),
            faults: stats.faults.into(),
            handled: self.state.handled.load(Relaxed),
            made: self.state.made.load(Relaxed),
            failures: self.state.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
