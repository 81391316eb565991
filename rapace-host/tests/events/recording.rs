//! What a plugin tells by `tracing`, in the host's own.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::{actor, builder, eventually, spec};

/// The events of one plugin, in words.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<String>>>);

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

/// It listens before the first record of any test: a place in the code that nobody listened to at its first turn may stay
/// silent.
pub(crate) static RECORDER: LazyLock<Recorder> = LazyLock::new(|| {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(recorder.clone())).unwrap();
    recorder
});

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut words);
        if words.0.contains("plugin=\"teller\"") {
            self.0.lock().unwrap().push(words.0);
        }
    }
}

#[test]
fn an_event_of_a_plugin_reaches_the_hosts_subscriber_on_one_line() {
    let host = builder().0.build().unwrap();
    let plugin = host.load(spec("teller")).unwrap();
    actor(&plugin).tell("two\nlines").unwrap();
    actor(&plugin).say("red \u{1b}[31m", 1).unwrap();
    actor(&plugin).print("printed \u{1b}[31m", 1).unwrap();
    for expected in [
        r#"WARN rapace::plugin message=as it was told plugin="teller" module="over::there" fields=number=7 what="two\nlines""#,
        r#"INFO rapace::plugin message=red \u{1b}[31m plugin="teller" module="test" fields=number=0"#,
        r#"INFO rapace_host::output message=printed \u{1b}[31m plugin="teller" stream=stdout"#,
    ] {
        let is_there = || RECORDER.0.lock().unwrap().iter().any(|words| words == expected);
        eventually(expected, is_there);
    }
    host.shutdown();
}
