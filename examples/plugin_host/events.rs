//! What happens in the host, told to whoever has subscribed.
//!
//! To publish never waits. A subscriber that does not keep up loses the oldest events and is told how many; one that is
//! gone is forgotten.

use std::future::ready;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

use crate::contract::HostEvent;

/// Events that wait for the slowest subscriber.
const QUEUE_EVENTS: usize = 16;

pub(crate) struct Events {
    sender: Sender<HostEvent>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { sender: channel(QUEUE_EVENTS).0 }
    }

    /// Tells all subscribers.
    pub(crate) fn publish(&self, event: HostEvent) {
        // An error says that there is none.
        let _ = self.sender.send(event);
    }

    /// All events from now on, up to the host's shutdown.
    pub(crate) fn subscribe(&self) -> impl Stream<Item = HostEvent> + Send + use<> {
        let queue = self.sender.subscribe();
        // Who has begun to call need not be subscribed yet; who has this event is.
        stream::once(ready(HostEvent::Subscribed)).chain(stream::unfold(Some(queue), next))
    }
}

/// The next event of a subscriber, and its queue if more will follow.
async fn next(queue: Option<Receiver<HostEvent>>) -> Option<(HostEvent, Option<Receiver<HostEvent>>)> {
    let mut queue = queue?;
    let event = match queue.recv().await {
        Ok(event) => event,
        Err(RecvError::Lagged(events)) => HostEvent::Missed { events },
        Err(RecvError::Closed) => return None,
    };
    let more = event != HostEvent::Shutdown;
    Some((event, more.then_some(queue)))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn updated(plugin_id: u32) -> HostEvent {
        HostEvent::ConfigUpdated { plugin_id, config_data: Vec::new() }
    }

    #[test]
    fn a_slow_subscriber_is_told_how_many_events_it_missed() {
        let events = Events::new();
        let mut subscriber = Box::pin(events.subscribe());
        (0..100).for_each(|index| events.publish(updated(index)));
        assert_eq!(subscriber.next().now_or_never(), Some(Some(HostEvent::Subscribed)));
        assert_eq!(subscriber.next().now_or_never(), Some(Some(HostEvent::Missed { events: 84 })));
        for index in 84..100 {
            assert_eq!(subscriber.next().now_or_never(), Some(Some(updated(index))));
        }
        assert_eq!(subscriber.next().now_or_never(), None);
    }

    #[test]
    fn a_subscriber_that_is_gone_is_forgotten() {
        let events = Events::new();
        let subscriber = events.subscribe();
        assert_eq!(events.sender.receiver_count(), 1);
        drop(subscriber);
        assert_eq!(events.sender.receiver_count(), 0);
        events.publish(HostEvent::Shutdown);
    }

    #[test]
    fn the_shutdown_is_the_last_event() {
        let events = Events::new();
        let subscriber = events.subscribe();
        for event in [updated(1), HostEvent::Shutdown, updated(2)] {
            events.publish(event);
        }
        let seen = subscriber.collect::<Vec<_>>().now_or_never();
        assert_eq!(seen, Some(vec![HostEvent::Subscribed, updated(1), HostEvent::Shutdown]));
    }
}
