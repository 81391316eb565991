use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, Stream, StreamExt};
use rapace_host_api::events::{Deed, Delivery, Events as _, HostEvent};

use super::*;
use crate::lifecycle::{PluginState, StateChange};
use crate::permissions::{Permissions, PluginLimits};
use crate::scope::Limit;

fn events() -> Events {
    Events::new(EventsConfig::default())
}

fn of_plugin(events: &Events, scope: &PluginScope) -> PluginEvents {
    PluginEvents::new(events, scope)
}

fn topics(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

/// The first item of a plugin's subscription.
fn first(plugin: &PluginEvents, of: &[&str]) -> Result<Delivery, EventsError> {
    pin!(plugin.subscribe(topics(of))).next().now_or_never().unwrap().unwrap()
}

fn publish(plugin: &PluginEvents, topic: &str) -> Result<(), EventsError> {
    plugin.publish(topic, b"x").now_or_never().unwrap()
}

/// What there is to take now, as words.
fn taken(mut subscription: impl Stream<Item = Delivery> + Unpin) -> Vec<String> {
    let in_words = |delivery| match delivery {
        Delivery::Event(event) => format!("{} of {}", event.topic(), event.source().unwrap_or("the host")),
        other => format!("{other:?}"),
    };
    std::iter::from_fn(|| subscription.next().now_or_never().flatten().map(in_words)).collect()
}

#[test]
fn each_subscriber_has_what_it_asked_for_in_the_order_of_all() {
    let events = events();
    let [mut all, mut some] = [&["*"][..], &["a.*", "a.1"]].map(|of| events.subscribe(topics(of)).unwrap());
    let plugin = of_plugin(&events, &PluginScope::new("p"));
    publish(&plugin, "a.1").unwrap();
    events.publish("b", "").unwrap();
    publish(&plugin, "a.2").unwrap();
    assert_eq!(taken(&mut all), ["Subscribed", "a.1 of p", "b of the host", "a.2 of p"]);
    assert_eq!(taken(&mut some), ["Subscribed", "a.1 of p", "a.2 of p"]);
    // Nobody listens to it.
    drop((all, some));
    assert_eq!((publish(&plugin, "a.1"), events.subscriptions()), (Ok(()), 0));
}

#[test]
fn one_payload_is_shared_by_all_subscribers() {
    let events = events();
    let mut both = [(); 2].map(|()| events.subscribe(["*"]).unwrap());
    events.publish("a", vec![7; 1000]).unwrap();
    let payloads = both.each_mut().map(|subscription| {
        assert_eq!(subscription.recv(), Some(Delivery::Subscribed));
        match subscription.recv() {
            Some(Delivery::Event(event)) => event.payload().as_ptr(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(payloads[0], payloads[1]);
}

#[test]
fn a_plugin_publishes_and_subscribes_where_it_may() {
    let events = events();
    let (publish_to, subscribe) = (topics(&["a.*", "host.*"]), topics(&["b.*", "c"]));
    let permissions = Permissions { publish: publish_to, subscribe, ..Permissions::default() };
    let plugin = of_plugin(&events, &PluginScope::new("p").with_permissions(permissions));
    let refused = |deed, topic: &str| EventsError::NotPermitted { deed, topic: topic.to_owned() };
    assert_eq!(publish(&plugin, "a.b"), Ok(()));
    assert_eq!(publish(&plugin, "b.b"), Err(refused(Deed::Publish, "b.b")));
    assert_eq!(publish(&plugin, "host.x"), Err(refused(Deed::Publish, "host.x")));
    assert_eq!(first(&plugin, &["b.*", "b.x", "c"]), Ok(Delivery::Subscribed));
    for wider in ["*", "b*", "c*", "a.b"] {
        assert_eq!(first(&plugin, &["c", wider]), Err(refused(Deed::Subscribe, wider)));
    }
    // Trusted, but not the host.
    let trusted = of_plugin(&events, &PluginScope::new("q"));
    assert_eq!(first(&trusted, &["*"]), Ok(Delivery::Subscribed));
    assert_eq!(publish(&trusted, "host.x"), Err(refused(Deed::Publish, "host.x")));
    assert_eq!(events.subscriptions(), 0);
}

#[test]
fn figures_have_bounds_that_are_named() {
    let config = EventsConfig {
        payload_bytes_max: 10,
        subscriptions_max: NonZeroU32::new(2).unwrap(),
        ..EventsConfig::default()
    };
    let events = Events::new(config);
    let plugin = of_plugin(&events, &PluginScope::new("p"));
    let too_large = plugin.publish("a", &[0; 11]).now_or_never().unwrap();
    assert_eq!(too_large, Err(EventsError::Payload { found: 11, bound: 10 }));
    assert!(matches!(publish(&plugin, "a*"), Err(EventsError::Topic { .. })));
    assert!(matches!(first(&plugin, &[]), Err(EventsError::TopicCount { found: 0, .. })));
    let held: Vec<_> = (0..2).map(|_| plugin.subscription(topics(&["a"])).unwrap()).collect();
    assert_eq!(first(&plugin, &["a"]), Err(EventsError::TooManySubscriptions { bound: 2 }));
    // Those of others, and the host's, are their own.
    let other = of_plugin(&events, &PluginScope::new("q"));
    let hosts: Vec<_> = (0..5).map(|_| events.subscribe(["a"]).unwrap()).collect();
    assert_eq!((first(&other, &["a"]), hosts.len()), (Ok(Delivery::Subscribed), 5));
    drop(held);
    assert_eq!(first(&plugin, &["a"]), Ok(Delivery::Subscribed));
}

#[test]
fn a_chatty_publisher_is_refused_and_counted() {
    let config = EventsConfig { queue_events: NonZeroUsize::new(1000).unwrap(), ..EventsConfig::default() };
    let events = Events::new(config);
    let limits = PluginLimits { events_per_second: NonZeroU32::new(3), ..PluginLimits::default() };
    let scope = PluginScope::new("p").with_limits(limits);
    // Another process of the same plugin has no limit of its own.
    let processes = [of_plugin(&events, &scope), of_plugin(&events, &scope)];
    let subscription = events.subscribe(["*"]).unwrap();
    let results: Vec<_> = (0..100).map(|index| publish(&processes[index % 2], "a")).collect();
    let refused = results.iter().filter(|result| **result == Err(EventsError::TooMany { per_second: 3 })).count();
    assert!(refused > 0);
    assert_eq!((scope.overruns(Limit::EventRate), taken(subscription).len()), (refused as u64, 101 - refused));
    assert_eq!(publish(&of_plugin(&events, &PluginScope::new("q")), "a"), Ok(()));
}

#[test]
fn who_waits_is_woken_and_who_is_gone_costs_nothing() {
    let events = events();
    let mut subscription = events.subscribe(["a"]).unwrap();
    assert_eq!(subscription.recv(), Some(Delivery::Subscribed));
    let publisher = events.clone();
    let thread = std::thread::spawn(move || publisher.publish("a", "x"));
    assert!(matches!(subscription.recv(), Some(Delivery::Event(_))));
    thread.join().unwrap().unwrap();
    drop(subscription);
    assert_eq!(events.subscriptions(), 0);
}

#[test]
fn a_task_that_only_its_waker_has_may_own_subscriptions() {
    struct Owner(#[allow(dead_code, reason = "it is only to be dropped")] Subscription);
    impl std::task::Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let events = events();
    let mut subscription = events.subscribe(["a"]).unwrap();
    assert_eq!(subscription.recv(), Some(Delivery::Subscribed));
    let owner = || Waker::from(Arc::new(Owner(events.subscribe(["b"]).unwrap())));
    for _ in 0..2 {
        let waker = owner();
        let polled = subscription.poll_next_unpin(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
    }
    assert_eq!(events.subscriptions(), 2);
    drop(subscription);
    assert_eq!(events.subscriptions(), 0);
}

#[test]
fn the_shutdown_is_the_last_word_and_nothing_follows() {
    let events = events();
    let [mut all, mut some] = [["*"], ["a"]].map(|of| events.subscribe(of).unwrap());
    events.publish("a", "").unwrap();
    HostEvents::new(events.clone()).shut_down();
    assert_eq!(taken(&mut some), ["Subscribed", "a of the host", "Shutdown"]);
    assert_eq!(taken(&mut all), ["Subscribed", "a of the host", "host.shutdown of the host", "Shutdown"]);
    assert_eq!([all.recv(), some.recv()], [None, None]);
    assert_eq!(events.publish("a", ""), Err(EventsError::ShutDown));
    assert_eq!(events.subscribe(["a"]).err(), Some(EventsError::ShutDown));
}

#[test]
fn a_host_that_is_gone_ends_what_waits_for_it() {
    let events = events();
    let mut subscription = events.subscribe(["a"]).unwrap();
    drop(HostEvents::new(events));
    assert_eq!(taken(&mut subscription), ["Subscribed", "Shutdown"]);
}

#[test]
fn a_process_is_loaded_before_it_is_unloaded_or_neither() {
    let events = events();
    let host = HostEvents::new(events.clone());
    let subscription = events.subscribe(["host.*"]).unwrap();
    let changes = |instance, states: &[PluginState]| {
        for to in states {
            host.changed(&StateChange { plugin: "p".into(), instance, from: None, to: *to });
        }
    };
    use PluginState::{Backoff, Connected, Crashed, Draining, Initializing, Running, ShuttingDown, Stopped};
    changes(0, &[Connected, Initializing, Crashed, Backoff]);
    changes(1, &[Connected, Initializing, Running]);
    changes(0, &[Connected, Initializing, Running, Crashed, Backoff]);
    changes(1, &[Draining, ShuttingDown, Stopped]);
    host.configured("p");
    let told: Vec<_> = subscription
        .map(|delivery| match delivery {
            Delivery::Event(event) => HostEvent::read(&event),
            _ => None,
        })
        .take(6)
        .collect::<Vec<_>>()
        .now_or_never()
        .unwrap();
    let plugin = || "p".to_owned();
    let loaded = |instance| Some(HostEvent::PluginLoaded { plugin: plugin(), instance });
    let unloaded = |instance, crashed| Some(HostEvent::PluginUnloaded { plugin: plugin(), instance, crashed });
    let configured = Some(HostEvent::ConfigUpdated { plugin: plugin() });
    assert_eq!(told, [None, loaded(1), loaded(0), unloaded(0, true), unloaded(1, false), configured]);
}
