//! What every call of a plugin passes: its breaker, and the one who is told that there are calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rapace_session::{CallError, Gate, Status};
use tokio::sync::Notify;

use crate::breaker::{BreakerState, Circuit, is_failure};
use crate::policy::Breaker;

pub(crate) struct PluginGate {
    circuit: Option<Circuit>,
    /// Whether somebody looks after the plugin at present.
    is_watched: AtomicBool,
    calls: Notify,
}

impl PluginGate {
    pub(crate) fn new(breaker: Option<Breaker>) -> Arc<Self> {
        let circuit = breaker.map(Circuit::new);
        Arc::new(Self { circuit, is_watched: AtomicBool::new(false), calls: Notify::new() })
    }

    pub(crate) fn breaker(&self) -> Option<BreakerState> {
        self.circuit.as_ref().map(Circuit::state)
    }

    /// Another process has taken the plugin's place.
    pub(crate) fn renew(&self) {
        if let Some(circuit) = &self.circuit {
            circuit.close();
        }
        self.wake();
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
        // Whoever looks away looks once more behind that, so that a call that saw the word as it was is not missed.
        if !self.is_watched.load(Ordering::Relaxed) && !self.is_watched.swap(true, Ordering::SeqCst) {
            self.calls.notify_one();
        }
    }
}

/// The gate of a plugin's slot.
pub(crate) struct AtGate(pub(crate) Arc<PluginGate>);

impl Gate for AtGate {
    fn admit(&self) -> Result<(), Status> {
        self.0.wake();
        self.0.circuit.as_ref().map_or(Ok(()), |circuit| circuit.admit(Instant::now()))
    }

    fn ended(&self, outcome: Result<(), &CallError>) {
        if let Some(circuit) = &self.0.circuit
            && circuit.ended(is_failure(outcome), Instant::now())
        {
            tracing::warn!("too many calls have failed: the breaker opens");
        }
    }
}
