//! What a serving peer is told on its command line.

use std::str::FromStr;
use std::time::Duration;

use rapace_core::GeometryConfig;
use rapace_session::{Config, WaitStrategy};
use rapace_tests::registries;

use crate::Failure;

/// The options of a serving peer.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Config,
    /// Threads that serve.
    pub(crate) threads: u32,
    /// Bytes to write to standard output and to standard error.
    pub(crate) noise: usize,
    /// Whether a task attends to the session, instead of threads.
    pub(crate) tokio: bool,
    /// Rounds of calls that a host makes: see [`rapace_tests::exercise`].
    pub(crate) exercise: u64,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options =
            Self { config: Config::new("peer", "1.2.3"), threads: 1, noise: 0, tokio: false, exercise: 0 };
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or_else(|| format!("{argument:?} is not KEY=VALUE"))?;
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let config = &mut self.config;
        match key {
            "threads" => self.threads = number(value)?,
            "noise" => self.noise = number(value)?,
            "tokio" => self.tokio = number::<u32>(value)? != 0,
            "exercise" => self.exercise = number(value)?,
            // Of a host alone, as the memory is its choice.
            "segment" => {
                config.geometry = GeometryConfig { segment_bytes: number(value)?, ring_capacity: 16, slot_bytes: 256 };
            }
            "window" => config.limits.stream_window_bytes = number(value)?,
            "calls" => config.limits.calls_max = number(value)?,
            "depth" => config.limits.depth_max = number(value)?,
            "message" => config.limits.message_bytes_max = number(value)?,
            "metadata" => config.limits.metadata_bytes_max = number(value)?,
            "inbound" => config.limits.inbound_bytes_max = number(value)?,
            "outbound" => config.limits.outbound_bytes_max = number(value)?,
            "liveness" => config.timeouts.liveness = Duration::from_millis(number(value)?),
            "wait" => {
                config.wait = match value {
                    "spin" => WaitStrategy::Spin,
                    "park" => WaitStrategy::Park,
                    "adaptive" => WaitStrategy::Adaptive,
                    _ => return Err(format!("no wait strategy {value:?}").into()),
                }
            }
            "registry" => {
                config.registry = match value {
                    "ours" => registries::ours()?,
                    "theirs" => registries::theirs()?,
                    "large" => registries::large()?,
                    _ => return Err(format!("no registry {value:?}").into()),
                }
            }
            _ => return Err(format!("no option {key:?}").into()),
        }
        Ok(())
    }
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(value: &str) -> Result<T, Failure> {
    Ok(value.parse()?)
}
