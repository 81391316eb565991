//! The layer of `tracing`.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Queue;
use super::record::record;

thread_local!(static SENDS: Cell<bool> = const { Cell::new(false) });

/// Sends events of `tracing` to the host's log: see [`PluginContext::log_layer`](crate::PluginContext::log_layer).
pub struct LogLayer {
    queue: Arc<Queue>,
}

impl LogLayer {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Events of this thread are those of sending, which would not come to an end.
    pub(super) fn leave_out_this_thread() {
        SENDS.set(true);
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // A thread that is ending tells, too.
        if !SENDS.try_with(Cell::get).unwrap_or(false) {
            self.queue.push(record(event));
        }
    }
}

impl fmt::Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::queue::Taken;
    use super::*;

    #[test]
    fn what_the_thread_that_sends_tells_is_not_sent() {
        let queue = Arc::<Queue>::default();
        let subscriber = || tracing_subscriber::registry().with(LogLayer::new(Arc::clone(&queue)));
        let tell =
            |message: &'static str| tracing::subscriber::with_default(subscriber(), || tracing::error!("{message}"));
        std::thread::scope(|scope| {
            let sends = || {
                LogLayer::leave_out_this_thread();
                tell("of sending");
            };
            scope.spawn(sends).join().unwrap();
        });
        tell("of the program");
        match queue.take() {
            Some(Taken::Record(record)) => assert_eq!(record.message, "of the program"),
            other => panic!("{other:?}"),
        }
    }
}
