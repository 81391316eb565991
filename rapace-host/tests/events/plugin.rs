//! The plugin of the tests: it does what its host tells it.

use futures_util::StreamExt;
use rapace_host_api::events::{Delivery, Event, EventsClient, EventsError, HostEvent};
use rapace_host_api::logger::{LogLevel, LogRecord, LoggerClient};
use rapace_macros::{message, service};
use rapace_plugin::{PluginContext, PluginMain};
use rapace_service::Stream;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

pub(crate) const ROLE: &str = "RAPACE_TEST_ROLE";
pub(crate) const ARGS: [&str; 3] = ["--exact", "plugin::plugin_process", "--nocapture"];

#[service(name = "test.Actor", version = "1.0", provider = "plugin", crate = "rapace_service")]
pub(crate) trait Actor {
    /// Writes so many records to the host's log.
    #[method(id = 10)]
    async fn say(&self, text: &str, records: u32) -> Outcomes;
    /// Prints so many lines.
    #[method(id = 11)]
    async fn print(&self, text: &str, lines: u32);
    /// Tells something by `tracing`.
    #[method(id = 12)]
    async fn tell(&self, what: &str);
    /// Publishes so many events, numbered from 0.
    #[method(id = 13)]
    async fn publish(&self, topic: &str, events: u32) -> Outcomes;
    /// Subscribes, and says what comes as fast as it is taken.
    #[method(id = 14)]
    fn follow(&self, topics: Vec<String>) -> impl Stream<Item = String>;
}

/// What became of calls of the host.
#[message(crate = "rapace_service")]
#[derive(Default)]
pub(crate) struct Outcomes {
    pub(crate) done: u32,
    pub(crate) refused: u32,
    /// What the first was refused with.
    pub(crate) error: Option<String>,
}

impl Outcomes {
    fn note(&mut self, result: Result<(), impl ToString>) {
        match result {
            Ok(()) => self.done += 1,
            Err(error) => {
                self.refused += 1;
                self.error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let main = PluginMain::new("actor", "1.0.0").serve_with(|ctx| Ok(ActorServer::new(Player(ctx.clone()))));
    let main = main.setup(|ctx| {
        let subscriber = tracing_subscriber::registry().with(LevelFilter::WARN).with(ctx.log_layer()?);
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(())
    });
    let code = main.run_with([]);
    std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}

struct Player(PluginContext);

impl Actor for Player {
    async fn say(&self, text: &str, records: u32) -> Outcomes {
        let (logger, mut outcomes) = (LoggerClient::new(&self.0), Outcomes::default());
        for number in 0..records {
            let record = LogRecord::new(LogLevel::Info, "test", text).field("number", u64::from(number));
            outcomes.note(logger.log(record).await);
        }
        outcomes
    }

    async fn print(&self, text: &str, lines: u32) {
        (0..lines).for_each(|_| println!("{text}"));
    }

    async fn tell(&self, what: &str) {
        tracing::warn!(target: "over::there", number = 7, what, "as it was told");
    }

    async fn publish(&self, topic: &str, events: u32) -> Outcomes {
        let (client, mut outcomes) = (EventsClient::new(&self.0), Outcomes::default());
        for number in 0..events {
            outcomes.note(client.publish(topic, number.to_string().as_bytes()).await);
        }
        outcomes
    }

    fn follow(&self, topics: Vec<String>) -> impl Stream<Item = String> + Send {
        let client = EventsClient::new(&self.0);
        let subscribed = futures_util::stream::once(async move { client.subscribe(topics).await });
        subscribed.flat_map(|result| match result {
            Ok(deliveries) => deliveries.map(|delivery| delivery.map_or_else(|e| e.to_string(), in_words)).boxed(),
            Err(error) => futures_util::stream::iter([error.to_string()]).boxed(),
        })
    }
}

pub(crate) fn in_words(delivery: Result<Delivery, EventsError>) -> String {
    match delivery {
        Ok(Delivery::Subscribed) => "subscribed".to_owned(),
        Ok(Delivery::Event(event)) => told(&event),
        Ok(Delivery::Missed { events }) => format!("missed {events}"),
        Ok(Delivery::Shutdown) => "the end".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}

fn told(event: &Event) -> String {
    match HostEvent::read(event) {
        Some(HostEvent::PluginLoaded { plugin, .. }) => format!("{plugin} is loaded"),
        Some(HostEvent::PluginUnloaded { plugin, crashed: false, .. }) => format!("{plugin} is unloaded"),
        Some(HostEvent::PluginUnloaded { plugin, crashed: true, .. }) => format!("{plugin} has crashed"),
        Some(HostEvent::ConfigUpdated { plugin }) => format!("{plugin} is configured anew"),
        Some(HostEvent::Shutdown) => "the host shuts down".to_owned(),
        None => {
            let text = String::from_utf8_lossy(event.payload());
            format!("{} {} {text}", event.topic(), event.source().unwrap_or("host"))
        }
    }
}
