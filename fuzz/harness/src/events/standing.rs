//! A subscription, and what is to come of it.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use rapace_host::{Events, Subscription};
use rapace_host_api::events::{Delivery, EventsClient, EventsError};
use rapace_service::{Incoming, Stream};

use super::topics::matches;
use super::{QUEUE_BYTES, QUEUE_EVENTS};

/// An event that was published.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) topic: String,
    /// The plugin that did it.
    pub(super) source: Option<&'static str>,
    pub(super) payload: Vec<u8>,
}

impl Published {
    fn bytes(&self) -> usize {
        self.topic.len() + self.source.map_or(0, str::len) + self.payload.len()
    }
}

/// Someone who has subscribed.
pub(super) struct Standing {
    /// The plugin that it is, or else the host.
    pub(super) owner: Option<&'static str>,
    topics: Vec<String>,
    stream: Source,
    bell: Arc<Bell>,
    /// It has found nothing, and is to be woken.
    waits: bool,
    /// All that it has not been given, and has not been told to have missed.
    due: VecDeque<Published>,
    end: End,
}

enum Source {
    Plugin(Incoming<Result<Delivery, EventsError>>),
    Host(Subscription),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    ToBeTold,
    Told,
}

/// What there was to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Nothing,
    Over,
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Standing {
    pub(super) fn of_host(events: &Events, topics: Vec<String>) -> Result<Self, EventsError> {
        Self::new(None, Source::Host(events.subscribe(topics.clone())?), topics)
    }

    pub(super) fn of_plugin(
        name: &'static str,
        client: &EventsClient,
        topics: Vec<String>,
    ) -> Result<Self, EventsError> {
        let called = pin!(client.subscribe(topics.clone())).poll(&mut Context::from_waker(Waker::noop()));
        match called {
            Poll::Ready(Ok(stream)) => Self::new(Some(name), Source::Plugin(stream), topics),
            other => panic!("the call does not stand: {other:?}"),
        }
    }

    /// The first word of the stream is whether it stands.
    fn new(owner: Option<&'static str>, stream: Source, topics: Vec<String>) -> Result<Self, EventsError> {
        let (bell, due) = Default::default();
        let mut standing = Self { owner, topics, stream, bell, waits: false, due, end: End::No };
        match standing.poll() {
            Poll::Ready(Some(Ok(Delivery::Subscribed))) => Ok(standing),
            Poll::Ready(Some(Err(error))) => Err(error),
            other => panic!("the first word is {other:?}"),
        }
    }

    fn poll(&mut self) -> Poll<Option<Result<Delivery, EventsError>>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        match &mut self.stream {
            Source::Host(stream) => Pin::new(stream).poll_next(&mut cx).map(|next| next.map(Ok)),
            Source::Plugin(stream) => {
                Pin::new(stream).poll_next(&mut cx).map(|next| next.map(|item| item.expect("the call stands")))
            }
        }
    }

    /// Takes what is next, and compares it with what is due.
    pub(super) fn take(&mut self) -> Outcome {
        self.bell.0.store(false, Ordering::SeqCst);
        let next = self.poll();
        self.waits = next.is_pending();
        let missed = self.due.len() - self.kept();
        if missed > 0 {
            self.due.drain(..missed);
            let events = u64::try_from(missed).expect("it is small");
            assert_eq!(next, Poll::Ready(Some(Ok(Delivery::Missed { events }))));
        } else if let Some(due) = self.due.pop_front() {
            let Poll::Ready(Some(Ok(Delivery::Event(event)))) = next else { panic!("{next:?}, but {due:?} is due") };
            assert_eq!((event.topic(), event.source(), event.payload()), (&*due.topic, due.source, &*due.payload));
        } else {
            match self.end {
                End::No => {
                    assert_eq!(next, Poll::Pending);
                    return Outcome::Nothing;
                }
                End::ToBeTold => {
                    self.end = End::Told;
                    assert_eq!(next, Poll::Ready(Some(Ok(Delivery::Shutdown))));
                }
                End::Told => {
                    assert_eq!(next, Poll::Ready(None));
                    return Outcome::Over;
                }
            }
        }
        Outcome::Delivered
    }

    /// Of what is due, the newest for which there is room, but one in any case.
    fn kept(&self) -> usize {
        let mut bytes = 0;
        let fits = |event: &&Published| {
            bytes += event.bytes();
            bytes <= QUEUE_BYTES
        };
        let fitting = self.due.iter().rev().take(QUEUE_EVENTS).take_while(fits).count();
        fitting.max(self.due.len().min(1))
    }

    /// Something was published.
    pub(super) fn hears(&mut self, published: &Published) {
        if self.topics.iter().any(|pattern| matches(pattern, &published.topic)) {
            self.due.push_back(published.clone());
            self.check_woken();
        }
    }

    /// The host shuts down.
    pub(super) fn closes(&mut self) {
        if self.end == End::No {
            self.end = End::ToBeTold;
            self.check_woken();
        }
    }

    fn check_woken(&mut self) {
        assert!(!std::mem::take(&mut self.waits) || self.bell.0.load(Ordering::SeqCst), "nobody has woken it");
    }
}
