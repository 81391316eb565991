//! Host and plugin each export their own spans by OpenTelemetry, and the spans make one trace.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use rapace::host::OutputLine;
use rapace::plugin::run;
use rapace::prelude::*;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

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
        let doubled = tracing::info_span!("double").in_scope(|| number * 2);
        BackClient::new(ctx).increment(doubled).await.unwrap_or(0)
    }
}

struct Hosted;

impl Back for Hosted {
    async fn increment(&self, number: u32) -> u32 {
        tracing::info_span!("add").in_scope(|| number + 1)
    }
}

/// Exports each span as a line: process and name, kind, its trace, its own id, its parent's.
#[derive(Debug)]
enum Lines {
    Printed,
    Sent(mpsc::Sender<String>),
}

impl SpanExporter for Lines {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let (context, parent) = (&span.span_context, span.parent_span_id);
            let (trace, id) = (context.trace_id(), context.span_id());
            let line = format!("{} {:?} {trace:x} {id:x} {parent:x}", span.name, span.span_kind);
            match self {
                Self::Printed => eprintln!("{SPAN}plugin:{line}"),
                Self::Sent(spans) => drop(spans.send(format!("host:{line}"))),
            }
        }
        Ok(())
    }
}

fn export(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    let filter = Targets::new().with_default(LevelFilter::INFO).with_target("rapace::trace", LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans)).unwrap();
    provider
}

/// The plugin itself, in the process that the test starts; nothing in the test program.
#[test]
fn plugin_process() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let provider = export(Lines::Printed);
    let code = run(|| {
        let services = Services::new().add(FrontServer::new(Plugged)).calls::<BackClient>();
        let config = Config { registry: services.registry()?, ..Config::new("exporting", "1.0.0") };
        Ok(Plugin::attach(config, "a test", services)?.serve()?)
    });
    provider.shutdown().unwrap();
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

#[test]
fn what_host_and_plugin_export_is_one_trace() {
    let (sender, lines) = mpsc::channel();
    let theirs = sender.clone();
    let _provider = export(Lines::Sent(sender));
    let services = || Services::new().add(BackServer::new(Hosted)).calls::<FrontClient>();
    let config = Config { registry: services().registry().unwrap(), ..Config::new("exporting-host", "1.0.0") };
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
    let spec = PluginSpec::new("exporting", program).arg("--exact").arg("plugin_process").arg("--nocapture");
    let plugin = host.load(spec.env(ROLE, "plugin")).unwrap();
    let answer = tracing::info_span!("request").in_scope(|| FrontClient::new(&plugin).blocking().forward(20));
    assert_eq!(answer.unwrap(), 41);

    // Each by its kind and name: its trace, its id, its parent's.
    let mut seen: HashMap<String, [String; 3]> = HashMap::new();
    while seen.len() < 7 {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let [name, kind, ids @ ..] = &words[..] else { panic!("{line}") };
        seen.insert(format!("{kind} {name}"), [0, 1, 2].map(|at| ids[at].to_owned()));
    }
    let span = |name: &str| seen.get(name).unwrap_or_else(|| panic!("{name}: {seen:#?}"));
    let chain = [
        "Internal host:request",
        "Client host:test.Front/forward",
        "Server plugin:test.Front/forward",
        "Client plugin:test.Back/increment",
        "Server host:test.Back/increment",
        "Internal host:add",
    ];
    assert_eq!(span(chain[0])[2], format!("{:x}", SpanId::INVALID));
    for (outer, inner) in chain.iter().zip(&chain[1..]) {
        assert_eq!(span(inner)[2], span(outer)[1], "{inner} in {outer}: {seen:#?}");
    }
    assert_eq!(span("Internal plugin:double")[2], span("Server plugin:test.Front/forward")[1]);
    assert!(seen.values().all(|[trace, ..]| *trace == span(chain[0])[0]), "{seen:#?}");
    host.shutdown();
}
