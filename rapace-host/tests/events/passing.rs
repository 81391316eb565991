//! Events between plugins, and to those who are slow or not allowed.

use std::num::NonZeroUsize;

use rapace_host::{EventsConfig, Permissions, PluginHandle, PluginSpec};

use crate::{PATIENCE, actor, builder, eventually, followed, spec, with_events};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn permitted(name: &str, services: &[&str]) -> PluginSpec {
    let (publish, subscribe) = (names(&["out.*"]), names(&["in.*"]));
    spec(name).permissions(Permissions { services: names(services), publish, subscribe, ..Permissions::default() })
}

#[test]
fn what_one_plugin_publishes_others_and_the_host_receive_by_its_name() {
    let (builder, events) = builder();
    let host = builder.build().unwrap();
    let [sender, reader] = ["sender", "reader"].map(|name| host.load(spec(name)).unwrap());
    let mut hosts = events.subscribe(["a.*"]).unwrap();
    let (own, others) = (followed(&sender, &["a.*"]), followed(&reader, &["b", "a.*"]));
    assert_eq!(actor(&sender).publish("a.b", 2).unwrap().done, 2);
    assert_eq!(actor(&reader).publish("a.c", 1).unwrap().done, 1);
    events.publish("a.d", "0").unwrap();
    let expected = ["a.b sender 0", "a.b sender 1", "a.c reader 0", "a.d host 0"];
    for words in [own, others] {
        assert_eq!(expected.map(|_| words.recv_timeout(PATIENCE).unwrap()), expected);
    }
    let words = [(); 5].map(|()| crate::plugin::in_words(Ok(hosts.recv().unwrap())));
    assert_eq!(words, ["subscribed", expected[0], expected[1], expected[2], expected[3]]);
    let counted = [&sender, &reader].map(|plugin| plugin.stats().events);
    assert_eq!(counted.map(|events| (events.published, events.delivered, events.missed)), [(2, 4, 0), (1, 4, 0)]);
    host.shutdown();
}

#[test]
fn a_plugin_publishes_and_subscribes_only_where_it_may() {
    let (builder, events) = builder();
    let host = builder.build().unwrap();
    let bare = host.load(permitted("bare", &["Logger"])).unwrap();
    let refused = "PermissionDenied: rapace.Events.publish is not among what this plugin may call";
    assert_eq!(actor(&bare).publish("out.x", 1).unwrap().error.as_deref(), Some(refused));
    let words: Vec<_> = actor(&bare).follow(names(&["in.x"])).unwrap().map(Result::unwrap).collect();
    assert_eq!(words, ["PermissionDenied: rapace.Events.subscribe is not among what this plugin may call"]);

    let plugin = host.load(permitted("plugin", &["Events"])).unwrap();
    let words = followed(&plugin, &["in.x", "in.y*"]);
    assert_eq!(actor(&plugin).publish("out.x", 1).unwrap().done, 1);
    for (topic, deed) in
        [("in.x", "publish to"), ("host.x", "publish to"), ("out.x", "subscribe to"), ("*", "subscribe to")]
    {
        let refused = format!("the plugin may not {deed} {topic:?}");
        if deed == "publish to" {
            assert_eq!(actor(&plugin).publish(topic, 1).unwrap().error, Some(refused));
        } else {
            let words: Vec<_> = actor(&plugin).follow(names(&["in.x", topic])).unwrap().map(Result::unwrap).collect();
            assert_eq!(words, [format!("refused: {refused}")]);
        }
    }
    events.publish("in.yes", "0").unwrap();
    assert_eq!(words.recv_timeout(PATIENCE).unwrap(), "in.yes host 0");
    assert_eq!(events.subscriptions(), 1);
    host.shutdown();
}

#[test]
fn a_slow_subscriber_is_told_how_many_it_missed_and_holds_nobody_up() {
    let config = EventsConfig { queue_events: NonZeroUsize::new(100).unwrap(), ..EventsConfig::default() };
    let (builder, events) = with_events(config);
    let host = builder.build().unwrap();
    let [slow, quick] = ["slow", "quick"].map(|name| host.load(spec(name)).unwrap());
    let mut words = actor(&slow).follow(names(&["a", "last"])).unwrap().map(Result::unwrap);
    assert_eq!(words.next().unwrap(), "subscribed");
    let quicks = followed(&quick, &["a"]);
    // More than all that lies between it and its publisher, none of which it takes.
    let published = 5_000u64;
    for number in 0..published {
        events.publish("a", format!("{number:01000}")).unwrap();
        let word = quicks.recv_timeout(PATIENCE).unwrap();
        assert!(word.starts_with("a host ") && word.ends_with(&number.to_string()), "{word}");
    }
    events.publish("last", "").unwrap();
    let (mut delivered, mut missed, mut next) = (0u64, 0u64, 0u64);
    for word in words.by_ref().take_while(|word| !word.starts_with("last")) {
        match word.strip_prefix("missed ") {
            Some(events) => {
                let events: u64 = events.parse().unwrap();
                (missed, next) = (missed + events, next + events);
            }
            None => {
                // What is missing is missing right here.
                assert_eq!(word.rsplit(' ').next().unwrap().parse::<u64>().unwrap(), next, "{word}");
                (delivered, next) = (delivered + 1, next + 1);
            }
        }
    }
    assert_eq!(delivered + missed, published);
    assert!(missed > 0 && delivered > 0, "{delivered} delivered, {missed} missed");
    let counted = |plugin: &PluginHandle| plugin.stats().events;
    // The last is an event like others.
    assert_eq!((counted(&slow).delivered, counted(&slow).missed), (delivered + 1, missed));
    assert_eq!((counted(&quick).delivered, counted(&quick).missed, counted(&quick).published), (published, 0, 0));
    drop(words);
    host.shutdown();
}

#[test]
fn a_subscription_is_gone_with_its_stream_and_with_its_plugin() {
    let (builder, events) = builder();
    let host = builder.build().unwrap();
    let [one, two] = ["one", "two"].map(|name| host.load(spec(name)).unwrap());
    let mut words = actor(&one).follow(names(&["a"])).unwrap();
    assert_eq!(words.next().unwrap().unwrap(), "subscribed");
    let twos = followed(&two, &["a"]);
    assert_eq!(events.subscriptions(), 2);
    drop(words);
    eventually("the stream is dropped", || events.subscriptions() == 1);
    two.kill();
    eventually("the plugin is gone", || events.subscriptions() == 0);
    assert!(twos.recv().is_err());
    events.publish("a", "").unwrap();
    host.shutdown();
}
