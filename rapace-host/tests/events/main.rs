//! The host's log and its events, with plugins in processes of their own: this test program again, told its role by a
//! variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deployed;
mod flooding;
mod happenings;
mod passing;
mod plugin;
mod recording;

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rapace_host::{Events, EventsConfig, Logger, PluginHandle, PluginHost, PluginHostBuilder, PluginSpec};
use rapace_session::Config;

use plugin::{ActorBlockingClient, ActorClient};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with a log and with events.
fn builder() -> (PluginHostBuilder, Events) {
    with_events(EventsConfig::default())
}

fn with_events(config: EventsConfig) -> (PluginHostBuilder, Events) {
    LazyLock::force(&recording::RECORDER);
    let events = Events::new(config);
    let (logger, served) = (Logger::new(), events.clone());
    let builder = PluginHost::builder(Config::new("test-host", "1.0.0")).events(&events);
    (builder.offer(move |scope| logger.server(scope)).offer(move |scope| served.server(scope)), events)
}

/// A plugin of this name.
fn spec(name: &str) -> PluginSpec {
    let program = std::env::current_exe().unwrap();
    let spec = plugin::ARGS.iter().fold(PluginSpec::new(name, program), |spec, arg| spec.arg(arg));
    // With one thread a test program would begin a line, and the plugin's first would be the rest of it.
    spec.env(plugin::ROLE, "actor").env("RUST_TEST_THREADS", "2")
}

fn actor(plugin: &PluginHandle) -> ActorBlockingClient {
    ActorClient::new(plugin).with_deadline(2 * PATIENCE).blocking()
}

/// What a plugin gets that subscribes to these topics, once its subscription stands, in words.
fn followed(plugin: &PluginHandle, topics: &[&str]) -> Receiver<String> {
    let (sender, words) = channel();
    let (actor, topics) = (actor(plugin), topics.iter().map(|topic| (*topic).to_owned()).collect());
    std::thread::spawn(move || {
        // It ends with the subscription, or with the plugin.
        for word in actor.follow(topics).unwrap().map_while(Result::ok) {
            if sender.send(word).is_err() {
                return;
            }
        }
    });
    assert_eq!(words.recv_timeout(PATIENCE).unwrap(), "subscribed");
    words
}

/// Waits for what is sure to come.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}
