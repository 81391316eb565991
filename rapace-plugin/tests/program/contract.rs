//! The services of the tests.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use rapace_macros::service;
use rapace_plugin::schemars::{self, JsonSchema};
use rapace_plugin::{PluginContext, PluginMain};
use rapace_service::Context;
use serde::{Deserialize, Serialize};

#[service(name = "test.Worker", version = "1.2", provider = "plugin", crate = "rapace_service")]
pub(crate) trait Worker {
    #[method(id = 10)]
    async fn greet(&self, name: &str) -> String;
    /// Ends when the plugin is to stop, and has asked the host a last time.
    #[method(id = 11)]
    async fn wait(&self) -> String;
    /// Asks the host.
    #[method(id = 12)]
    async fn ask(&self, question: &str) -> String;
    /// Tells the host that it has begun, and goes on for ever.
    #[method(id = 13)]
    async fn spin(&self, ctx: &Context);
}

#[service(name = "test.Oracle", version = "1.0", provider = "host", crate = "rapace_service")]
pub(crate) trait Oracle {
    #[method(id = 20)]
    async fn answer(&self, question: &str) -> String;
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manners {
    pub(crate) greeting: String,
    #[serde(default)]
    pub(crate) marks: u8,
}

pub(crate) fn manners(greeting: &str) -> Manners {
    Manners { greeting: greeting.to_owned(), marks: 1 }
}

pub(crate) struct Polite(pub(crate) PluginContext<Manners>);

impl Worker for Polite {
    async fn greet(&self, name: &str) -> String {
        let Manners { greeting, marks } = self.0.config();
        format!("{greeting}, {name}{}", "!".repeat((*marks).into()))
    }

    async fn wait(&self) -> String {
        let _work = self.0.work();
        self.0.stopped().await;
        let _ = OracleClient::new(&self.0).answer("last words").await;
        "stopped".to_owned()
    }

    async fn ask(&self, question: &str) -> String {
        OracleClient::new(&self.0).answer(question).await.unwrap_or_else(|error| error.to_string())
    }

    async fn spin(&self, ctx: &Context) {
        #[cfg(feature = "tokio")]
        if tokio::runtime::Handle::try_current().is_ok() {
            // From here on it is a task of the runtime.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        // Whatever comes back, and not given up when the session ends.
        let _ = OracleClient::new(ctx).blocking().answer("spinning");
        loop {
            std::hint::spin_loop();
        }
    }
}

/// Answers with the question, and tells of it.
pub(crate) struct Echo(pub(crate) Mutex<Sender<String>>);

impl Oracle for Echo {
    async fn answer(&self, question: &str) -> String {
        // A test that has what it wants does not listen.
        let _ = self.0.lock().unwrap().send(question.to_owned());
        format!("{question}?")
    }
}

pub(crate) fn echo() -> (OracleServer<Echo>, std::sync::mpsc::Receiver<String>) {
    let (sender, asked) = std::sync::mpsc::channel();
    (OracleServer::new(Echo(Mutex::new(sender))), asked)
}

/// What happened, in its order.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

pub(crate) fn note(log: &Log, what: &str) {
    log.lock().unwrap().push(what.to_owned());
}

/// A plugin with a worker, and nothing else.
pub(crate) fn polite() -> PluginMain<Manners> {
    PluginMain::new("polite", "1.0.0")
        .calls::<OracleClient>()
        .config::<Manners>()
        .serve_with(|ctx| Ok(WorkerServer::new(Polite(ctx.clone()))))
}
