//! All subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use rapace_host_api::events::{Delivery, Event, EventsError};

use super::account::EventAccount;
use super::queue::{Queue, Taken};
use super::subscription::Subscription;
use super::topic::Pattern;
use crate::config::EventsConfig;

pub(super) struct Hub {
    config: EventsConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscribers: BTreeMap<u64, Subscriber>,
    /// Subscriptions that there have been.
    numbers: u64,
    is_closed: bool,
}

/// A plugin that subscribes.
pub(super) struct Owner {
    pub(super) name: Arc<str>,
    pub(super) account: Arc<EventAccount>,
}

struct Subscriber {
    /// The plugin whose it is; none for the host's own.
    owner: Option<Owner>,
    patterns: Vec<Pattern>,
    queue: Queue,
    waker: Option<Waker>,
}

impl Hub {
    pub(super) fn new(config: EventsConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    pub(super) fn config(&self) -> &EventsConfig {
        &self.config
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.state.lock().subscribers.len()
    }

    pub(super) fn subscribe(
        self: &Arc<Self>,
        owner: Option<Owner>,
        patterns: Vec<Pattern>,
    ) -> Result<Subscription, EventsError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(EventsError::ShutDown);
        }
        let bound = self.config.subscriptions_max.get();
        if let Some(owner) = &owner {
            let owners = state.subscribers.values().filter_map(|subscriber| subscriber.owner.as_ref());
            if owners.filter(|other| other.name == owner.name).count() >= usize::try_from(bound).unwrap_or(usize::MAX) {
                return Err(EventsError::TooManySubscriptions { bound });
            }
        }
        let number = state.numbers;
        state.numbers += 1;
        state.subscribers.insert(number, Subscriber { owner, patterns, queue: Queue::new(), waker: None });
        Ok(Subscription::new(Arc::clone(self), number))
    }

    /// Gives an event to all who have subscribed to its topic. They have all events in the order of these calls.
    pub(super) fn publish(&self, event: &Event) -> Result<(), EventsError> {
        self.change(|state| {
            if state.is_closed {
                return Err(EventsError::ShutDown);
            }
            let wants = |subscriber: &&mut Subscriber| subscriber.patterns.iter().any(|p| p.matches(event.topic()));
            let wakers = state.subscribers.values_mut().filter(wants).filter_map(|subscriber| {
                let missed = subscriber.queue.push(event, &self.config);
                if let Some(owner) = &subscriber.owner {
                    owner.account.missed(missed);
                }
                subscriber.waker.take()
            });
            Ok(wakers.collect())
        })
    }

    /// Nothing is published any more.
    pub(super) fn close(&self) {
        // It does not fail.
        let _ = self.change(|state| {
            state.is_closed = true;
            let wakers = state.subscribers.values_mut().filter_map(|subscriber| {
                subscriber.queue.close();
                subscriber.waker.take()
            });
            Ok(wakers.collect())
        });
    }

    /// Wakes without the lock, which those who are woken take.
    fn change(&self, act: impl FnOnce(&mut State) -> Result<Vec<Waker>, EventsError>) -> Result<(), EventsError> {
        let wakers = act(&mut self.state.lock())?;
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// What is next for a subscriber; `None` at its end.
    pub(super) fn poll_take(&self, number: u64, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.get_mut(&number) else { return Poll::Ready(None) };
        match subscriber.queue.take() {
            Taken::Delivery(delivery) => {
                if let (Some(owner), Delivery::Event(_)) = (&subscriber.owner, &delivery) {
                    owner.account.delivered();
                }
                Poll::Ready(Some(delivery))
            }
            Taken::Over => Poll::Ready(None),
            Taken::Empty => {
                let before = match &subscriber.waker {
                    Some(waker) if waker.will_wake(cx.waker()) => None,
                    _ => subscriber.waker.replace(cx.waker().clone()),
                };
                drop(state);
                // It may be the last that has its task, and whatever that has.
                drop(before);
                Poll::Pending
            }
        }
    }

    /// Forgets a subscriber.
    pub(super) fn leave(&self, number: u64) {
        let left = self.state.lock().subscribers.remove(&number);
        // Without the lock, as in `poll_take`.
        drop(left);
    }
}
