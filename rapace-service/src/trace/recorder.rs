//! A subscriber for tests: keeps the spans and events of what it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::subscriber::NoSubscriber;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Fields by name, as text.
type Fields = BTreeMap<&'static str, String>;

/// What was recorded of a span or an event.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// A span's name.
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    pub(crate) fields: Fields,
    /// The name of the span that it is in.
    pub(crate) within: Option<&'static str>,
}

#[derive(Clone, Default)]
pub(crate) struct Recorder {
    kept: Arc<Mutex<Kept>>,
}

/// The place of a span among those that are kept.
#[derive(Clone, Copy)]
struct Place(usize);

#[derive(Default)]
struct Kept {
    spans: Vec<Record>,
    events: Vec<Record>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Runs something and keeps what it says on this thread.
    pub(crate) fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(self.clone()), run)
    }

    pub(crate) fn spans(&self) -> Vec<Record> {
        self.kept.lock().unwrap().spans.clone()
    }

    pub(crate) fn events(&self) -> Vec<Record> {
        self.kept.lock().unwrap().events.clone()
    }
}

/// Runs something to which nothing listens on this thread, whatever listens on others.
pub(crate) fn unheard<T>(run: impl FnOnce() -> T) -> T {
    // Where a thread has no subscriber at all, the macros go by what those of other threads listen to.
    tracing::subscriber::with_default(NoSubscriber::new(), run)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut AsText(&mut fields));
        let metadata = attributes.metadata();
        let within = context.span(id).and_then(|span| span.parent()).map(|parent| parent.name());
        let (name, target, level) = (metadata.name(), metadata.target(), *metadata.level());
        let mut kept = self.kept.lock().unwrap();
        context.span(id).unwrap().extensions_mut().insert(Place(kept.spans.len()));
        kept.spans.push(Record { name, target, level, fields, within });
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let Place(place) = span.extensions().get().copied().unwrap();
        values.record(&mut AsText(&mut self.kept.lock().unwrap().spans[place].fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut AsText(&mut fields));
        let metadata = event.metadata();
        let within = context.event_span(event).map(|span| span.name());
        let (name, target, level) = (metadata.name(), metadata.target(), *metadata.level());
        self.kept.lock().unwrap().events.push(Record { name, target, level, fields, within });
    }
}

struct AsText<'a>(&'a mut Fields);

impl Visit for AsText<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}
