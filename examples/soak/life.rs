//! The lives of one plugin: it is started, left alone for a while, told to do its worst, and started again.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rapace::host::{CrashReport, Ending, ShutdownReport, StartCause, StartError};
use rapace::prelude::*;

use crate::contract::WorkerClient;
use crate::counts::Notes;
use crate::stop::Stop;
use crate::temper::{End, NEVER_STARTS, Outlook, Temper, Trick};

/// How long an end that is due may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a plugin whose end is due.
const LOOK: Duration = Duration::from_millis(20);
/// How long a plugin is watched that goes on in order.
const SURVIVES_FOR: Duration = Duration::from_millis(700);

/// How lives ended, counted.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// Ends that must not be.
    pub(crate) notes: Notes,
}

impl Ends {
    fn add(&self, end: &End) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(end.kind()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who restarts a plugin.
pub(crate) struct Keeper {
    pub(crate) plugin: PluginHandle,
    pub(crate) temper: Temper,
    pub(crate) ends: Arc<Ends>,
    pub(crate) rng: Rng,
    pub(crate) stop: Arc<Stop>,
}

impl Keeper {
    /// Keeps the plugin, which runs, until it is time to stop; then it runs, if it will start.
    pub(crate) fn run(mut self) {
        loop {
            let most = if self.temper == Temper::Slow { 20_000 } else { 2_000 };
            self.stop.rest(Duration::from_millis(self.rng.u64(100..most)));
            if self.stop.is_set() {
                return;
            }
            self.end_life();
            while let Err(error) = self.plugin.restart() {
                note_start(&self.ends, self.temper, &error);
                // Something that is broken for good does not keep the machine busy.
                self.stop.rest(Duration::from_millis(100));
                if self.stop.is_set() {
                    return;
                }
            }
        }
    }

    fn end_life(&mut self) {
        let tricks = self.temper.tricks();
        let trick = tricks[self.rng.usize(..tricks.len())];
        let after_ms = match trick.outlook() {
            Outlook::Ends if self.rng.bool() => 0,
            _ => self.rng.u32(1..100),
        };
        let early = self.plugin.state();
        if trick == Trick::KilledByHost {
            self.plugin.kill();
        } else if self.temper != Temper::Slow {
            // What comes of it is seen by the end.
            let _ = WorkerClient::new(&self.plugin).blocking().turn(trick, after_ms);
        }
        let end = match trick.outlook() {
            Outlook::Ends => self.await_crash(),
            Outlook::Hangs => self.await_silence(),
            Outlook::Survives => self.see_out(),
        };
        self.ends.add(&end);
        if early != PluginState::Running || !trick.allows(&end) {
            let report = self.plugin.crash().map_or_else(String::new, |crash| format!(": {crash}"));
            let name = self.plugin.name();
            self.ends.notes.add(|| format!("{name} was {early} before {trick:?}, then {end}{report}"));
        }
    }

    /// Waits until the plugin has crashed.
    fn await_crash(&self) -> End {
        let crashed = self.eventually(|| {
            // A host that counts what it has left finds returns that are false.
            self.plugin.session().iter().for_each(|session| _ = session.stats());
            self.plugin.peer_state();
            self.plugin.state() == PluginState::Crashed
        });
        match self.plugin.crash() {
            Some(crash) if crashed => end_of(&crash),
            _ => {
                self.plugin.kill();
                End::Other(format!("no end within {PATIENCE:?}"))
            }
        }
    }

    /// Waits until the plugin is seen to make no progress, and kills it.
    fn await_silence(&self) -> End {
        let silent = self.eventually(|| matches!(self.plugin.peer_state(), PeerState::Unresponsive { .. }));
        let exit = self.plugin.kill();
        match exit.and_then(|exit| exit.signal()) {
            Some(9) if silent => End::Unresponsive,
            _ => End::Other(format!("silent: {silent}, then {exit:?}")),
        }
    }

    /// Sees that the plugin goes on, and shuts it down.
    fn see_out(&self) -> End {
        self.stop.rest(SURVIVES_FOR);
        let state = self.plugin.state();
        match self.plugin.shutdown() {
            Some(report) if state == PluginState::Running => end_of_shutdown(&report),
            report => End::Other(format!("{state}, then {report:?}; {:?}", self.plugin.crash())),
        }
    }

    fn eventually(&self, mut condition: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        while !condition() {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

/// Counts a start that came to nothing, which is for those that crash alone.
pub(crate) fn note_start(ends: &Ends, temper: Temper, error: &StartError) {
    ends.add(&End::NotStarted);
    let has_left = error.exit.and_then(|exit| exit.code()) == Some(NEVER_STARTS);
    // On a busy machine the end of a process may come a while behind that of its socket.
    let is_leaving = matches!(*error.cause, StartCause::HungUp);
    if temper != Temper::Crashing || !(has_left || is_leaving) {
        ends.notes.add(|| format!("{temper:?}: {error}"));
    }
}

/// How a plugin ended that was not told to.
fn end_of(crash: &CrashReport) -> End {
    match &*crash.end {
        SessionEnd::Fault(fault) => End::Fault(fault.rule()),
        SessionEnd::PeerGone(exit) => of_exit(exit.or(crash.exit)).unwrap_or_else(|| End::Other(crash.to_string())),
        _ => End::Other(crash.to_string()),
    }
}

fn of_exit(exit: Option<ExitStatus>) -> Option<End> {
    let exit = exit?;
    exit.code().map(End::Exit).or(exit.signal().map(End::Signal))
}

/// How a plugin ended that was told to.
pub(crate) fn end_of_shutdown(report: &ShutdownReport) -> End {
    let exited = report.exit.is_some_and(|exit| exit.success());
    match (&report.acknowledged, report.ending) {
        (Ok(()), Ending::Exited) if exited => End::Stopped,
        _ => End::Other(report.to_string()),
    }
}
