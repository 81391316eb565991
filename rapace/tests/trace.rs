//! The spans of two processes make one trace: a call of a plugin, which calls its host back.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use rapace::host::OutputLine;
use rapace::plugin::run;
use rapace::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Tells the process that it is the plugin.
const ROLE: &str = "RAPACE_TEST_ROLE";
/// How long something may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Begins a line that tells of a span.
const SPAN: &str = "span ";

#[rapace::service(name = "test.Front", version = "1.0", provider = "plugin")]
trait Front {
    async fn forward(&self, ctx: &Context, number: u32) -> u32;
}

#[rapace::service(name = "test.Back", version = "1.0", provider = "host")]
trait Back {
    async fn increment(&self, number: u32) -> u32;
}

struct Plugged;

impl Front for Plugged {
    async fn forward(&self, ctx: &Context, number: u32) -> u32 {
        BackClient::new(ctx).increment(number).await.unwrap_or(0)
    }
}

struct Hosted;

impl Back for Hosted {
    async fn increment(&self, number: u32) -> u32 {
        number + 1
    }
}

/// Gives each span of calls to a function when it is over, as `name key=value ...`.
struct Spans<F>(F);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>, F: Fn(String) + 'static> Layer<S> for Spans<F> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let mut fields = Fields(attributes.metadata().name().to_owned());
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: LayerContext<'_, S>) {
        let fields = context.span(&id).unwrap().extensions_mut().remove::<Fields>().unwrap();
        if fields.0.starts_with("rapace.") {
            (self.0)(fields.0);
        }
    }
}

/// The plugin itself, in the process that the test starts; nothing in the test program.
#[test]
fn plugin_process() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let spans = Spans(|span| eprintln!("{SPAN}{span}"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans)).unwrap();
    let code = run(|| {
        let services = Services::new().add(FrontServer::new(Plugged)).calls::<BackClient>();
        let config = Config { registry: services.registry()?, ..Config::new("traced", "1.0.0") };
        Ok(Plugin::attach(config, "a test", services)?.serve()?)
    });
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// The fields of a span's line.
fn fields(line: &str) -> HashMap<String, String> {
    let mut words = line.split(' ');
    let mut fields: HashMap<_, _> = [("name".to_owned(), words.next().unwrap().to_owned())].into();
    fields.extend(words.filter_map(|word| word.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())));
    fields
}

#[test]
fn a_call_and_its_call_back_are_one_trace_over_both_processes() {
    let (sender, spans) = mpsc::channel();
    let theirs = sender.clone();
    let ours = Spans(move |span| drop(sender.send(span)));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ours)).unwrap();
    let services = || Services::new().add(BackServer::new(Hosted)).calls::<FrontClient>();
    let config = Config { registry: services().registry().unwrap(), ..Config::new("tracing-host", "1.0.0") };
    let host = PluginHost::builder(config)
        .services(move |_| services())
        .on_output(move |line: &OutputLine<'_>| {
            if let Some(span) = line.text.strip_prefix(SPAN) {
                let _ = theirs.send(span.to_owned());
            }
        })
        .build()
        .unwrap();
    let program = std::env::current_exe().unwrap();
    let spec = PluginSpec::new("traced", program).arg("--exact").arg("plugin_process").arg("--nocapture");
    let plugin = host.load(spec.env(ROLE, "plugin")).unwrap();
    assert_eq!(FrontClient::new(&plugin).blocking().forward(41).unwrap(), 42);

    // Each process tells of its own in order; the two are told apart by what is called.
    let mut seen = HashMap::new();
    while seen.len() < 4 {
        let span = fields(&spans.recv_timeout(PATIENCE).unwrap());
        seen.insert((span["name"].clone(), span["rpc.method"].replace('"', "")), span);
    }
    let span = |name: &str, method: &str| &seen[&(name.to_owned(), method.to_owned())];
    let [call, serve] = [span("rapace.call", "forward"), span("rapace.serve", "forward")];
    let [call_back, serve_back] = [span("rapace.call", "increment"), span("rapace.serve", "increment")];
    for other in [serve, call_back, serve_back] {
        assert_eq!(other["trace_id"], call["trace_id"], "{seen:#?}");
    }
    assert_eq!(serve["parent_span_id"], call["span_id"]);
    assert_eq!(serve_back["parent_span_id"], call_back["span_id"]);
    // Four spans, each with an id of its own.
    let ids: std::collections::HashSet<_> = seen.values().map(|span| &span["span_id"]).collect();
    assert_eq!(ids.len(), 4);
    host.shutdown();
}
