//! The plugin of the tests.

use std::process::ExitCode;

use rapace_macros::service;
use rapace_plugin::PluginMain;
use rapace_service::Context;
use rapace_service::intercept::{BearerToken, RequireBearer};

/// Tells the process that it is the plugin, and of what name.
pub(crate) const NAME: &str = "RAPACE_TEST_NAME";
/// The token of its calls.
pub(crate) const TOKEN: &str = "RAPACE_TEST_TOKEN";
/// The token that its host is to present.
pub(crate) const HOST_TOKEN: &str = "RAPACE_TEST_HOST_TOKEN";

#[service(name = "test.Front", version = "1.0", provider = "plugin", crate = "rapace_service")]
pub(crate) trait Front {
    /// Calls the host so many times; says how often that went well, and why not.
    #[method(id = 1)]
    async fn ask(&self, ctx: &Context, times: u32) -> (u32, Vec<String>);
    #[method(id = 2)]
    async fn exit(&self, code: u8);
    #[method(id = 3)]
    async fn hang(&self);
    #[method(id = 4)]
    async fn fail(&self);
}

#[service(name = "test.Back", version = "1.0", provider = "host", crate = "rapace_service")]
pub(crate) trait Back {
    #[method(id = 1000)]
    async fn double(&self, number: u32) -> u32;
}

pub(crate) struct Host;

impl Back for Host {
    async fn double(&self, number: u32) -> u32 {
        number * 2
    }
}

pub(crate) struct Plugged;

impl Front for Plugged {
    async fn ask(&self, ctx: &Context, times: u32) -> (u32, Vec<String>) {
        let host = BackClient::new(ctx);
        let host = match std::env::var(TOKEN) {
            Ok(token) => host.intercepted_by(BearerToken::new(&token).unwrap()),
            Err(_) => host,
        };
        let (mut went_well, mut refusals) = (0, Vec::new());
        for number in 0..times {
            match host.double(number).await {
                Ok(double) => went_well += u32::from(double == number * 2),
                Err(error) => refusals.push(error.to_string()),
            }
        }
        (went_well, refusals)
    }

    async fn exit(&self, code: u8) {
        std::process::exit(code.into());
    }

    async fn hang(&self) {
        loop {
            std::thread::park();
        }
    }

    async fn fail(&self) {
        panic!("on purpose");
    }
}

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    let Ok(name) = std::env::var(NAME) else { return };
    let main = PluginMain::new(&*name, "1.0.0").serve(FrontServer::new(Plugged)).calls::<BackClient>();
    let main = match std::env::var(HOST_TOKEN) {
        Ok(token) => main.intercept(RequireBearer::new([token]).unwrap()),
        Err(_) => main,
    };
    let main = if name == "never-ready" { main.setup(|_| Err("it likes nothing".into())) } else { main };
    let code = main.run_with([]);
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}
