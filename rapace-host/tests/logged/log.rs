//! Keeps what the host logs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    /// With the message.
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// A field, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

static KEPT: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// From now on what is logged at info level or above is kept, on all threads.
pub(crate) fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Keeps)).unwrap();
    });
}

/// What was logged of a plugin.
pub(crate) fn of_plugin(name: &str) -> Vec<Line> {
    KEPT.lock().unwrap().iter().filter(|line| line.field("plugin") == name).cloned().collect()
}

struct Keeps;

impl<S: Subscriber> Layer<S> for Keeps {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = Line { level: *metadata.level(), target: metadata.target(), fields: fields.0 };
        KEPT.lock().unwrap().push(line);
    }
}

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}
