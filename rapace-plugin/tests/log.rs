//! What a plugin tells by `tracing` reaches its host's log, in the test's process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rapace_host_api::logger::{LogError, LogField, LogLevel, LogRecord, LogValue, Logger, LoggerServer};
use rapace_plugin::testing::{FakeHost, TestPlugin};
use rapace_plugin::{LogLayer, PluginMain};
use rapace_service::Services;
use tracing_subscriber::layer::SubscriberExt;

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log that is read by the test.
struct Book {
    records: Mutex<Sender<LogRecord>>,
    gate: &'static Gate,
    answer: fn(&LogRecord) -> Result<(), LogError>,
}

/// Held until it is opened.
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn new(is_open: bool) -> &'static Self {
        Box::leak(Box::new(Self { is_open: Mutex::new(is_open), opened: Condvar::new() }))
    }

    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }
}

impl Logger for Book {
    async fn log(&self, record: LogRecord) -> Result<(), LogError> {
        self.gate.opened.wait_while(&mut self.gate.is_open.lock(), |is_open| !*is_open);
        (self.answer)(&record)?;
        // A test that has what it wants does not listen.
        let _ = self.records.lock().send(record);
        Ok(())
    }
}

/// A plugin whose host has such a log; its layer; and what the host reads.
fn start(
    gate: &'static Gate,
    answer: fn(&LogRecord) -> Result<(), LogError>,
    main: PluginMain,
) -> (TestPlugin, LogLayer, Receiver<LogRecord>) {
    let (records, read) = channel();
    let book = Book { records: Mutex::new(records), gate, answer };
    let services = Services::new().add(LoggerServer::new(book));
    let (plugin, layer) = with_layer(FakeHost::new().services(services), main);
    (plugin, layer, read)
}

fn with_layer<H: rapace_session::Handler>(host: FakeHost<H>, main: PluginMain) -> (TestPlugin, LogLayer) {
    let (give, given) = channel();
    let main = main.setup(move |ctx| {
        give.send(ctx.log_layer()?)?;
        Ok(())
    });
    let plugin = host.start(main);
    assert_eq!(plugin.initialized(), Ok(()));
    (plugin, given.recv().unwrap())
}

/// Has the layer hear of what is told.
fn told(layer: LogLayer, tell: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), tell);
}

fn main() -> PluginMain {
    // On a busy machine, what is left to be told at the end takes longer than the limit is by default.
    PluginMain::new("told", "1.0.0").stop_limit(PATIENCE)
}

fn field(name: &str, value: impl Into<LogValue>) -> LogField {
    LogField { name: name.to_owned(), value: value.into() }
}

#[test]
fn an_event_is_a_record_with_its_level_target_and_typed_fields() {
    let (_plugin, layer, read) = start(Gate::new(true), |_| Ok(()), main());
    told(layer, || {
        tracing::warn!(target: "over::there", count = 3u64, less = -1i64, yes = true, half = 0.5, who = "me", at = ?Some(1), "{} of {}", 1, 2);
        tracing::trace!("on the way");
    });
    let record = read.recv_timeout(PATIENCE).unwrap();
    assert_eq!((record.level, &*record.target, &*record.message), (LogLevel::Warn, "over::there", "1 of 2"));
    let expected = [
        field("count", 3u64),
        field("less", -1i64),
        field("yes", true),
        field("half", 0.5),
        field("who", "me"),
        field("at", "Some(1)"),
    ];
    assert_eq!(record.fields, expected);
    let record = read.recv_timeout(PATIENCE).unwrap();
    assert_eq!((record.level, &*record.target), (LogLevel::Trace, "log"));
}

#[test]
fn a_host_that_does_not_answer_holds_nobody_up_and_is_told_what_it_lost() {
    let gate = Gate::new(false);
    let (_plugin, layer, read) = start(gate, |_| Ok(()), main());
    let events = 10_000u64;
    // This ends although nothing is taken.
    told(layer, || (0..events).for_each(|number| tracing::info!(number, "once more")));
    gate.open();
    let (mut records, mut next, mut lost) = (0, 0, None);
    while lost.is_none() {
        let record = read.recv_timeout(PATIENCE).unwrap();
        match &record.fields[..] {
            [LogField { name, value: LogValue::Uint(number) }] if name == "number" => {
                assert!(*number >= next, "{number} in the place of {next}");
                (records, next) = (records + 1, number + 1);
            }
            [LogField { name, value: LogValue::Uint(dropped) }] if name == "dropped" => lost = Some(*dropped),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records + lost.unwrap(), events);
    assert!(records >= 1024, "{records}");
}

#[test]
fn the_last_words_of_a_plugin_reach_its_host() {
    let (give, given) = channel::<LogLayer>();
    let given = Mutex::new(given);
    let last = main().on_shutdown(move |_| {
        let layer = given.lock().recv().unwrap();
        told(layer, || (0..500).for_each(|_| tracing::info!("goodbye")));
    });
    let (plugin, layer, read) = start(Gate::new(true), |_| Ok(()), last);
    give.send(layer).unwrap();
    drop(plugin);
    assert_eq!(read.try_iter().filter(|record| record.message == "goodbye").count(), 500);
}

#[test]
fn what_the_host_refuses_is_the_hosts_to_count() {
    let answer = |record: &LogRecord| match &*record.message {
        "no" => Err(LogError::TooMany { per_second: 1 }),
        _ => Ok(()),
    };
    let (plugin, layer, read) = start(Gate::new(true), answer, main());
    told(layer, || ["no", "no", "yes"].iter().for_each(|message| tracing::info!("{message}")));
    // What is left to be told is told by its end.
    drop(plugin);
    assert_eq!(read.try_iter().map(|record| record.message).collect::<Vec<_>>(), ["yes"]);
}

#[test]
fn a_host_without_a_log_costs_the_plugin_nothing() {
    let (plugin, layer) = with_layer(FakeHost::new(), main());
    told(layer, || (0..10_000).for_each(|_| tracing::info!("is anybody there?")));
    // It ends in good order.
    drop(plugin);
}
