//! How a plugin comes to its end.
//!
//! Told by its host, by a signal, by its own idleness or by a task that panicked: background tasks hear that they are to
//! stop, the program's own last deeds are done, and what is in progress has a limited time to end. Where it is not the host
//! that ends it, the session is closed behind that, and says why.

use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_session::{AsCaller, CallOptions, Code, Status};

use crate::background::{Background, Task};
use crate::guardian::AGES;
use crate::life::Life;
use crate::lifecycle::PING;

/// How often it is looked whether the calls in flight have ended, which nobody announces.
const LOOK: Duration = Duration::from_millis(2);
/// How long the host has to say that it opens no more calls.
const GO_AWAY_PATIENCE: Duration = Duration::from_secs(1);

/// What a program does last.
pub(crate) type LastDeed = Box<dyn FnOnce() + Send>;

/// Why a plugin ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nobody has called it for so long.
    Idle(Duration),
    /// A signal of this name has come.
    Signal(&'static str),
    /// A background task panicked.
    Panic,
}

/// The way to the end.
pub(crate) struct Ending {
    name: String,
    life: Arc<Life>,
    /// For calls, work and tasks.
    limit: Duration,
    background: Background,
    /// Held while the plugin winds down.
    last_deeds: Mutex<Vec<LastDeed>>,
    wound_down: AtomicBool,
    /// What ends the session, to be joined.
    threads: Mutex<Vec<JoinHandle<()>>>,
    failure: Mutex<Option<Reason>>,
}

impl Ending {
    pub(crate) fn new(name: &str, life: &Arc<Life>, limit: Duration) -> Self {
        Self {
            name: name.to_owned(),
            life: Arc::clone(life),
            limit,
            background: Background::default(),
            last_deeds: Mutex::default(),
            wound_down: AtomicBool::new(false),
            threads: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// How long calls, work and tasks have to end.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Starts background tasks, and knows what is to be done last.
    pub(crate) fn add(self: &Arc<Self>, tasks: Vec<Task>, last_deeds: Vec<LastDeed>) -> std::io::Result<()> {
        for task in tasks {
            let (ending, life) = (Arc::clone(self), Arc::clone(&self.life));
            let task = Box::new(move || {
                let _within = life.runtime.enter();
                task();
            });
            self.background.start(task, move || {
                ending.say("a background task panicked: the plugin ends");
                *ending.failure.lock() = Some(Reason::Panic);
                ending.begin(Reason::Panic);
            })?;
        }
        self.last_deeds.lock().extend(last_deeds);
        Ok(())
    }

    /// What went wrong, if the plugin ends by that.
    pub(crate) fn failure(&self) -> Option<Reason> {
        *self.failure.lock()
    }

    /// Ends the plugin, on a thread of its own.
    pub(crate) fn begin(self: &Arc<Self>, reason: Reason) {
        let ending = Arc::clone(self);
        let end = move || ending.end(reason);
        match std::thread::Builder::new().name("rapace-end".to_owned()).spawn(end) {
            Ok(thread) => self.threads.lock().push(thread),
            // There is no graceful way without it.
            Err(_) => self.close(reason),
        }
    }

    fn end(&self, reason: Reason) {
        if let Some(session) = self.life.host.session() {
            session.go_away(&reason.status());
            // The answer, whatever it is, comes behind all calls that the host sent before it heard that. So they have been
            // refused by then, and the host knows that they have not run.
            let options = CallOptions::new().deadline(GO_AWAY_PATIENCE);
            let _ = session.as_caller().call_blocking(PING, b"", &options);
        }
        self.wind_down(0);
        self.close(reason);
    }

    fn close(&self, reason: Reason) {
        if let Some(session) = self.life.host.session() {
            session.close(&reason.status());
        }
    }

    /// Stops whatever goes on, as far as it does so within the limit. `own` calls of the host wait for that. Whoever comes
    /// while another thread is at it waits for that one.
    pub(crate) fn wind_down(&self, own: usize) {
        self.life.stop.say();
        let mut last_deeds = self.last_deeds.lock();
        let _within = self.life.runtime.enter();
        for deed in last_deeds.drain(..) {
            if catch_unwind(AssertUnwindSafe(deed)).is_err() {
                self.say("what was to be done at the shutdown panicked");
            }
        }
        // A limit beyond what the clock can say is as good as a year.
        let deadline = Instant::now() + self.limit.min(AGES);
        while self.life.is_busy(own) && Instant::now() < deadline {
            std::thread::park_timeout(LOOK);
        }
        if self.life.is_busy(own) {
            self.say(&format!("calls or work go on {:?} after the word to stop", self.limit));
        }
        let tasks = self.background.join(deadline);
        if tasks > 0 {
            self.say(&format!("{tasks} background tasks go on {:?} after the word to stop", self.limit));
        }
        self.life.flush_log(deadline);
        self.wound_down.store(true, Ordering::Relaxed);
        drop(last_deeds);
    }

    /// Whether the plugin has stopped all that does stop.
    pub(crate) fn is_wound_down(&self) -> bool {
        self.wound_down.load(Ordering::Relaxed)
    }

    /// Waits until whoever ends the plugin is done with it.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        // A panic is the runtime's to print.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// A line on standard error, if anybody takes it.
    pub(crate) fn say(&self, what: &str) {
        let _ = writeln!(std::io::stderr(), "{}: {what}", self.name);
    }
}

impl Reason {
    /// What the host is told. The details are for programs.
    fn status(self) -> Status {
        let (code, message, details) = match self {
            Self::Idle(time) => (Code::Unavailable, format!("the plugin was idle for {time:?}"), "idle"),
            Self::Signal(name) => (Code::Unavailable, format!("the plugin was ended by {name}"), "signal"),
            Self::Panic => (Code::Internal, "a background task of the plugin panicked".to_owned(), "panic"),
        };
        Status { details: details.into(), ..Status::new(code, message) }
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("background", &self.background).finish_non_exhaustive()
    }
}
