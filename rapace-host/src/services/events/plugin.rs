//! The events, as one plugin has them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rapace_host_api::events::{self, Deed, Delivery, EventsError, HOST_TOPICS};
use rapace_service::Stream;

use super::Events;
use super::hub::Owner;
use super::subscription::Subscription;
use super::topic::Pattern;
use crate::permissions::Permissions;
use crate::scope::{Limit, PluginScope};

/// What a plugin publishes and subscribes to, as far as it may.
#[derive(Debug)]
pub struct PluginEvents {
    events: Events,
    scope: PluginScope,
    name: Arc<str>,
}

impl PluginEvents {
    pub(super) fn new(events: &Events, scope: &PluginScope) -> Self {
        Self { events: events.clone(), scope: scope.clone(), name: scope.name().into() }
    }

    pub(super) fn subscription(&self, topics: Vec<String>) -> Result<Subscription, EventsError> {
        let patterns = Pattern::all(topics)?;
        for pattern in &patterns {
            self.check(Deed::Subscribe, pattern.text(), Permissions::allows_subscribing)?;
        }
        let owner = Owner { name: Arc::clone(&self.name), account: Arc::clone(&self.scope.events) };
        self.events.0.subscribe(Some(owner), patterns)
    }

    fn check(&self, deed: Deed, topic: &str, allows: impl Fn(&Permissions, &str) -> bool) -> Result<(), EventsError> {
        let is_hosts = deed == Deed::Publish && topic.starts_with(HOST_TOPICS);
        if !is_hosts && self.scope.permissions().is_none_or(|permissions| allows(permissions, topic)) {
            return Ok(());
        }
        Err(EventsError::NotPermitted { deed, topic: topic.to_owned() })
    }
}

impl events::Events for PluginEvents {
    fn subscribe(&self, topics: Vec<String>) -> impl Stream<Item = Result<Delivery, EventsError>> + Send {
        Subscribed(match self.subscription(topics) {
            Ok(subscription) => Outcome::Stands(subscription),
            Err(error) => Outcome::Refused(Some(error)),
        })
    }

    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), EventsError> {
        // What is refused counts too: it is as much work.
        if let Some(per_second) = self.scope.limits().events_per_second
            && !self.scope.events.meter.take(per_second)
        {
            let per_second = per_second.get();
            self.scope.overrun(Limit::EventRate, format_args!("it may publish {per_second} events in a second"));
            return Err(EventsError::TooMany { per_second });
        }
        super::topic::check_topic(topic)?;
        self.check(Deed::Publish, topic, Permissions::allows_publishing)?;
        self.events.publish_of(Some(&self.name), topic, payload.to_vec())?;
        self.scope.events.published();
        Ok(())
    }
}

/// What a plugin gets.
struct Subscribed(Outcome);

enum Outcome {
    Stands(Subscription),
    Refused(Option<EventsError>),
}

impl Stream for Subscribed {
    type Item = Result<Delivery, EventsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Outcome::Stands(subscription) => Pin::new(subscription).poll_next(cx).map(|next| next.map(Ok)),
            Outcome::Refused(error) => Poll::Ready(error.take().map(Err)),
        }
    }
}
