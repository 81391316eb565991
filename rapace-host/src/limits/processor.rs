//! A processor's time of all that a plugin has started together. The kernel limits that of each process, so that one which starts
//! others has as much as it likes; the host looks at the sum, the less often the more is left.

use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Enclosure;
use super::ending::LONG_PATIENCE;

/// How much more than the limit the sum may be: as behind SIGXCPU, so that a process which heeds that has its say.
const GRACE: Duration = Duration::from_secs(1);
/// The pause between two looks is at least this.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// Looks at the time as long as the plugin lives, and ends it when that is over.
pub(crate) async fn watch(enclosure: Weak<Enclosure>) {
    loop {
        let Some(alive) = enclosure.upgrade() else { return };
        let Some((allowed, used)) = alive.cpu() else { return };
        let left = (allowed + GRACE).saturating_sub(used);
        if left.is_zero() {
            drop(spawn_blocking(move || alive.end_for_cpu()));
            return;
        }
        drop(alive);
        sleep(pause(left)).await;
    }
}

/// In less than this, all processors together cannot use up what is left.
fn pause(left: Duration) -> Duration {
    let processors = available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    (left / processors).max(PAUSE_MIN)
}

impl Enclosure {
    /// What is allowed and what has been used, as long as there is something to look at.
    fn cpu(&self) -> Option<(Duration, Duration)> {
        let allowed = Duration::from_secs(self.scope.limits().cpu_seconds?);
        Some((allowed, self.group.as_ref()?.cpu()?))
    }

    fn end_for_cpu(self: Arc<Self>) {
        self.notice();
        self.has_used_its_time();
        let _end = self.scope.ends().begin();
        if let Some(group) = &self.group {
            group.end(LONG_PATIENCE);
        }
    }
}
