//! The plugin of the tests.

use std::process::ExitCode;
use std::sync::Mutex;

use rapace_plugin::{Plugin, run};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{CallOptions, Code, Config, IncomingCall, Router, Status};

pub(crate) const ROLE: &str = "RAPACE_TEST_METRICS";
pub(crate) const ECHO: u32 = 1;
/// Fails with the code in the body.
pub(crate) const FAIL: u32 = 2;
/// Is answered when nobody waits for it any more.
pub(crate) const WAIT: u32 = 3;
/// Calls a method of the host with the rest of the body.
pub(crate) const ASK: u32 = 4;
/// Prints the body to standard output, and twice to standard error. It is not described.
pub(crate) const PRINT: u32 = 5;
/// Keeps a processor busy for about a tenth of a second of its time.
pub(crate) const SPIN: u32 = 6;
/// Takes as many MiB of memory as the body says, and keeps them.
pub(crate) const KEEP: u32 = 7;

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    let Ok(name) = std::env::var(ROLE) else { return };
    let code = run(|| {
        let config = Config { registry: registry(), ..Config::new(name.as_str(), "1.0.0") };
        Plugin::attach_with(config, "a test", |_| services())?.serve()?;
        Ok(())
    });
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

fn registry() -> Registry {
    let service = Service::builder("test.Plugin", Version::new(1, 0), Provider::Plugin);
    let service = service.unary::<u32, u32>("echo", ECHO).unary::<u32, u32>("fail", FAIL);
    let service = service.unary::<u32, u32>("wait", WAIT).unary::<u32, u32>("ask", ASK);
    Registry::builder().service(service).build().unwrap()
}

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn services() -> Router {
    Router::new()
        .method(ECHO, |mut call: IncomingCall| {
            let body = call.take_body();
            call.reply(&body);
        })
        .method(FAIL, |call: IncomingCall| {
            let code = Code::from_raw(call.body()[0].into());
            call.fail(Status::new(code, "as it was asked to"));
        })
        .method(WAIT, |call: IncomingCall| {
            call.run_async(|call| async move {
                call.cancelled().await;
                call.fail(Status::new(Code::Cancelled, "nobody waits"));
            });
        })
        .method(ASK, |call: IncomingCall| {
            let (method, body) = call.body().split_first_chunk().unwrap();
            let answer = call.call_back(u32::from_le_bytes(*method), body, &CallOptions::new());
            call.reply(&answer.map(|reply| reply.body.to_vec()).unwrap_or_default());
        })
        .method(PRINT, |call: IncomingCall| {
            let text = String::from_utf8_lossy(call.body()).into_owned();
            println!("{text}");
            eprintln!("{text}\n{text}");
            call.reply(b"");
        })
        .method(SPIN, |call: IncomingCall| {
            // Not for a time: on a busy machine it would have little of it.
            (0..5_000_000).for_each(|_| std::hint::spin_loop());
            call.reply(b"");
        })
        .method(KEEP, |call: IncomingCall| {
            // Memory is only there once it is written to.
            KEPT.lock().unwrap().push(vec![7; usize::from(call.body()[0]) << 20]);
            call.reply(b"");
        })
}
