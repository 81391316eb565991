//! Calls that are given up: by a deadline, and by dropping them. The handlers notice, and nothing is left.
//!
//! ```text
//! $ cargo run --example deadline_cancel
//! A deadline passes.
//!   host:   grind failed: no reply within 200ms
//!   plugin: grind has begun
//!   plugin: grind sees that nobody waits any more; it knew until when: true
//!   host:   wait failed: no reply within 200ms
//!   plugin: wait has begun
//!   plugin: wait is told that nobody waits any more
//! A call is dropped.
//!   plugin: grind has begun
//!   plugin: grind sees that nobody waits any more; it knew until when: false
//!   plugin: wait has begun
//!   plugin: wait is told that nobody waits any more
//! What is left:
//!   plugin: 0 calls, 0 tasks, 0 bytes
//!   host:   0 calls, 0 tasks, 0 bytes
//!   slots of the shared memory in use: 0
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::{Either, select};
use rapace::prelude::*;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long the host waits for what does not come to an end.
const DEADLINE: Duration = Duration::from_millis(200);

#[rapace::service(name = "demo.Mill", version = "1.0", provider = "plugin")]
trait Mill {
    /// Computes, and looks between two steps whether anybody still waits.
    async fn grind(&self, ctx: &Context);
    /// Waits for something that does not happen, and for the end of the call.
    async fn wait(&self, ctx: &Context);
    /// The next thing that a handler has noted.
    async fn next_note(&self) -> String;
    /// What the plugin keeps at present.
    async fn left(&self) -> Left;
}

/// What is kept for calls, beside the call that asks.
#[rapace::message]
struct Left {
    calls: u64,
    tasks: u64,
    bytes: u64,
}

struct Handlers {
    host: HostHandle,
    notes: UnboundedSender<String>,
    noted: Mutex<UnboundedReceiver<String>>,
}

impl Handlers {
    fn note(&self, text: &str) {
        // An error says that the plugin is at its end.
        let _ = self.notes.send(text.to_owned());
    }
}

impl Mill for Handlers {
    async fn grind(&self, ctx: &Context) {
        self.note("grind has begun");
        let time_is_known = ctx.time_left().is_some();
        while !ctx.is_cancelled() {
            // A step of the computation; then others get a turn.
            tokio::task::yield_now().await;
        }
        self.note(&format!("grind sees that nobody waits any more; it knew until when: {time_is_known}"));
        // Time may be over here a moment before it is there, where an answer would pass for the end of the work. A
        // method that can give up says so in its result.
        ctx.cancelled().await;
    }

    async fn wait(&self, ctx: &Context) {
        self.note("wait has begun");
        let never = std::future::pending::<()>();
        if let Either::Right(_) = select(never, std::pin::pin!(ctx.cancelled())).await {
            self.note("wait is told that nobody waits any more");
        }
    }

    async fn next_note(&self) -> String {
        self.noted.lock().await.recv().await.unwrap_or_default()
    }

    async fn left(&self) -> Left {
        let stats = self.host.session().map(|session| session.stats()).unwrap_or_default();
        Left {
            calls: stats.served_in_flight.saturating_sub(1) as u64,
            tasks: stats.tasks as u64,
            bytes: (stats.inbound_bytes + stats.outbound_bytes) as u64,
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return Ok(rapace::plugin::run(plugin));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}

fn plugin() -> Result<(), Box<dyn Error>> {
    let registry = Services::new().calls::<MillClient>().registry()?;
    let config = Config { registry, ..Config::new("mill", "1.0.0") };
    let plugin = Plugin::attach_with(config, "cargo run --example deadline_cancel", |host| {
        let (notes, noted) = unbounded_channel();
        Services::new().add(MillServer::new(Handlers { host, notes, noted: Mutex::new(noted) }))
    })?;
    Ok(plugin.serve()?)
}

fn host() -> Result<(), Box<dyn Error>> {
    let registry = Services::new().calls::<MillClient>().registry()?;
    let host = PluginHost::builder(Config { registry, ..Config::new("deadline_cancel", "1.0.0") }).build()?;
    let plugin = host.load(PluginSpec::new("mill", std::env::current_exe()?).arg("--plugin"))?;
    let mill = MillClient::new(&plugin);
    let session = plugin.session().ok_or("the plugin does not run")?;
    let slots_free = session.stats().slots_free;

    println!("A deadline passes.");
    let impatient = mill.with_deadline(DEADLINE).blocking();
    report("grind", impatient.grind(), &mill)?;
    report("wait", impatient.wait(), &mill)?;

    println!("A call is dropped.");
    plugin.as_caller().block_on(async {
        drop_when_begun(&mill, mill.grind()).await?;
        drop_when_begun(&mill, mill.wait()).await
    })??;

    println!("What is left:");
    let (left, stats) = (mill.blocking().left()?, session.stats());
    println!("  plugin: {} calls, {} tasks, {} bytes", left.calls, left.tasks, left.bytes);
    let bytes = stats.inbound_bytes + stats.outbound_bytes;
    println!("  host:   {} calls, {} tasks, {bytes} bytes", stats.calls_in_flight, stats.tasks);
    println!("  slots of the shared memory in use: {}", slots_free - stats.slots_free);
    drop(session);
    host.shutdown();
    Ok(())
}

/// Prints how a call has failed, and what its handler says of it.
fn report(name: &str, outcome: Result<(), CallError>, mill: &MillClient) -> Result<(), Box<dyn Error>> {
    let error = outcome.err().ok_or("it has come to an end")?;
    println!("  host:   {name} failed: {error}");
    for _ in 0..2 {
        println!("  plugin: {}", mill.blocking().next_note()?);
    }
    Ok(())
}

/// Drops a call once its handler has said that it has begun.
async fn drop_when_begun(
    mill: &MillClient,
    call: impl Future<Output = Result<(), CallError>>,
) -> Result<(), Box<dyn Error>> {
    let note = match select(std::pin::pin!(call), std::pin::pin!(mill.next_note())).await {
        Either::Left(_) => return Err("it has come to an end".into()),
        // Here the call is dropped.
        Either::Right((note, _call)) => note?,
    };
    println!("  plugin: {note}");
    println!("  plugin: {}", mill.next_note().await?);
    Ok(())
}
