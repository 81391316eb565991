//! What a subscriber has not taken yet, within bounds: the oldest makes room for the newest.

use std::collections::VecDeque;

use rapace_host_api::events::{Delivery, Event};

use crate::config::EventsConfig;

/// What comes to a subscriber, in its order.
pub(super) struct Queue {
    /// The first word has yet to be taken.
    is_new: bool,
    /// Events that were lost in front of those that are left.
    missed: u64,
    events: VecDeque<Event>,
    bytes: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last word has yet to be taken.
    Closing,
    Over,
}

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Delivery(Delivery),
    /// Nothing yet.
    Empty,
    /// Nothing any more.
    Over,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { is_new: true, missed: 0, events: VecDeque::new(), bytes: 0, stage: Stage::Open }
    }

    /// Adds an event behind all others, and lets go of the oldest as far as there is no room; says of how many.
    pub(super) fn push(&mut self, event: &Event, config: &EventsConfig) -> u64 {
        let before = self.missed;
        let is_full = |queue: &Self| {
            queue.events.len() >= config.queue_events.get() || queue.bytes + bytes(event) > config.queue_bytes
        };
        while is_full(self)
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= bytes(&oldest);
            self.missed += 1;
        }
        self.bytes += bytes(event);
        self.events.push_back(event.clone());
        self.missed - before
    }

    /// Nothing follows but the last word.
    pub(super) fn close(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
        }
    }

    pub(super) fn take(&mut self) -> Taken {
        let delivery = if std::mem::take(&mut self.is_new) {
            Delivery::Subscribed
        } else if self.missed > 0 {
            Delivery::Missed { events: std::mem::take(&mut self.missed) }
        } else if let Some(event) = self.events.pop_front() {
            self.bytes -= bytes(&event);
            Delivery::Event(event)
        } else {
            match self.stage {
                Stage::Open => return Taken::Empty,
                Stage::Closing => {
                    self.stage = Stage::Over;
                    Delivery::Shutdown
                }
                Stage::Over => return Taken::Over,
            }
        };
        Taken::Delivery(delivery)
    }
}

/// What an event counts as.
fn bytes(event: &Event) -> usize {
    event.topic().len() + event.source().map_or(0, str::len) + event.payload().len()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn event(number: usize, bytes: usize) -> Event {
        Event::new("t", None, vec![u8::try_from(number).unwrap(); bytes])
    }

    /// What was taken, in short: the first byte of each event, and words for the rest.
    fn take_all(queue: &mut Queue) -> String {
        let mut taken = Vec::new();
        loop {
            taken.push(match queue.take() {
                Taken::Delivery(Delivery::Event(event)) => event.payload()[0].to_string(),
                Taken::Delivery(Delivery::Missed { events }) => format!("missed {events}"),
                Taken::Delivery(other) => format!("{other:?}"),
                Taken::Empty | Taken::Over => return taken.join(" "),
            });
        }
    }

    #[test]
    fn the_oldest_makes_room_and_is_counted_where_it_was() {
        let config = EventsConfig { queue_events: NonZeroUsize::new(3).unwrap(), ..EventsConfig::default() };
        let mut queue = Queue::new();
        let missed = (0..5).map(|number| queue.push(&event(number, 1), &config)).collect::<Vec<_>>();
        assert_eq!(missed, [0, 0, 0, 1, 1]);
        assert_eq!(take_all(&mut queue), "Subscribed missed 2 2 3 4");
        for number in 5..8 {
            queue.push(&event(number, 1), &config);
        }
        assert_eq!(take_all(&mut queue), "5 6 7");
        for number in 8..12 {
            queue.push(&event(number, 1), &config);
        }
        queue.close();
        queue.close();
        assert_eq!(take_all(&mut queue), "missed 1 9 10 11 Shutdown");
        assert_eq!((queue.take(), queue.bytes), (Taken::Over, 0));
    }

    #[test]
    fn a_queue_is_bounded_by_bytes_and_takes_one_event_in_any_case() {
        let config = EventsConfig { queue_bytes: 100, ..EventsConfig::default() };
        let mut queue = Queue::new();
        for number in 0..4 {
            queue.push(&event(number, 39), &config);
        }
        assert_eq!(queue.bytes, 80);
        assert_eq!(take_all(&mut queue), "Subscribed missed 2 2 3");
        for number in 4..6 {
            queue.push(&event(number, 100), &config);
        }
        assert_eq!(take_all(&mut queue), "missed 1 5");
        assert_eq!(queue.bytes, 0);
    }
}
