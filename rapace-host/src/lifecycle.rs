//! The life of one process of a plugin, as a pure function: a state and an event give the next state, and what is to be
//! done. `supervisor.rs` does it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where a plugin is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PluginState {
    /// It is known.
    Discovered,
    /// What is known of it has been checked: it may be started.
    Verified,
    /// Its process runs, and the handshake is complete.
    Connected,
    /// It is setting itself up.
    Initializing,
    /// It is ready for calls.
    Running,
    /// It is given no more calls; those in flight come to their end.
    Draining,
    /// It was told to end.
    ShuttingDown,
    /// It has ended in good order. A call starts it again if it was stopped because nothing called it.
    Stopped,
    /// It ended, or had to be ended, in any other way, or did not start.
    Crashed,
    /// It will be started again in a while.
    Backoff,
    /// It has crashed too often: it is started by hand only.
    Quarantined,
}

/// What happens to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginEvent {
    /// It has been checked.
    Verify,
    /// A process of it has shaken hands.
    Connect,
    /// The `initialize` call is made.
    Initialize,
    /// The plugin has answered it: it is ready.
    Initialized,
    /// It is to be given no more calls.
    Drain,
    /// It is told to end.
    ShutDown,
    /// It has ended as it was told to, or by itself in good order.
    Exited,
    /// It ended in any other way, or did not start.
    Died,
    /// It is to be started again in a while.
    Retry,
    /// It is not to be started again.
    GiveUp,
}

/// What a transition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginAction {
    /// To make the `initialize` call.
    CallInitialize,
    /// To give it calls.
    Admit,
    /// To give it no more calls.
    Withdraw,
    /// To wait until those in flight have ended.
    AwaitCalls,
    /// To make the `shutdown` call, and to end the process.
    EndProcess,
    /// To let go of what the process had.
    Release,
    /// To ask the restart policy what follows.
    AskPolicy,
    /// To start it when the time has come.
    ArmTimer,
    /// Not to start it when the time has come.
    DisarmTimer,
    /// To tell somebody.
    Alert,
}

impl PluginState {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Discovered,
        Self::Verified,
        Self::Connected,
        Self::Initializing,
        Self::Running,
        Self::Draining,
        Self::ShuttingDown,
        Self::Stopped,
        Self::Crashed,
        Self::Backoff,
        Self::Quarantined,
    ];

    /// Where the event leads from here, and what is to be done then; `None` where it cannot happen.
    #[must_use]
    pub const fn after(self, event: PluginEvent) -> Option<(Self, &'static [PluginAction])> {
        use PluginAction as Action;
        use PluginEvent as Event;
        Some(match (self, event) {
            (Self::Discovered, Event::Verify) => (Self::Verified, &[]),
            (Self::Discovered, Event::Died) => (Self::Crashed, &[]),
            (Self::Verified | Self::Stopped | Self::Crashed | Self::Quarantined, Event::Connect) => {
                (Self::Connected, &[])
            }
            (Self::Backoff, Event::Connect) => (Self::Connected, &[Action::DisarmTimer]),
            (Self::Verified | Self::Stopped | Self::Crashed | Self::Quarantined, Event::Died) => {
                (Self::Crashed, &[Action::AskPolicy])
            }
            (Self::Backoff, Event::Died) => (Self::Crashed, &[Action::DisarmTimer, Action::AskPolicy]),
            (Self::Connected, Event::Initialize) => (Self::Initializing, &[Action::CallInitialize]),
            (Self::Initializing, Event::Initialized) => (Self::Running, &[Action::Admit]),
            (Self::Running, Event::Drain) => (Self::Draining, &[Action::Withdraw, Action::AwaitCalls]),
            (Self::Connected | Self::Initializing | Self::Draining, Event::ShutDown) => {
                (Self::ShuttingDown, &[Action::EndProcess])
            }
            (Self::Running, Event::ShutDown) => (Self::ShuttingDown, &[Action::Withdraw, Action::EndProcess]),
            (Self::ShuttingDown, Event::Exited) => (Self::Stopped, &[Action::Release]),
            (Self::ShuttingDown, Event::Died) => (Self::Crashed, &[Action::Release]),
            (Self::Connected | Self::Initializing, Event::Exited) => {
                (Self::Stopped, &[Action::Release, Action::AskPolicy])
            }
            (Self::Connected | Self::Initializing, Event::Died) => {
                (Self::Crashed, &[Action::Release, Action::AskPolicy])
            }
            (Self::Running, Event::Exited) => (Self::Stopped, &[Action::Withdraw, Action::Release, Action::AskPolicy]),
            (Self::Running, Event::Died) => (Self::Crashed, &[Action::Withdraw, Action::Release, Action::AskPolicy]),
            (Self::Draining, Event::Exited) => (Self::Stopped, &[Action::Release]),
            (Self::Draining, Event::Died) => (Self::Crashed, &[Action::Release]),
            (Self::Stopped | Self::Crashed, Event::Retry) => (Self::Backoff, &[Action::ArmTimer]),
            (Self::Stopped | Self::Crashed, Event::GiveUp) => (Self::Quarantined, &[Action::Alert]),
            (Self::Backoff, Event::ShutDown) => (Self::Stopped, &[Action::DisarmTimer]),
            _ => return None,
        })
    }

    /// Whether it has a process.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Connected | Self::Initializing | Self::Running | Self::Draining | Self::ShuttingDown)
    }
}

impl PluginEvent {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Verify,
        Self::Connect,
        Self::Initialize,
        Self::Initialized,
        Self::Drain,
        Self::ShutDown,
        Self::Exited,
        Self::Died,
        Self::Retry,
        Self::GiveUp,
    ];
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
    /// Which of its processes, from 0; beyond 0 where it has several. A reload makes new ones, which count on.
    pub instance: u32,
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

/// The table of transitions as a diagram in Mermaid's language.
#[must_use]
pub fn state_diagram() -> String {
    let mut diagram = "stateDiagram-v2\n    [*] --> Discovered\n".to_owned();
    for state in PluginState::ALL {
        for event in PluginEvent::ALL {
            if let Some((next, _)) = state.after(event) {
                diagram.push_str(&format!("    {state} --> {next}: {event:?}\n"));
            }
        }
    }
    diagram
}

#[cfg(test)]
mod tests {
    use super::PluginAction::*;
    use super::PluginEvent::*;
    use super::PluginState::*;
    use super::*;

    /// Every transition there is; each other pair of state and event leads nowhere.
    const TABLE: [(PluginState, PluginEvent, PluginState, &[PluginAction]); 34] = [
        (Discovered, Verify, Verified, &[]),
        (Discovered, Died, Crashed, &[]),
        (Verified, Connect, Connected, &[]),
        (Verified, Died, Crashed, &[AskPolicy]),
        (Connected, Initialize, Initializing, &[CallInitialize]),
        (Connected, ShutDown, ShuttingDown, &[EndProcess]),
        (Connected, Exited, Stopped, &[Release, AskPolicy]),
        (Connected, Died, Crashed, &[Release, AskPolicy]),
        (Initializing, Initialized, Running, &[Admit]),
        (Initializing, ShutDown, ShuttingDown, &[EndProcess]),
        (Initializing, Exited, Stopped, &[Release, AskPolicy]),
        (Initializing, Died, Crashed, &[Release, AskPolicy]),
        (Running, Drain, Draining, &[Withdraw, AwaitCalls]),
        (Running, ShutDown, ShuttingDown, &[Withdraw, EndProcess]),
        (Running, Exited, Stopped, &[Withdraw, Release, AskPolicy]),
        (Running, Died, Crashed, &[Withdraw, Release, AskPolicy]),
        (Draining, ShutDown, ShuttingDown, &[EndProcess]),
        (Draining, Exited, Stopped, &[Release]),
        (Draining, Died, Crashed, &[Release]),
        (ShuttingDown, Exited, Stopped, &[Release]),
        (ShuttingDown, Died, Crashed, &[Release]),
        (Stopped, Connect, Connected, &[]),
        (Stopped, Died, Crashed, &[AskPolicy]),
        (Stopped, Retry, Backoff, &[ArmTimer]),
        (Stopped, GiveUp, Quarantined, &[Alert]),
        (Crashed, Connect, Connected, &[]),
        (Crashed, Died, Crashed, &[AskPolicy]),
        (Crashed, Retry, Backoff, &[ArmTimer]),
        (Crashed, GiveUp, Quarantined, &[Alert]),
        (Backoff, Connect, Connected, &[DisarmTimer]),
        (Backoff, ShutDown, Stopped, &[DisarmTimer]),
        (Backoff, Died, Crashed, &[DisarmTimer, AskPolicy]),
        (Quarantined, Connect, Connected, &[]),
        (Quarantined, Died, Crashed, &[AskPolicy]),
    ];

    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        for state in PluginState::ALL {
            for event in PluginEvent::ALL {
                let listed = TABLE.iter().filter(|(from, on, ..)| (*from, *on) == (state, event));
                let expected: Vec<_> = listed.map(|(_, _, to, actions)| (*to, *actions)).collect();
                assert!(expected.len() <= 1, "{state} and {event:?} stand there twice");
                assert_eq!(state.after(event), expected.first().copied(), "{state} and {event:?}");
            }
        }
    }

    #[test]
    fn whoever_leaves_the_states_of_the_living_lets_go_of_the_process() {
        for (from, event, to, actions) in TABLE {
            let released = actions.contains(&Release);
            assert_eq!(released, from.is_live() && !to.is_live(), "{from} and {event:?}");
            assert_eq!(actions.contains(&Admit), to == Running, "{from} and {event:?}");
            assert_eq!(actions.contains(&Withdraw), from == Running, "{from} and {event:?}");
        }
    }
}
