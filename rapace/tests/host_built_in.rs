//! A built-in plugin and a process behind one client, in a host.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::ExitCode;

use rapace::host::PluginSpec;
use rapace::prelude::*;
use rapace::{BuiltIn, Services};

const PLUGIN: &str = "RAPACE_TEST_PLUGIN";

/// What the plugins do.
#[rapace::service(name = "test.Shout", version = "1.0", provider = "plugin")]
pub trait Shout {
    /// Says it louder.
    async fn shout(&self, text: &str) -> String;

    /// The id of the process.
    async fn process(&self) -> u32;

    /// What the host is asked on the way.
    async fn ask(&self, ctx: &Context, text: &str) -> Result<String, String>;
}

/// What the host does for them.
#[rapace::service(name = "test.Oracle", version = "1.0", provider = "host")]
pub trait Oracle {
    /// An answer.
    async fn answer(&self, text: &str) -> String;
}

struct Loud;

impl Shout for Loud {
    async fn shout(&self, text: &str) -> String {
        text.to_uppercase()
    }

    async fn process(&self) -> u32 {
        std::process::id()
    }

    async fn ask(&self, ctx: &Context, text: &str) -> Result<String, String> {
        OracleClient::new(ctx).answer(text).await.map_err(|error| error.to_string())
    }
}

struct Sure;

impl Oracle for Sure {
    async fn answer(&self, text: &str) -> String {
        format!("{text}? yes")
    }
}

fn services() -> Services {
    Services::new().add(ShoutServer::new(Loud))
}

#[test]
fn plugin_process() {
    if std::env::var_os(PLUGIN).is_some() {
        let code = PluginMain::new("loud", "1.0.0").serve(ShoutServer::new(Loud)).run_with([]);
        std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
}

#[test]
fn one_client_calls_a_process_or_a_part_of_this_program() {
    let registry = Services::new().calls::<ShoutClient>().add(OracleServer::new(Sure)).registry().unwrap();
    let config = Config { registry, ..Config::new("host", "1.0.0") };
    let host = PluginHost::builder(config).services(|_| Services::new().add(OracleServer::new(Sure))).build().unwrap();
    let process = PluginSpec::new("process", std::env::current_exe().unwrap());
    let process = process.arg("--exact").arg("plugin_process").arg("--nocapture").env(PLUGIN, "1");
    let built_in = BuiltIn::new("built-in", "1.0.0", services()).unwrap();
    let plugins = [host.load(process).unwrap(), host.load(PluginSpec::built_in(&built_in)).unwrap()];
    for plugin in &plugins {
        let shout = ShoutClient::new(plugin).blocking();
        assert_eq!(shout.shout("hello").unwrap(), "HELLO");
        assert_eq!(shout.ask("is it").unwrap(), "is it? yes");
        assert_eq!((plugin.state(), plugin.is_ready()), (PluginState::Running, true));
    }
    let pid = |plugin| ShoutClient::new(plugin).blocking().process().unwrap();
    assert_eq!(pid(&plugins[0]), plugins[0].process_id().unwrap());
    assert_eq!((pid(&plugins[1]), plugins[1].process_id()), (std::process::id(), None));
    // By bytes it is called like any other.
    let method = ShoutClient::METHODS.iter().find(|method| method.name == "shout").unwrap().id;
    let request = plugins[1].call(method, b"\x02hi", &CallOptions::new()).unwrap();
    assert_eq!(*request.body, *b"\x02HI");
    assert_eq!(host.serving("test.Shout").len(), 2);
    // A restart is another life, for a new client; the old one's is over.
    let before = ShoutClient::new(&plugins[1]).blocking();
    plugins[1].restart().unwrap();
    assert!(before.shout("again").is_err());
    assert_eq!(ShoutClient::new(&plugins[1]).blocking().shout("again").unwrap(), "AGAIN");
    let reports = host.shutdown();
    assert!(reports.iter().all(|(_, report)| report.acknowledged.is_ok()), "{reports:?}");
    for plugin in &plugins {
        let error = ShoutClient::new(plugin).blocking().shout("hello").unwrap_err();
        assert_eq!(plugin.state(), PluginState::Stopped, "{error}");
    }
}
