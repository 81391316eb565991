//! Who has to know that all is over waits for it: what a plugin has started may end a little later than the plugin itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long somebody waits. What does not end by then is held by the cgroup that it is in, and by nothing else.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lives of a plugin whose processes are being ended.
#[derive(Default)]
pub(crate) struct Ends {
    under_way: Mutex<usize>,
    over: Condvar,
}

/// One of them, until this is dropped.
pub(super) struct End(Arc<Ends>);

impl Ends {
    pub(super) fn begin(self: &Arc<Self>) -> End {
        *self.under_way.lock() += 1;
        End(Arc::clone(self))
    }

    /// Waits until none is under way, or for long enough.
    pub(crate) fn wait(&self) {
        let until = Instant::now() + PATIENCE;
        let mut under_way = self.under_way.lock();
        while *under_way > 0 && !self.over.wait_until(&mut under_way, until).timed_out() {}
    }
}

impl Drop for End {
    fn drop(&mut self) {
        *self.0.under_way.lock() -= 1;
        self.0.over.notify_all();
    }
}
