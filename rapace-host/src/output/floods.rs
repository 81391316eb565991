//! Plugins that say more than they may, until it is told how much was dropped.

use std::time::{Duration, Instant};

use crate::scope::PluginScope;

/// So long nothing is dropped before it is quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Those of which lines are dropped.
#[derive(Default)]
pub(super) struct Floods(Vec<Flood>);

struct Flood {
    scope: PluginScope,
    /// Lines that had been dropped when it was looked.
    seen: u64,
    look_at: Instant,
}

impl Floods {
    /// Of this plugin, too.
    pub(super) fn add(&mut self, scope: PluginScope, now: Instant) {
        let seen = scope.log.dropped();
        self.0.push(Flood { scope, seen, look_at: now + QUIET });
    }

    /// Takes out those where it is quiet again.
    pub(super) fn take_quiet(&mut self, now: Instant) -> Vec<PluginScope> {
        let is_quiet = |flood: &mut Flood| {
            if now < flood.look_at {
                return false;
            }
            let seen = flood.scope.log.dropped();
            flood.look_at = now + QUIET;
            std::mem::replace(&mut flood.seen, seen) == seen
        };
        self.0.extract_if(.., is_quiet).map(|flood| flood.scope).collect()
    }

    /// Takes out all of them.
    pub(super) fn take_all(&mut self) -> Vec<PluginScope> {
        self.0.drain(..).map(|flood| flood.scope).collect()
    }

    /// How long nothing is to be done.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.0.iter().map(|flood| flood.look_at.saturating_duration_since(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::permissions::PluginLimits;

    #[test]
    fn it_is_quiet_when_nothing_was_dropped_for_a_second() {
        let limits = PluginLimits { log_lines_per_second: Some(NonZeroU32::MIN), ..PluginLimits::default() };
        let scope = PluginScope::new("p").with_limits(limits);
        let drop_one = || while scope.take_line().is_ok() {};
        let (mut floods, start) = (Floods::default(), Instant::now());
        assert_eq!((floods.pause(start), floods.take_quiet(start).len()), (None, 0));
        drop_one();
        floods.add(scope.clone(), start);
        assert_eq!(floods.pause(start), Some(QUIET));
        assert!(floods.take_quiet(start + QUIET / 2).is_empty());
        drop_one();
        // It went on meanwhile.
        assert!(floods.take_quiet(start + QUIET).is_empty());
        assert_eq!(floods.pause(start + QUIET), Some(QUIET));
        let quiet = floods.take_quiet(start + 2 * QUIET);
        assert_eq!(quiet.iter().map(PluginScope::name).collect::<Vec<_>>(), ["p"]);
        assert_eq!((floods.pause(start), scope.log.take_dropped(), scope.log.dropped()), (None, 2, 0));
    }
}
