//! One plugin, in a process of its own and built in, behind one client.
//!
//! ```text
//! $ cargo run --example built_in
//! a process:  3 words, the longest is "everywhere"
//! a process:  one, two, everywhere!
//! a process:  it has seen 2 calls, and the host has heard of 1
//! built in:   3 words, the longest is "everywhere"
//! built in:   one, two, everywhere!
//! built in:   it has seen 2 calls, and the host has heard of 1
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin. What `main` does with either is the same
//! function. A plugin that is built in is called without a process, a thread or an encoding between: a call takes some
//! nanoseconds. It has the host's trust in turn, for what it breaks is the host.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::stream::{self, StreamExt};
use rapace::prelude::*;

/// What the plugin does.
#[rapace::service(name = "demo.Words", version = "1.0", provider = "plugin")]
trait Words {
    /// How many words there are, and the longest.
    async fn measure(&self, text: &str) -> (u32, String);
    /// The words as they come, with a comma behind each and a mark behind the last.
    fn join(&self, words: Incoming<String>) -> impl Stream<Item = String>;
    /// Calls so far; the host is told.
    async fn seen(&self, ctx: &Context) -> u32;
}

/// What the host does for it.
#[rapace::service(name = "demo.Counter", version = "1.0", provider = "host")]
trait Counter {
    async fn report(&self, calls: u32) -> u32;
}

#[derive(Default)]
struct Splitter {
    calls: AtomicU32,
}

impl Words for Splitter {
    async fn measure(&self, text: &str) -> (u32, String) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let words = text.split_whitespace();
        let count = u32::try_from(words.clone().count()).unwrap_or(u32::MAX);
        (count, words.max_by_key(|word| word.len()).unwrap_or_default().to_owned())
    }

    fn join(&self, words: Incoming<String>) -> impl Stream<Item = String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let words = words.filter_map(async |word| word.ok()).peekable();
        stream::unfold(Box::pin(words), async |mut words| {
            let word = words.next().await?;
            let mark = if words.as_mut().peek().await.is_some() { "," } else { "!" };
            Some((word + mark, words))
        })
    }

    async fn seen(&self, ctx: &Context) -> u32 {
        let calls = self.calls.load(Ordering::Relaxed);
        CounterClient::new(ctx).report(calls).await.unwrap_or_default()
    }
}

/// Reports that the host has heard of.
#[derive(Clone, Default)]
struct Reports(Arc<AtomicU32>);

impl Counter for Reports {
    async fn report(&self, calls: u32) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed);
        calls
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return Ok(rapace::plugin::run(plugin));
    }
    let [of_process, of_built_in] = [(); 2].map(|()| Reports::default());
    let counted = (of_process.clone(), of_built_in.clone());
    let services = move |plugin: &PluginScope| {
        let reports = if plugin.name() == "process" { &counted.0 } else { &counted.1 };
        Services::new().calls::<WordsClient>().add(CounterServer::new(reports.clone()))
    };
    let host = PluginHost::builder(Config::new("words-host", "1.0.0")).services(services).build()?;
    let process = host.load(PluginSpec::new("process", std::env::current_exe()?).arg("--plugin"))?;
    let built_in = host.load(PluginSpec::built_in(&BuiltIn::new("built-in", "1.0.0", serving())?))?;
    run("a process:", &process, &of_process)?;
    run("built in: ", &built_in, &of_built_in)?;
    host.shutdown();
    Ok(ExitCode::SUCCESS)
}

/// Does not know what kind of plugin it has.
fn run(name: &str, plugin: &PluginHandle, reports: &Reports) -> Result<(), Box<dyn Error>> {
    let words = WordsClient::new(plugin).blocking();
    let (count, longest) = words.measure("one two everywhere")?;
    println!("{name}  {count} words, the longest is {longest:?}");
    let joined = words.join(["one", "two", "everywhere"].map(str::to_owned))?.collect::<Result<Vec<_>, _>>()?;
    println!("{name}  {}", joined.join(" "));
    let (calls, heard) = (words.seen()?, reports.0.load(Ordering::Relaxed));
    println!("{name}  it has seen {calls} calls, and the host has heard of {heard}");
    Ok(())
}

fn serving() -> Services {
    Services::new().add(WordsServer::new(Splitter::default())).calls::<CounterClient>()
}

fn plugin() -> Result<(), Box<dyn Error>> {
    let services = serving();
    let config = Config { registry: services.registry()?, ..Config::new("words", "1.0.0") };
    Ok(Plugin::attach(config, "cargo run --example built_in", services)?.serve()?)
}
