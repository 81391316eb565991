//! The states of a plugin.
//!
//! ```text
//!               Initialize                Initialized
//!   Connected ------------> Initializing ------------> Running
//!     |   ^                      |                        |
//!     |   | Reconnected          +-----------+------------+   (from each of the three)
//!     |   |                                  |
//!     |   +-- Crashed <----------------------+-- Died
//!     |   |       ^                          |
//!     |   |       +----- Died ---+           +-- ShutDown
//!     |   |                      |           v
//!     |   +-- Stopped <-- Exited -- ShuttingDown
//! ```

use std::fmt;
use std::sync::Arc;

/// Where a plugin is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginState {
    /// Its process runs, and the handshake is complete.
    Connected,
    /// It is setting itself up.
    Initializing,
    /// It is ready for calls.
    Running,
    /// It was told to end.
    ShuttingDown,
    /// It has ended, as it was told to.
    Stopped,
    /// It ended, or had to be ended, without being told to.
    Crashed,
}

/// What happens to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginEvent {
    /// A new process has taken the place of the last.
    Reconnected,
    /// The `initialize` call is made.
    Initialize,
    /// The plugin has answered it: it is ready.
    Initialized,
    /// The plugin is told to end.
    ShutDown,
    /// It has ended as it was told to.
    Exited,
    /// It ended in any other way.
    Died,
}

impl PluginState {
    /// Where the event leads from here; `None` where it cannot happen.
    #[must_use]
    pub fn after(self, event: PluginEvent) -> Option<Self> {
        use PluginEvent as Event;
        match (self, event) {
            (Self::Stopped | Self::Crashed, Event::Reconnected) => Some(Self::Connected),
            (Self::Connected, Event::Initialize) => Some(Self::Initializing),
            (Self::Initializing, Event::Initialized) => Some(Self::Running),
            (Self::Connected | Self::Initializing | Self::Running, Event::ShutDown) => Some(Self::ShuttingDown),
            (Self::ShuttingDown, Event::Exited) => Some(Self::Stopped),
            (Self::Connected | Self::Initializing | Self::Running | Self::ShuttingDown, Event::Died) => {
                Some(Self::Crashed)
            }
            _ => None,
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A plugin came from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// The state before; none when it was loaded.
    pub from: Option<PluginState>,
    /// The state now.
    pub to: PluginState,
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{from} -> {}", self.to),
            None => write!(f, "{}", self.to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PluginEvent::{Died, Exited, Initialize, Initialized, Reconnected, ShutDown};
    use super::PluginState::*;

    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        let events = [Reconnected, Initialize, Initialized, ShutDown, Exited, Died];
        let table = [
            (Connected, [None, Some(Initializing), None, Some(ShuttingDown), None, Some(Crashed)]),
            (Initializing, [None, None, Some(Running), Some(ShuttingDown), None, Some(Crashed)]),
            (Running, [None, None, None, Some(ShuttingDown), None, Some(Crashed)]),
            (ShuttingDown, [None, None, None, None, Some(Stopped), Some(Crashed)]),
            (Stopped, [Some(Connected), None, None, None, None, None]),
            (Crashed, [Some(Connected), None, None, None, None, None]),
        ];
        for (state, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(state.after(event), expected, "{state} and {event:?}");
            }
        }
    }
}
