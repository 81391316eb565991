//! The host: what it starts, how it watches, and how it comes to its verdict.

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rapace::host::{BuildError, ShutdownTimes};
use rapace::intercept::CallMetrics;
use rapace::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::callers::{Caller, Present, in_words};
use crate::contract::{Left, WorkerClient, registry};
use crate::counts::{Counts, Notes, Outcome};
use crate::gauges::{Gauges, plugins_left};
use crate::lateness::Lateness;
use crate::life::{Ends, Keeper, end_of_shutdown, note_start};
use crate::options::Options;
use crate::screen::Screen;
use crate::services::services;
use crate::stop::Stop;
use crate::temper::{End, Temper};
use crate::verdict::{Evidence, Verdict};

/// Between two looks at what the host holds.
const SAMPLE: Duration = Duration::from_secs(1);
/// Of each plugin.
const THREADS: usize = 2;
const TASKS: usize = 3;
/// Threads that all tasks share.
const WORKERS: usize = 2;
/// How long callers may take to come back: the longest deadline, and the bound of a restart behind it.
const COMES_BACK: Duration = Duration::from_secs(100);
/// How long what ends by itself may take to be gone.
const SETTLES: Duration = Duration::from_secs(30);

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// A plugin and what is counted of it.
struct Guest {
    plugin: PluginHandle,
    temper: Temper,
    counts: Arc<Counts>,
    /// Of its first process, if it is good.
    first: Option<First>,
}

struct First {
    pid: u32,
    slots_free: u32,
}

/// What all callers and keepers have in common.
struct Soak {
    stop: Arc<Stop>,
    /// Calls that must not have ended so.
    notes: Arc<Notes>,
    ends: Arc<Ends>,
    metrics: CallMetrics,
    lateness: Lateness,
    /// What each caller is at.
    presents: Mutex<Vec<Present>>,
    begun: Instant,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("soak: {} minutes, {} plugins, seed {seed}", options.minutes, options.plugins);
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let (stop, notes, ends, metrics, lateness, presents) = Default::default();
    let soak = Soak { stop, notes, ends, metrics, lateness, presents, begun: Instant::now() };
    listen_for_ctrl_c(&runtime, &soak.stop)?;
    let mut evidence = Evidence { before: Gauges::read(Duration::ZERO, &[]), ..Evidence::default() };

    let host = build()?;
    let mut rng = Rng::with_seed(seed);
    let guests = soak.load(&host, options.plugins.into())?;
    let back = soak.start(&guests, &runtime, &mut rng);
    soak.watch(options.time(), &guests, &mut evidence);
    println!("stopping");
    evidence.callers_missing = missing(back);
    let presents = std::mem::take(&mut *soak.presents.lock().unwrap_or_else(PoisonError::into_inner));
    presents.iter().filter_map(in_words).for_each(|what| println!("unexpected: {what}"));
    soak.gather(&guests, &mut evidence);
    if evidence.callers_missing == 0 {
        soak.shut_down(&host, &guests, &mut evidence);
        drop((guests, host));
        evidence.after = settled(&evidence.before);
    }
    evidence.plugins_left = plugins_left();
    let verdict = Verdict::of(&evidence);
    let notes = soak.notes.kept().into_iter().chain(soak.ends.notes.kept());
    notes.for_each(|note| println!("unexpected: {note}"));
    println!("\n{verdict}");
    // A caller that has not come back would keep the runtime.
    runtime.shutdown_background();
    Ok(if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The host, as any program would make it.
fn build() -> Result<PluginHost> {
    let config = Config { registry: registry()?, ..Config::new("soak", env!("CARGO_PKG_VERSION")) };
    // On a machine with much else to do, a process takes its time to end.
    let times =
        ShutdownTimes { acknowledge: Duration::from_secs(10), exit: Duration::from_secs(10), ..Default::default() };
    let host = PluginHost::builder(config).services(|_| services()).shutdown_times(times);
    host.build().map_err(|error: BuildError| error.into())
}

fn listen_for_ctrl_c(runtime: &Runtime, stop: &Arc<Stop>) -> Result<()> {
    let _context = runtime.enter();
    let (mut interrupt, stop) = (signal(SignalKind::interrupt())?, Arc::clone(stop));
    runtime.spawn(async move {
        if interrupt.recv().await.is_some() {
            stop.set();
        }
    });
    Ok(())
}

impl Soak {
    fn load(&self, host: &PluginHost, plugins: usize) -> Result<Vec<Guest>> {
        let program = std::env::current_exe()?;
        let mut guests = Vec::new();
        for index in 0..plugins {
            let temper = Temper::of(index);
            let name = format!("{}-{index}", temper.name());
            let spec = PluginSpec::new(&name, &program).arg("--plugin").arg(temper.name());
            let spec = spec.arg("--host").arg(std::process::id().to_string());
            let plugin = loop {
                match host.load(spec.clone()) {
                    Ok(plugin) => break plugin,
                    Err(error) if temper == Temper::Crashing => note_start(&self.ends, temper, &error),
                    Err(error) => return Err(error.into()),
                }
            };
            let first = plugin.process_id().zip(plugin.session());
            let first = first.map(|(pid, session)| First { pid, slots_free: session.stats().slots_free });
            let first = first.filter(|_| temper == Temper::Good);
            guests.push(Guest { plugin, temper, counts: Arc::default(), first });
        }
        Ok(guests)
    }

    /// Starts all threads and tasks. Each holds a sender until it is done.
    fn start(&self, guests: &[Guest], runtime: &Runtime, rng: &mut Rng) -> Receiver<()> {
        let (done, back) = mpsc::channel();
        let (of_threads, of_tasks) = (self.lateness.clone(), self.lateness.clone());
        let (until, until_too, its_done) = (Arc::clone(&self.stop), Arc::clone(&self.stop), done.clone());
        spawn(&done, move || of_threads.of_threads(&until));
        runtime.spawn(async move {
            of_tasks.of_tasks(&until_too).await;
            drop(its_done);
        });
        for guest in guests {
            for index in 0..THREADS {
                // The first thread of a good plugin is timed; the others have nobody who watches.
                let caller = self.caller(guest, rng.fork(), index == 0 && guest.temper == Temper::Good);
                spawn(&done, move || caller.run());
            }
            for _ in 0..TASKS {
                let (caller, done) = (self.caller(guest, rng.fork(), false), done.clone());
                runtime.spawn(async move {
                    caller.run_async().await;
                    drop(done);
                });
            }
            if guest.temper != Temper::Good {
                let (plugin, temper, rng) = (guest.plugin.clone(), guest.temper, rng.fork());
                let (ends, stop) = (Arc::clone(&self.ends), Arc::clone(&self.stop));
                spawn(&done, move || Keeper { plugin, temper, ends, rng, stop }.run());
            }
        }
        back
    }

    fn caller(&self, guest: &Guest, rng: Rng, timed: bool) -> Caller {
        Caller {
            name: guest.plugin.name().into(),
            temper: guest.temper,
            worker: WorkerClient::new(&guest.plugin),
            counts: Arc::clone(&guest.counts),
            notes: Arc::clone(&self.notes),
            metrics: timed.then(|| self.metrics.clone()),
            rng,
            stop: Arc::clone(&self.stop),
            present: self.present(),
        }
    }

    fn present(&self) -> Present {
        let present = Present::default();
        self.presents.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&present));
        present
    }

    /// Looks at what the host holds until the time is over, or somebody has stopped it.
    fn watch(&self, time: Duration, guests: &[Guest], evidence: &mut Evidence) {
        let pids: Vec<u32> = guests.iter().filter_map(|guest| Some(guest.first.as_ref()?.pid)).collect();
        let mut screen = Screen::new();
        let begun = Instant::now();
        while begun.elapsed() < time && !self.stop.is_set() {
            self.stop.rest(SAMPLE.min(time.saturating_sub(begun.elapsed())));
            let gauges = Gauges::read(self.begun.elapsed(), &pids);
            screen.show(gauges.at, &self.shown(guests, &gauges));
            evidence.samples.push(gauges);
        }
        screen.finish();
        self.stop.set();
    }

    fn shown(&self, guests: &[Guest], gauges: &Gauges) -> Vec<String> {
        let of = |is_good: bool, count: &dyn Fn(&Counts) -> u64| -> u64 {
            let guests = guests.iter().filter(|guest| (guest.temper == Temper::Good) == is_good);
            guests.map(|guest| count(&guest.counts)).sum()
        };
        let calls = |is_good| of(is_good, &|counts| counts.ended.load(Relaxed));
        let bad = |outcome| of(false, &|counts| counts.get(outcome));
        let ends: Vec<String> = self.ends.counts().iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let snapshot = self.metrics.snapshot();
        let ping = snapshot.methods.iter().find(|method| method.method == "ping");
        let quantile = |per_mille| match ping.and_then(|ping| ping.latency.quantile(per_mille)) {
            Some(time) => format!("{time:.0?}"),
            None => "-".to_owned(),
        };
        let seconds = gauges.at.as_secs();
        vec![
            format!(
                "{}:{:02}  calls {}, to good plugins {} (failed {})  ping p50 {} p99 {}",
                seconds / 60,
                seconds % 60,
                calls(true) + calls(false),
                calls(true),
                self.notes.count(),
                quantile(500),
                quantile(990),
            ),
            format!(
                "to others: deadline {}, no room {}, ended {}, refused {}, status {}",
                bad(Outcome::Deadline),
                bad(Outcome::NoRoom),
                bad(Outcome::Ended),
                bad(Outcome::Refused),
                bad(Outcome::Status),
            ),
            format!(
                "latest: {:.1?} beyond its deadline, sleepers {:.1?}",
                guests.iter().map(|guest| guest.counts.overrun().0).max().unwrap_or_default(),
                self.lateness.most(),
            ),
            format!("restarts: {} (unexpected {})", ends.join(", "), self.ends.notes.count()),
            format!(
                "rss {} MiB, fds {}, threads {}, children {}, zombies {}, mappings {}",
                gauges.resident_kib >> 10,
                gauges.fds,
                gauges.threads,
                gauges.children,
                gauges.zombies,
                gauges.mappings,
            ),
        ]
    }

    /// What was counted, and what is still kept.
    fn gather(&self, guests: &[Guest], evidence: &mut Evidence) {
        for guest in guests {
            let counts = &guest.counts;
            println!("{:<12} {counts}", guest.plugin.name());
            evidence.started += counts.started.load(Relaxed);
            evidence.ended += counts.ended.load(Relaxed);
            evidence.overrun = counts.overrun().max(std::mem::take(&mut evidence.overrun));
            let Some(first) = &guest.first else { continue };
            evidence.good += counts.get(Outcome::Good);
            evidence.good_plugins += 1;
            evidence.stayed += u64::from(guest.plugin.process_id() == Some(first.pid));
            let (left, kept_here, slots_here) = self.clean(guest, first);
            evidence.counted[0] += counts.counted_good.load(Relaxed);
            evidence.counted[1] += left.handled;
            evidence.counted[2] += counts.counted_started.load(Relaxed);
            evidence.visits += left.made;
            evidence.visits_failed += left.failures.len() as u64;
            evidence.kept += left.kept + kept_here;
            evidence.slots_missing += left.slots + slots_here;
            evidence.faults += left.faults;
            if left.kept + left.slots + kept_here + slots_here != 0 {
                println!("unexpected: {kept_here} kept and {slots_here} slots missing here, there {left:?}");
            }
            for failure in &left.failures {
                println!("unexpected: {} calls its host: {failure}", guest.plugin.name());
            }
        }
        evidence.lateness = self.lateness.most();
        evidence.failures = self.notes.count();
        evidence.lives = self.ends.counts().values().sum();
        evidence.unexpected = self.ends.notes.count();
        let ends = self.ends.counts();
        let ends: Vec<String> = ends.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        println!("{:<12} {} ended: {}", "lives", evidence.lives, ends.join(", "));
        let pings = self.metrics.snapshot();
        let pings = pings.methods.iter().filter(|method| method.method == "ping");
        for ping in pings {
            let of = |per_mille| ping.latency.quantile(per_mille).unwrap_or_default();
            let [half, most, all] = [500, 990, 1000].map(of);
            println!(
                "{:<12} {} timed to good plugins: p50 {half:.1?}, p99 {most:.1?}, all {all:.1?}",
                "ping",
                ping.calls()
            );
        }
    }

    /// What a good plugin and its session keep when nothing is left to do, once that has settled.
    fn clean(&self, guest: &Guest, first: &First) -> (Left, u64, u64) {
        let worker = WorkerClient::new(&guest.plugin).blocking();
        let begun = Instant::now();
        loop {
            let left = match worker.left() {
                Ok(left) => left,
                Err(error) => {
                    let failures = vec![error.to_string()];
                    return (Left { failures, ..Left::default() }, 0, 0);
                }
            };
            let stats = guest.plugin.session().map(|session| session.stats()).unwrap_or_default();
            let calls = stats.calls_in_flight + stats.served_in_flight + stats.tasks;
            let kept = (calls + stats.inbound_bytes + stats.outbound_bytes) as u64 + u64::from(stats.runs_held);
            let slots = u64::from(first.slots_free.abs_diff(stats.slots_free));
            if left.kept + left.slots + kept + slots == 0 || begun.elapsed() > SETTLES {
                return (left, kept, slots);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn shut_down(&self, host: &PluginHost, guests: &[Guest], evidence: &mut Evidence) {
        let reports = host.shutdown();
        for guest in guests.iter().filter(|guest| guest.temper == Temper::Good) {
            let report = reports.iter().find(|(name, _)| **name == *guest.plugin.name());
            let end = report.map(|(_, report)| end_of_shutdown(report));
            if end != Some(End::Stopped) {
                self.ends.notes.add(|| format!("{} at the end: {end:?}", guest.plugin.name()));
            }
        }
        evidence.unexpected = self.ends.notes.count();
    }
}

fn spawn(done: &Sender<()>, work: impl FnOnce() + Send + 'static) {
    let done = done.clone();
    thread::spawn(move || {
        work();
        drop(done);
    });
}

/// Waits for all callers; says how many, at least, have not come back.
fn missing(back: Receiver<()>) -> u64 {
    match back.recv_timeout(COMES_BACK) {
        Err(RecvTimeoutError::Timeout) => 1,
        Ok(()) | Err(RecvTimeoutError::Disconnected) => 0,
    }
}

/// What is held when the host is gone; threads take a moment to end.
fn settled(before: &Gauges) -> Gauges {
    let begun = Instant::now();
    loop {
        let after = Gauges::read(Duration::ZERO, &[]);
        let is_clean = after.children + after.zombies + after.mappings + plugins_left() == 0;
        if is_clean && after.fds <= before.fds && after.threads <= before.threads || begun.elapsed() > SETTLES {
            return after;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
