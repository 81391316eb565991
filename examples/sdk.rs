//! A plugin with a configuration, a task beside its calls, and a state that its successor takes over.
//!
//! ```text
//! $ cargo run --example sdk
//! "to be or not to be" has 6 words, 4 of them new
//! "to see or not to see" has 6 words, 1 of them new
//! its successor knows them: "to be" has 2 words, 0 of them new
//! a bad configuration: configuration: letters_min: invalid value: integer `-1`, expected u8 at line 1 column 17
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin. In a program of its own, `main` would be
//! what `plugin` is here, with `run()`; that one can also be asked what it is: `PROGRAM capabilities`.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rapace::host::{ReloadError, StartCause};
use rapace::plugin::schemars::{self, JsonSchema};
use rapace::prelude::*;
use serde::{Deserialize, Serialize};

/// What the plugin does and the host calls.
#[rapace::service(name = "demo.Vocabulary", version = "1.0", provider = "plugin")]
trait Vocabulary {
    /// How many words a text has, and how many of them are new.
    async fn read(&self, text: &str) -> (u32, u32);
}

/// The plugin's configuration: JSON from its host, or from `--config`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Shorter words are no words.
    letters_min: u8,
    /// How often the plugin says how many words it knows.
    #[serde(default = "an_hour")]
    report_seconds: u64,
}

fn an_hour() -> u64 {
    3600
}

type Words = Arc<Mutex<BTreeSet<String>>>;

struct Reader {
    letters_min: usize,
    words: Words,
}

impl Vocabulary for Reader {
    async fn read(&self, text: &str) -> (u32, u32) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let found = text.split_whitespace().filter(|word| word.chars().count() >= self.letters_min);
        found.fold((0, 0), |(count, new), word| (count + 1, new + u32::from(words.insert(word.to_owned()))))
    }
}

fn plugin() -> ExitCode {
    let words = Words::default();
    let [read, reported, exported, imported] = [(); 4].map(|()| Arc::clone(&words));
    PluginMain::new("vocabulary", env!("CARGO_PKG_VERSION"))
        .config::<Options>()
        .serve_with(|ctx| {
            let letters_min = ctx.config().letters_min.into();
            Ok(VocabularyServer::new(Reader { letters_min, words: read }))
        })
        .background(|ctx| async move {
            // Its output is a record of the host's log.
            while !ctx.wait_stopped_for(Duration::from_secs(ctx.config().report_seconds)) {
                println!("{} words", reported.lock().unwrap_or_else(PoisonError::into_inner).len());
            }
        })
        .export_state(move |_| {
            let words = exported.lock().unwrap_or_else(PoisonError::into_inner);
            words.iter().map(String::as_str).collect::<Vec<_>>().join("\n").into_bytes()
        })
        .import_state(move |_, state| {
            let state = std::str::from_utf8(state);
            let state = state.map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))?;
            let words = state.lines().map(str::to_owned);
            imported.lock().unwrap_or_else(PoisonError::into_inner).extend(words);
            Ok(())
        })
        .run_with([])
}

fn host() -> Result<(), Box<dyn Error>> {
    let host = PluginHost::builder(Config::new("sdk", env!("CARGO_PKG_VERSION"))).build()?;
    let program = std::env::current_exe()?;
    let version =
        |options: String| PluginSpec::new("vocabulary", &program).arg("--plugin").config_data(options.into_bytes());
    let options = serde_json::to_string(&Options { letters_min: 2, report_seconds: 60 })?;
    let plugin = host.load(version(options.clone()))?;
    let client = VocabularyClient::new(&plugin).blocking();
    for text in ["to be or not to be", "to see or not to see"] {
        let (count, new) = client.read(text)?;
        println!("{text:?} has {count} words, {new} of them new");
    }

    // Another process, which is given the state of the one that it replaces.
    plugin.reload(version(options))?;
    let (count, new) = client.read("to be")?;
    println!("its successor knows them: \"to be\" has {count} words, {new} of them new");

    if let Err(ReloadError::Start(error)) = plugin.reload(version(r#"{"letters_min":-1}"#.to_owned()))
        && let StartCause::Initialize(CallError::Status(status)) = *error.cause
    {
        println!("a bad configuration: {}", status.message);
    }
    host.shutdown();
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return Ok(plugin());
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}
