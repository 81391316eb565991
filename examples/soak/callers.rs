//! The threads and tasks that call a plugin for as long as the program runs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rapace::Code;
use rapace::intercept::CallMetrics;

use crate::calls::{Answer, Method, Plan};
use crate::contract::{Failure, WorkerClient};
use crate::counts::{Counts, Notes, Outcome};
use crate::stop::Stop;
use crate::temper::Temper;

/// Calls in a row, at most.
const BURST: u32 = 30;
/// Between two bursts, at most.
const REST: Duration = Duration::from_millis(20);
/// A plugin that does not run takes no time to say so.
const NOT_RUNNING: Duration = Duration::from_millis(10);

/// One that calls a plugin.
pub(crate) struct Caller {
    pub(crate) name: Arc<str>,
    pub(crate) temper: Temper,
    pub(crate) worker: WorkerClient,
    pub(crate) counts: Arc<Counts>,
    /// What must not happen.
    pub(crate) notes: Arc<Notes>,
    /// Times the calls, if they are to be.
    pub(crate) metrics: Option<CallMetrics>,
    pub(crate) rng: Rng,
    pub(crate) stop: Arc<Stop>,
    /// The call that it makes at present.
    pub(crate) present: Present,
}

/// A call that has not ended, in words, and when it began.
pub(crate) type Present = Arc<Mutex<Option<(Instant, String)>>>;

fn lock(present: &Present) -> MutexGuard<'_, Option<(Instant, String)>> {
    present.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a caller is at that has not come back.
pub(crate) fn in_words(present: &Present) -> Option<String> {
    let (begun, what) = lock(present).clone()?;
    Some(format!("{what} has not ended after {:.0?}", begun.elapsed()))
}

impl Caller {
    /// Calls on this thread until it is time to stop.
    pub(crate) fn run(mut self) {
        if let Some(metrics) = self.metrics.take() {
            self.worker = self.worker.intercepted_by(metrics);
        }
        while !self.stop.is_set() {
            for _ in 0..self.rng.u32(1..=BURST) {
                let (plan, begun) = self.begin("thread");
                let answer = plan.call_blocking(&self.worker.with_deadline(plan.deadline).blocking());
                if self.end("thread", &plan, begun, Some(answer)) == Outcome::Refused {
                    self.stop.rest(NOT_RUNNING);
                }
                if self.stop.is_set() {
                    return;
                }
            }
            let rest = self.draw_rest();
            self.stop.rest(rest);
        }
    }

    /// Calls in a task until it is time to stop.
    pub(crate) async fn run_async(mut self) {
        while !self.stop.is_set() {
            for _ in 0..self.rng.u32(1..=BURST) {
                let (plan, begun) = self.begin("task");
                let worker = self.worker.with_deadline(plan.deadline);
                let call = plan.call(&worker);
                let answer = match plan.give_up {
                    Some(time) => tokio::time::timeout(time, call).await.ok(),
                    None => Some(call.await),
                };
                if self.end("task", &plan, begun, answer) == Outcome::Refused {
                    tokio::time::sleep(NOT_RUNNING).await;
                }
                if self.stop.is_set() {
                    return;
                }
            }
            let rest = self.draw_rest();
            tokio::time::sleep(rest).await;
        }
    }

    fn draw_rest(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(..u64::try_from(REST.as_micros()).unwrap_or(u64::MAX)))
    }

    fn begin(&mut self, by: &str) -> (Plan, Instant) {
        let plan = Plan::draw(&mut self.rng, self.temper);
        self.counts.started.fetch_add(1, Relaxed);
        if is_counted(&plan) {
            self.counts.counted_started.fetch_add(1, Relaxed);
        }
        let begun = Instant::now();
        let what = format!("{} {:?} by a {by} within {:?}", self.name, plan.method, plan.deadline);
        *lock(&self.present) = Some((begun, what));
        (plan, begun)
    }

    /// Counts how a call ended; none that was given up has an answer.
    fn end(&self, by: &str, plan: &Plan, begun: Instant, answer: Option<Answer>) -> Outcome {
        let took = begun.elapsed();
        *lock(&self.present) = None;
        let outcome = judge(plan, answer.as_ref());
        let what = || format!("{} {:?} by a {by}, {outcome:?}", self.name, plan.method);
        self.counts.end(outcome, took, plan.deadline, what);
        if outcome == Outcome::Good && is_counted(plan) {
            self.counts.counted_good.fetch_add(1, Relaxed);
        }
        let is_fine = matches!(outcome, Outcome::Good | Outcome::Cancelled);
        // A plugin may be slow or dead, but what it says is right.
        let is_wrong = outcome == Outcome::Wrong && self.temper != Temper::Lying;
        if is_wrong || !is_fine && self.temper == Temper::Good {
            self.notes.add(|| format!("{} {:?}: {outcome:?} after {took:.1?}: {answer:?}", self.name, plan.method));
        }
        outcome
    }
}

fn is_counted(plan: &Plan) -> bool {
    matches!(plan.method, Method::Ping | Method::Echo)
}

fn judge(plan: &Plan, answer: Option<&Answer>) -> Outcome {
    match answer {
        None | Some(Ok(None)) => Outcome::Cancelled,
        Some(Ok(Some(true))) => Outcome::Good,
        Some(Ok(Some(false))) => Outcome::Wrong,
        Some(Err(rapace::Error::Service(Failure::Damaged(_)))) => Outcome::Wrong,
        Some(Err(rapace::Error::Service(Failure::Inner(_)))) => Outcome::Status,
        // Whichever side has seen first that the time is over.
        Some(Err(rapace::Error::Call(error)))
            if plan.method == Method::Wait && error.code() == Code::DeadlineExceeded =>
        {
            Outcome::Good
        }
        Some(Err(rapace::Error::Call(error))) => Outcome::of(error),
    }
}
