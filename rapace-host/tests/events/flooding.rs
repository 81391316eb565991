//! Plugins that say too much: each is held by its limit, and nobody else is.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use rapace_host::{Limit, LogEntry, OutputLine, PluginHandle, PluginHostBuilder, PluginLimits};
use rapace_host_api::logger::LogValue;

use crate::{PATIENCE, actor, builder, eventually, followed, spec};

const PER_SECOND: u32 = 100;

fn held() -> PluginLimits {
    let per_second = NonZeroU32::new(PER_SECOND);
    PluginLimits { log_lines_per_second: per_second, events_per_second: per_second, ..PluginLimits::default() }
}

/// What a host has heard of its plugins.
#[derive(Default)]
struct Heard {
    /// The plugin and the text of each line and each record, but for the host's own.
    said: Mutex<Vec<(String, String)>>,
    /// Lines that were dropped, by the host's own records.
    dropped: AtomicU64,
}

impl Heard {
    fn of(builder: PluginHostBuilder) -> (PluginHostBuilder, Arc<Self>) {
        let heard = Arc::<Self>::default();
        let (records, lines) = (Arc::clone(&heard), Arc::clone(&heard));
        let hear = move |entry: &LogEntry<'_>| match &entry.record.fields[..] {
            [field] if field.name == "dropped" => {
                let LogValue::Uint(dropped) = field.value else { panic!("{entry:?}") };
                records.dropped.fetch_add(dropped, SeqCst);
            }
            _ => records.note(entry.plugin, &entry.record.message),
        };
        (builder.on_log(hear).on_output(move |line: &OutputLine<'_>| lines.note(line.plugin, line.text)), heard)
    }

    fn note(&self, plugin: &str, text: &str) {
        self.said.lock().unwrap().push((plugin.to_owned(), text.to_owned()));
    }

    /// Waits for what the test program itself prints at its begin, which counts as well.
    fn begins(&self, plugin: &PluginHandle) {
        eventually("the test program begins", || self.count(plugin.name(), "running 1 test") == 1);
    }

    /// How often a plugin said this.
    fn count(&self, plugin: &str, text: &str) -> u64 {
        let is_it = |said: &&(String, String)| (&*said.0, &*said.1) == (plugin, text);
        self.said.lock().unwrap().iter().filter(is_it).count() as u64
    }
}

/// The most that may have passed since then: a second's worth at once, and what came to it.
fn most_since(start: Instant) -> u64 {
    u64::from(PER_SECOND) * (2 + start.elapsed().as_secs())
}

#[test]
fn a_flood_of_records_is_held_and_counted_while_another_plugins_go_on() {
    let (builder, heard) = Heard::of(builder().0);
    let host = builder.build().unwrap();
    let flooder = host.load(spec("flooder").limits(held())).unwrap();
    heard.begins(&flooder);
    let other = host.load(spec("other").limits(held())).unwrap();
    let (start, records) = (Instant::now(), 5000);
    let flood = actor(&flooder);
    let flooding = thread::spawn(move || flood.say("flood", records).unwrap());
    eventually("it is refused", || flooder.scope().overruns(Limit::LogRate) > 0);
    let outcomes = actor(&other).say("a word", PER_SECOND / 2).unwrap();
    assert_eq!((outcomes.done, outcomes.refused), (PER_SECOND / 2, 0));
    assert_eq!(heard.count("other", "a word"), u64::from(PER_SECOND / 2));
    let outcomes = flooding.join().unwrap();
    assert_eq!(outcomes.done + outcomes.refused, records);
    let most = most_since(start);
    assert!(u64::from(outcomes.done) <= most, "{outcomes:?}, but {most} at most");
    assert_eq!(outcomes.error.as_deref(), Some("the plugin may write 100 lines of the log in a second"));
    assert_eq!(heard.count("flooder", "flood"), u64::from(outcomes.done));
    assert_eq!(flooder.scope().overruns(Limit::LogRate), u64::from(outcomes.refused));
    assert_eq!(other.scope().overruns(Limit::LogRate), 0);
    eventually("it is told how many were dropped", || heard.dropped.load(SeqCst) == u64::from(outcomes.refused));
    host.shutdown();
}

#[test]
fn a_flood_of_printed_lines_is_held_and_counted_while_another_plugins_go_on() {
    let (builder, heard) = Heard::of(builder().0);
    let host = builder.build().unwrap();
    let flooder = host.load(spec("flooder").limits(held())).unwrap();
    heard.begins(&flooder);
    let other = host.load(spec("other").limits(held())).unwrap();
    let (start, lines) = (Instant::now(), 200_000);
    let flood = actor(&flooder);
    let flooding = thread::spawn(move || flood.print("flood", lines).unwrap());
    eventually("it is held", || flooder.scope().overruns(Limit::LogRate) > 0);
    actor(&other).print("a word", PER_SECOND / 2).unwrap();
    eventually("the other is heard", || heard.count("other", "a word") == u64::from(PER_SECOND / 2));
    flooding.join().unwrap();
    eventually("all is accounted for", || {
        heard.count("flooder", "flood") + heard.dropped.load(SeqCst) == u64::from(lines)
    });
    let (told, most) = (heard.count("flooder", "flood"), most_since(start));
    assert!(told <= most, "{told}, but {most} at most");
    assert_eq!(flooder.scope().overruns(Limit::LogRate), heard.dropped.load(SeqCst));
    host.shutdown();
}

#[test]
fn the_end_of_a_host_tells_what_was_dropped_before() {
    let (builder, heard) = Heard::of(builder().0);
    let host = builder.build().unwrap();
    let flooder = host.load(spec("flooder").limits(held())).unwrap();
    heard.begins(&flooder);
    let outcomes = actor(&flooder).say("flood", 2_000).unwrap();
    let scope = flooder.scope();
    host.shutdown();
    drop((flooder, host));
    // All at once: its last words, too.
    assert!(scope.overruns(Limit::LogRate) >= outcomes.refused.into() && outcomes.refused > 0);
    eventually("it is told", || heard.dropped.load(SeqCst) == scope.overruns(Limit::LogRate));
}

#[test]
fn each_plugin_has_its_turn_however_much_another_prints() {
    let flooded = Arc::new(AtomicU64::new(0));
    let (quiet, heard) = mpsc::channel();
    let counts = Arc::clone(&flooded);
    let listener = move |line: &OutputLine<'_>| match line.text {
        "x" => drop(counts.fetch_add(1, SeqCst)),
        "a word" => drop(quiet.send(counts.load(SeqCst))),
        _ => {}
    };
    let host = builder().0.on_output(listener).build().unwrap();
    let (flooder, other) = (host.load(spec("flooder")).unwrap(), host.load(spec("other")).unwrap());
    let flood = actor(&flooder);
    let flooding = thread::spawn(move || flood.print("x", 1_000_000));
    for _ in 0..20 {
        eventually("it floods", || flooded.load(SeqCst) > 0);
        actor(&other).print("a word", 1).unwrap();
        let before = flooded.load(SeqCst);
        let lines = heard.recv_timeout(PATIENCE).unwrap().saturating_sub(before);
        // The turn that was under way, and the one in which it was read.
        assert!(lines <= 3 * 64, "{lines} lines of another came before it");
    }
    flooder.kill();
    // It may have been done.
    drop(flooding.join().unwrap());
    host.shutdown();
}

#[test]
fn a_chatty_publisher_is_held_while_anothers_events_go_on() {
    let (builder, _) = builder();
    let host = builder.build().unwrap();
    let [chatty, other] = ["chatty", "other"].map(|name| host.load(spec(name).limits(held())).unwrap());
    let reader = host.load(spec("reader")).unwrap();
    let words = followed(&reader, &["news.*"]);
    let (start, events) = (Instant::now(), 5000);
    let chat = actor(&chatty);
    let chatting = thread::spawn(move || chat.publish("news.chat", events).unwrap());
    eventually("it is refused", || chatty.scope().overruns(Limit::EventRate) > 0);
    let outcomes = actor(&other).publish("news.other", PER_SECOND / 2).unwrap();
    assert_eq!((outcomes.done, outcomes.refused), (PER_SECOND / 2, 0));
    let outcomes = chatting.join().unwrap();
    assert_eq!(outcomes.done + outcomes.refused, events);
    let most = most_since(start);
    assert!(u64::from(outcomes.done) <= most, "{outcomes:?}, but {most} at most");
    assert_eq!(outcomes.error.as_deref(), Some("the plugin may publish 100 events in a second"));
    assert_eq!(chatty.scope().overruns(Limit::EventRate), u64::from(outcomes.refused));
    // What was taken has come, and in its order.
    let expected = [("news.chat chatty", outcomes.done), ("news.other other", PER_SECOND / 2)];
    let all = expected.iter().map(|(_, count)| count).sum();
    let words: Vec<String> = (0..all).map(|_| words.recv_timeout(PATIENCE).unwrap()).collect();
    for (from, count) in expected {
        let numbers = words.iter().filter_map(|word| word.strip_prefix(from)?.trim_start().parse::<u32>().ok());
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.is_sorted() && numbers.len() as u64 == u64::from(count), "{from}: {numbers:?}");
    }
    host.shutdown();
}
