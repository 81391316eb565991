//! What follows when a plugin ends, hangs, fails or is not wanted for a while.

use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// Whether a plugin that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RestartPolicy {
    /// It is not.
    #[default]
    Never,
    /// If it crashed.
    OnFailure,
    /// Also if it ended by itself in good order. One that its host has shut down stays so.
    Always,
}

/// How soon a plugin is started again, the later the more often in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Before the first restart in a row. Default 100 ms.
    pub first: Duration,
    /// At most. Default 30 s.
    pub most: Duration,
    /// How many times longer each is than the one before. Default 2.
    pub factor: f64,
    /// The share of it by which chance makes it shorter, so that plugins that fell together do not rise together: 0 to 1.
    /// Default 0.2.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(30), factor: 2.0, jitter: 0.2 }
    }
}

/// How often a plugin may be started again, before it is put into quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// So many restarts. Default 5.
    pub restarts: u32,
    /// Within so long. Default 60 s.
    pub window: Duration,
}

impl Default for RestartLimit {
    fn default() -> Self {
        Self { restarts: 5, window: Duration::from_secs(60) }
    }
}

/// When calls to a plugin that fails are refused without being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many calls in a row failed by the plugin's fault: it ended, it did not answer in time, its handler panicked. Default 5.
    pub failures: u32,
    /// So long calls are refused then, before one is tried. Default 30 s.
    pub open: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(30) }
    }
}

/// What is done with a plugin that makes no progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unresponsive {
    /// It is logged and told as an event.
    #[default]
    Report,
    /// It is killed, which is a crash.
    Kill,
}

/// All of it, for one plugin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Supervision {
    /// Whether it is started again.
    pub restart: RestartPolicy,
    /// How soon.
    pub backoff: Backoff,
    /// How often.
    pub limit: RestartLimit,
    /// When calls are refused. Default: never.
    pub breaker: Option<Breaker>,
    /// What is done with one that hangs.
    pub unresponsive: Unresponsive,
    /// It is stopped when it has had no call for so long, and started by the next one. Default: it is not stopped.
    pub idle_timeout: Option<Duration>,
    /// So many processes share its calls. Default 1.
    pub instances: NonZeroU16,
    /// Whether the host can do without it: where it is critical and does not start, or is put into quarantine, neither is
    /// the host healthy. Default no.
    pub critical: bool,
    /// Whether calls wait when it has ended and is to be started again: in the pause before that, and during the start. A call
    /// waits within its deadline, and one without as long as a call may take (`timeouts.call`). It is refused when nothing is to be
    /// waited for any more, as in quarantine. Default no: calls are refused at once.
    pub calls_wait: bool,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            restart: RestartPolicy::default(),
            backoff: Backoff::default(),
            limit: RestartLimit::default(),
            breaker: None,
            unresponsive: Unresponsive::default(),
            idle_timeout: None,
            instances: NonZeroU16::MIN,
            critical: false,
            calls_wait: false,
        }
    }
}
