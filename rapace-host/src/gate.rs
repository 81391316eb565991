//! What every call of a plugin passes: its breaker, and the one who is told that there are calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::RwLock;
use rapace_session::{CallError, Code, Gate, Status};
use tokio::sync::Notify;

use crate::breaker::{BreakerState, Circuit, is_failure};
use crate::policy::Breaker;

pub(crate) struct PluginGate {
    plugin: Arc<str>,
    /// That of the present version.
    circuit: RwLock<Option<Circuit>>,
    /// Calls that have passed, and have yet to end.
    calls_in_flight: AtomicUsize,
    /// Whether somebody looks after the plugin at present.
    is_watched: AtomicBool,
    calls: Notify,
    /// Calls that were not sent, by the number of their code.
    refused: [AtomicU64; CODES],
}

/// Codes of a status are below this.
const CODES: usize = 17;

impl PluginGate {
    pub(crate) fn new(plugin: Arc<str>, breaker: Option<Breaker>) -> Arc<Self> {
        let circuit = RwLock::new(breaker.map(Circuit::new));
        let (calls_in_flight, is_watched) = (AtomicUsize::new(0), AtomicBool::new(false));
        let refused = [const { AtomicU64::new(0) }; CODES];
        Arc::new(Self { plugin, circuit, calls_in_flight, is_watched, calls: Notify::new(), refused })
    }

    /// Calls that were not sent, by code.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = (0..).zip(&self.refused).map(|(raw, count)| (Code::from_raw(raw), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }

    #[cold]
    fn count(&self, code: Code) {
        let raw = usize::try_from(code.raw()).unwrap_or(CODES);
        let counter = self.refused.get(raw).unwrap_or(&self.refused[2]);
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn breaker(&self) -> Option<BreakerState> {
        self.circuit.read().as_ref().map(Circuit::state)
    }

    /// Another process has taken the plugin's place.
    pub(crate) fn renew(&self) {
        if let Some(circuit) = &*self.circuit.read() {
            circuit.close();
        }
        self.wake();
    }

    /// Another version has taken the plugin's place.
    pub(crate) fn replace(&self, breaker: Option<Breaker>) {
        *self.circuit.write() = breaker.map(Circuit::new);
        self.wake();
    }

    /// Whether a call has passed and has not ended, wherever it is.
    pub(crate) fn has_calls(&self) -> bool {
        self.calls_in_flight.load(Ordering::SeqCst) > 0
    }

    /// Waits until there are calls again.
    pub(crate) async fn called(&self) {
        self.calls.notified().await;
    }

    /// Nobody looks from now on, until there is a call. To be followed by a last look.
    pub(crate) fn look_away(&self) {
        self.is_watched.store(false, Ordering::SeqCst);
    }

    /// Somebody is to look after the plugin.
    pub(crate) fn wake(&self) {
        // Whoever looks away looks once more behind that. Either that finds the call, which is counted before it comes here,
        // or the call finds this word.
        if !self.is_watched.load(Ordering::SeqCst) && !self.is_watched.swap(true, Ordering::SeqCst) {
            self.calls.notify_one();
        }
    }
}

/// The gate of a plugin's slot.
pub(crate) struct AtGate(pub(crate) Arc<PluginGate>);

impl Gate for AtGate {
    fn admit(&self) -> Result<(), Status> {
        let circuit = self.0.circuit.read();
        let admitted = circuit.as_ref().map_or(Ok(()), |circuit| circuit.admit(Instant::now()));
        drop(circuit);
        admitted.inspect_err(|reason| self.0.count(reason.code))?;
        self.0.calls_in_flight.fetch_add(1, Ordering::SeqCst);
        self.0.wake();
        Ok(())
    }

    fn ended(&self, outcome: Result<(), &CallError>) {
        self.0.calls_in_flight.fetch_sub(1, Ordering::SeqCst);
        if let Err(error) = outcome
            && was_not_sent(error)
        {
            self.0.count(error.code());
        }
        let circuit = self.0.circuit.read();
        match circuit.as_ref().and_then(|circuit| circuit.ended(is_failure(outcome), Instant::now())) {
            None => {}
            Some(BreakerState::Closed) => {
                tracing::info!(plugin = %self.0.plugin, "a call went well: the breaker closes");
            }
            Some(_) => tracing::warn!(plugin = %self.0.plugin, "too many calls have failed: the breaker opens"),
        }
    }
}

/// Whether no session has counted a call. One that has lost its session is counted there, whether or not it was sent whole.
fn was_not_sent(error: &CallError) -> bool {
    !matches!(error, CallError::SessionEnded { .. }) && !error.may_have_run()
}
