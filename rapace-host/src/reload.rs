//! A new version of a plugin takes the place of the old one, and no call is lost.
//!
//! The new version starts beside the old one. Then new calls go to it, and those in flight end on the old one, which is
//! shut down behind them. A plugin that has state to hand over is asked for it when its last call has ended; calls wait for
//! that long. Where anything fails, the old version goes on.

use std::sync::Arc;
use std::time::Duration;

use rapace_session::{CallError, CallOptions, Code, PeerA};
use thiserror::Error;

use crate::instance::Instance;
use crate::lifecycle::PluginState;
use crate::plugin::{PluginHandle, Shared};
use crate::seat::Seat;
use crate::spec::PluginSpec;
use crate::start::{StartCause, StartError};

/// The plugin's methods that hand over its state: bytes that the one gives, and the other takes.
const EXPORT_STATE: u32 = 2003;
const IMPORT_STATE: u32 = 2004;

/// Why a plugin was not reloaded. What ran before goes on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The new version is of another plugin.
    #[error("plugin {found} cannot take the place of plugin {expected}")]
    OtherPlugin {
        /// The name of the new version.
        found: Arc<str>,
        /// The plugin's name.
        expected: Arc<str>,
    },
    /// The new version does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Calls were still in flight when the time was over, so the state was not handed over.
    #[error("plugin {plugin} still had calls in flight after {waited:?}, so its state was not handed over")]
    Busy {
        /// The plugin's name.
        plugin: Arc<str>,
        /// How long was waited.
        waited: Duration,
    },
    /// The state was not given or not taken.
    #[error("plugin {plugin} did not {action} its state: {error}")]
    State {
        /// The plugin's name.
        plugin: Arc<str>,
        /// Export or import.
        action: &'static str,
        /// Why not.
        error: CallError,
    },
}

impl PluginHandle {
    /// Puts another version in the place of this one. No call is lost: those in flight end on the old version, and all
    /// others go to the new one.
    ///
    /// # Errors
    ///
    /// When the new version does not start, or does not take the state of the old one. The old one goes on then.
    pub fn reload(&self, spec: PluginSpec) -> Result<(), ReloadError> {
        let plugin = &self.0;
        if spec.name != plugin.name {
            return Err(ReloadError::OtherPlugin { found: spec.name, expected: Arc::clone(&plugin.name) });
        }
        let _in_transition = plugin.in_transition.lock();
        let version = plugin.start_beside(spec);
        plugin.replace(version)
    }

    /// The same in the place of this version, with a start for which nobody else waits who has to do with the plugin.
    pub(crate) fn reload_behind(&self, present: &Arc<PluginSpec>, spec: PluginSpec) -> Result<(), ReloadError> {
        let plugin = &self.0;
        let mut version = plugin.start_beside(spec);
        let in_transition = plugin.in_transition.lock();
        version.started = version.started.and_then(|()| plugin.has_place(present, &version.spec, &version.seats));
        // To end one that has no place concerns nobody else.
        let _in_transition = version.started.is_ok().then_some(in_transition);
        plugin.replace(version)
    }
}

/// A version that was started beside the present one.
struct Version {
    spec: Arc<PluginSpec>,
    seats: Vec<Arc<Seat>>,
    started: Result<(), ReloadError>,
}

impl Shared {
    fn start_beside(self: &Arc<Self>, spec: PluginSpec) -> Version {
        tracing::info!(plugin = %self.name, program = %spec.kind.describe(), "is being reloaded");
        let spec = Arc::new(spec.governed_by(&self.context.calls));
        let seats = self.new_seats(&spec);
        let started = seats.iter().try_for_each(|seat| Ok(self.start(seat, true)?));
        Version { spec, seats, started }
    }

    /// Whether a version may still take the place of this one, which nobody has kept for it.
    fn has_place(&self, present: &Arc<PluginSpec>, spec: &PluginSpec, seats: &[Arc<Seat>]) -> Result<(), ReloadError> {
        let cause = if let Some(cause) = self.is_at_its_end() {
            cause
        } else if !Arc::ptr_eq(present, &self.spec()) {
            StartCause::NoPlace("another version has taken it")
        } else if seats.iter().any(|seat| seat.state() != PluginState::Running) {
            StartCause::NoPlace("it has ended again")
        } else {
            return Ok(());
        };
        Err(StartError::new(spec, cause).into())
    }

    /// Gives a version the place of the present one if it has started, and ends the one that is not to go on.
    fn replace(self: &Arc<Self>, Version { spec, seats: new, started }: Version) -> Result<(), ReloadError> {
        let is_configured_anew = spec.config_data != self.spec().config_data;
        let old = self.seats();
        let replaced = started.and_then(|()| self.hand_over(&old, &new, &spec));
        if replaced.is_ok() {
            self.history.reloaded();
        }
        let retired = if replaced.is_ok() { old } else { new };
        for seat in &retired {
            self.stop(seat, false);
        }
        match &replaced {
            Ok(()) => {
                tracing::info!(plugin = %self.name, "is reloaded");
                if let Some(events) = self.context.events.as_ref().filter(|_| is_configured_anew) {
                    events.configured(&self.name);
                }
            }
            Err(error) => tracing::warn!(plugin = %self.name, %error, "is not reloaded: the old version goes on"),
        }
        replaced
    }

    /// Gives calls, and state if there is some, to the new version.
    fn hand_over(&self, old: &[Arc<Seat>], new: &[Arc<Seat>], spec: &Arc<PluginSpec>) -> Result<(), ReloadError> {
        let running = || old.iter().filter(|seat| seat.state() == PluginState::Running);
        let exporter = running().filter_map(|seat| seat.instance()).find(|instance| has_state(instance));
        let Some(exporter) = exporter else {
            self.seat(new, spec);
            return Ok(());
        };
        let held = self.hold_calls();
        // Nobody is led to the old version, nor yet to the new one.
        self.slot.set_all::<PeerA>(&[]);
        let reason = self.absence();
        running().filter_map(|seat| seat.instance()).for_each(|instance| instance.session.retire(&reason));
        let moved = self.move_state(&exporter, running().filter_map(|seat| seat.instance()).collect(), new);
        match &moved {
            Ok(()) => self.seat(new, spec),
            Err(_) => {
                running().filter_map(|seat| seat.instance()).for_each(|instance| instance.session.reinstate());
                self.route();
            }
        }
        drop(held);
        moved
    }

    fn move_state(&self, exporter: &Instance, old: Vec<Arc<Instance>>, new: &[Arc<Seat>]) -> Result<(), ReloadError> {
        let plugin = || Arc::clone(&self.name);
        let waited = self.context.shutdown_times.drain;
        if !old.iter().all(|instance| instance.session.calls_ended(waited)) {
            return Err(ReloadError::Busy { plugin: plugin(), waited });
        }
        let options = CallOptions::new().deadline(self.context.shutdown_times.hand_over);
        let failed = |action| move |error| ReloadError::State { plugin: plugin(), action, error };
        let state = exporter.session.call(EXPORT_STATE, b"", &options).map_err(failed("export"))?;
        for instance in new.iter().filter_map(|seat| seat.instance()) {
            // What the one gives and what the other takes have the same form.
            match instance.session.call(IMPORT_STATE, &state.body, &options) {
                Ok(_) => tracing::info!(plugin = %self.name, bytes = state.body.len(), "state handed over"),
                Err(CallError::Status(status)) if status.code == Code::Unimplemented => {
                    tracing::warn!(plugin = %self.name, "the new version takes no state");
                }
                Err(error) => return Err(failed("import")(error)),
            }
        }
        Ok(())
    }

    /// From now on these are the plugin's.
    fn seat(&self, new: &[Arc<Seat>], spec: &Arc<PluginSpec>) {
        let mut seats = self.seats.lock();
        seats.spec = Arc::clone(spec);
        seats.seats = new.to_vec();
        drop(seats);
        self.gate.replace(spec.supervision.breaker);
        self.note_interceptors();
        self.route();
    }
}

/// Whether a plugin says that it has state to hand over.
fn has_state(instance: &Instance) -> bool {
    let method = rapace_registry::MethodId::explicit(EXPORT_STATE);
    method.is_ok_and(|method| instance.session.peer().registry.method(method).is_some())
}
