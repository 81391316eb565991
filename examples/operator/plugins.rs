//! The three plugins.

use std::process::ExitCode;

use rapace::host_api::events::EventsClient;
use rapace::host_api::logger::{LogLevel, LogRecord, LoggerClient};
use rapace::host_api::storage::{PAGE_KEYS_MAX, Space, StorageClient};
use rapace::prelude::*;

/// Keeps notes.
#[rapace::service(name = "demo.Notes", version = "1.0", provider = "plugin")]
pub(crate) trait Notes {
    /// Keeps a note, and tells those who have subscribed to `notes.kept`.
    async fn keep(&self, name: &str, text: &str) -> Result<(), String>;
    /// The names of all notes.
    async fn names(&self) -> Result<Vec<String>, String>;
}

/// Talks.
#[rapace::service(name = "demo.Chatter", version = "1.0", provider = "plugin")]
pub(crate) trait Chatter {
    /// Writes so many records to the host's log. Says how many were taken, and why the first of the others was not.
    async fn chat(&self, records: u32) -> (u32, Option<String>);
}

/// Tries what it may not.
#[rapace::service(name = "demo.Snoop", version = "1.0", provider = "plugin")]
pub(crate) trait Snoop {
    /// The bytes of a file.
    async fn read(&self, path: &str) -> Result<u64, String>;
    /// Puts something into the host's storage.
    async fn hide(&self, name: &str) -> Result<(), String>;
}

struct Notebook(PluginContext);

impl Notes for Notebook {
    async fn keep(&self, name: &str, text: &str) -> Result<(), String> {
        let (storage, events) = (StorageClient::new(&self.0), EventsClient::new(&self.0));
        storage.set(name, text.as_bytes(), Space::Own).await.map_err(|error| error.to_string())?;
        events.publish("notes.kept", name.as_bytes()).await.map_err(|error| error.to_string())
    }

    async fn names(&self) -> Result<Vec<String>, String> {
        let storage = StorageClient::new(&self.0);
        let page = storage.list("", None, PAGE_KEYS_MAX, Space::Own).await.map_err(|error| error.to_string())?;
        Ok(page.keys.into_iter().map(|listed| listed.key).collect())
    }
}

struct Talker(PluginContext);

impl Chatter for Talker {
    async fn chat(&self, records: u32) -> (u32, Option<String>) {
        let logger = LoggerClient::new(&self.0);
        let (mut taken, mut refusal) = (0, None);
        for number in 1..=records {
            let record = LogRecord::new(LogLevel::Info, "talk", "listen!").field("number", u64::from(number));
            match logger.log(record).await {
                Ok(()) => taken += 1,
                Err(error) => refusal = refusal.or(Some(error.to_string())),
            }
        }
        (taken, refusal)
    }
}

struct Curious(PluginContext);

impl Snoop for Curious {
    async fn read(&self, path: &str) -> Result<u64, String> {
        let file = std::fs::read(path).map_err(|error| error.to_string())?;
        u64::try_from(file.len()).map_err(|error| error.to_string())
    }

    async fn hide(&self, name: &str) -> Result<(), String> {
        let storage = StorageClient::new(&self.0);
        storage.set(name, b"", Space::Own).await.map(drop).map_err(|error| error.to_string())
    }
}

/// The plugin of that name.
pub(crate) fn run(name: &str) -> ExitCode {
    let main = PluginMain::new(name, "1.0.0");
    let main = match name {
        "notes" => main.serve_with(|ctx| Ok(NotesServer::new(Notebook(ctx.clone())))),
        "chatter" => main.serve_with(|ctx| Ok(ChatterServer::new(Talker(ctx.clone())))),
        _ => main.serve_with(|ctx| Ok(SnoopServer::new(Curious(ctx.clone())))),
    };
    main.run_with([])
}
