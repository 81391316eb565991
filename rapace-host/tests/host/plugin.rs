//! The plugins of the tests.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_plugin::{HostHandle, Plugin, PluginMain, run};
use rapace_session::{CallError, CallOptions, Code, Config, Handshake, IncomingCall, PeerB, Router, Status};

pub(crate) const ROLE: &str = "RAPACE_TEST_ROLE";
/// A file that the plugin reads before it ends.
pub(crate) const GATE: &str = "RAPACE_TEST_GATE";
pub(crate) const ECHO: u32 = 1;
/// Calls the host's [`BEGUN`], and never comes to an end.
pub(crate) const ENDLESS: u32 = 2;
/// Ends the process with the exit code in the body.
pub(crate) const EXIT: u32 = 3;
/// Prints the body to both outputs.
pub(crate) const PRINT: u32 = 4;
/// Closes the session and goes on.
pub(crate) const PART: u32 = 5;
/// Answers with the id of its process.
pub(crate) const PID: u32 = 6;
/// Answers with the plugin's role.
pub(crate) const INSTANCE_ROLE: u32 = 7;
/// Answers what the host answers to [`BEGUN`].
pub(crate) const ASK: u32 = 8;
/// Counts the calls of it, and answers how many there were.
pub(crate) const COUNT: u32 = 9;
/// Answers with what came with `initialize`, and a variable.
pub(crate) const CONFIGURATION: u32 = 10;
/// Calls a method of the host so many times at once: its number, a byte that says how many times, the argument.
pub(crate) const ASK_MANY: u32 = 11;
/// A path at which the plugin, started by hand, joins its host.
pub(crate) const JOIN: &str = "RAPACE_TEST_JOIN";
/// A call of the host by the plugin.
pub(crate) const BEGUN: u32 = 1000;

const INITIALIZE: u32 = 2000;
const SHUTDOWN: u32 = 2002;
const EXPORT_STATE: u32 = 2003;
const IMPORT_STATE: u32 = 2004;
const IS_IDLE: u32 = 2005;
/// Answered by programs of the SDK.
pub(crate) const PING: u32 = 2006;

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    if role == "drowsy" {
        let code = PluginMain::new("drowsy", "1.0.0").idle_timeout(Duration::from_millis(50)).run_with([]);
        std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
    let code = run(|| {
        let registry = match role.as_str() {
            "stranger" => super::registry::<u64>(),
            "typed" => super::typed_registry(),
            "counter" | "forgetful counter" | "slow counter" => super::stateful_registry(),
            _ => super::registry::<u32>(),
        };
        let config = Config { registry, ..Config::new(role.as_str(), "1.0.0") };
        if let Some(path) = std::env::var_os(JOIN) {
            let handshake = Handshake::<PeerB>::accept(Socket::connect(path)?, config)?;
            handshake.finish(services(&role, HostHandle::default()))?.serve();
            return Ok(());
        }
        let plugin = Plugin::attach_with(config, "a test", |host| services(&role, host))?;
        plugin.serve()?;
        if let Ok(gate) = std::env::var(GATE) {
            std::fs::read(gate)?;
        }
        Ok(())
    });
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

fn services(role: &str, host: HostHandle) -> Router {
    let role_bytes = role.to_owned();
    let leaves = role == "leaver";
    let own = host.clone();
    let services = Router::new()
        .method(ECHO, |mut call: IncomingCall| {
            let body = call.take_body();
            call.reply(&body);
        })
        .method(ENDLESS, |call: IncomingCall| {
            drop(call.call_back(BEGUN, b"", &CallOptions::new()));
            endless();
        })
        .method(EXIT, |call: IncomingCall| {
            eprintln!("told to exit with {}", call.body()[0]);
            std::process::exit(call.body()[0].into());
        })
        .method(PRINT, |call: IncomingCall| {
            let text = String::from_utf8_lossy(call.body()).into_owned();
            println!("{text}");
            eprintln!("{text}");
            call.reply(b"");
        })
        .method(INSTANCE_ROLE, move |call: IncomingCall| call.reply(role_bytes.as_bytes()))
        .method(ASK, |call: IncomingCall| {
            let answer = call.call_back(BEGUN, b"", &CallOptions::new());
            call.reply(&answer.map(|reply| reply.body.to_vec()).unwrap_or_default());
        })
        .method(ASK_MANY, |mut call: IncomingCall| {
            let (request, caller) = (call.take_body(), call.caller());
            let [a, b, c, d, times, ref body @ ..] = request[..] else { panic!("{request:?}") };
            let method = u32::from_le_bytes([a, b, c, d]);
            let options = CallOptions::new().deadline(super::PATIENCE);
            let ask = || match caller.call_blocking(method, body, &options) {
                Ok(reply) => format!("{:?}", &*reply.body),
                Err(CallError::Status(status)) => format!("{:?}: {}", status.code, status.message),
                Err(error) => format!("{error:?}"),
            };
            let answers: Vec<String> = std::thread::scope(|scope| {
                let asking: Vec<_> = (0..times).map(|_| scope.spawn(ask)).collect();
                asking.into_iter().map(|asked| asked.join().unwrap()).collect()
            });
            call.reply(answers.join("\n").as_bytes());
        })
        .method(PID, |call: IncomingCall| call.reply(&std::process::id().to_le_bytes()))
        .method(PART, move |call: IncomingCall| {
            host.session().unwrap().close(&Status::new(Code::Aborted, "enough"));
            drop(call);
            if !leaves {
                endless();
            }
        });
    match role {
        "picky" => services.method(INITIALIZE, |call: IncomingCall| {
            eprintln!("cannot work like this");
            let text = format!("{:?} is no configuration", String::from_utf8_lossy(call.body()));
            call.fail(Status::new(Code::InvalidArgument, text));
        }),
        // The postcard form of `Err("no window")`, or of `Ok(())`.
        "typed" => services.method(INITIALIZE, |call: IncomingCall| match call.body() {
            b"" => call.reply(&[0]),
            _ => call.reply(b"\x01\x09no window"),
        }),
        "slow to start" => services.method(INITIALIZE, |_| endless()),
        "dies at start" => services.method(INITIALIZE, |_| std::process::abort()),
        "counter" => counter(services).method(IMPORT_STATE, |call: IncomingCall| {
            COUNTED.store(u64::from_le_bytes(call.body().try_into().unwrap()), SeqCst);
            call.reply(b"");
        }),
        "slow counter" => counter(services).method(IMPORT_STATE, |_| endless()),
        "forgetful counter" => counter(services).method(IMPORT_STATE, |call: IncomingCall| {
            call.fail(Status::new(Code::DataLoss, "what was it"));
        }),
        "configured" => {
            let told = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
            let tell = std::sync::Arc::clone(&told);
            let initialized = services.method(INITIALIZE, move |call: IncomingCall| {
                *told.lock().unwrap() = String::from_utf8_lossy(call.body()).into_owned();
                call.reply(b"");
            });
            initialized.method(CONFIGURATION, move |call: IncomingCall| {
                let more = std::env::var("RAPACE_TEST_MORE").unwrap_or_default();
                call.reply(format!("{} {more}", tell.lock().unwrap()).as_bytes());
            })
        }
        "busy" => services.method(IS_IDLE, |call: IncomingCall| call.reply(&[0])),
        "self-employed" => services.method(INITIALIZE, move |call: IncomingCall| {
            let own = own.clone();
            std::thread::spawn(move || own.call(BEGUN, b"", &CallOptions::new().deadline(super::PATIENCE)));
            call.reply(b"");
        }),
        "stubborn" => services.method(SHUTDOWN, |_| endless()),
        "fails at the end" => services.method(SHUTDOWN, |_| std::process::exit(9)),
        "polite" => services.method(SHUTDOWN, |call: IncomingCall| {
            eprint!("thank you, and\ngoodbye");
            call.reply(b"");
        }),
        _ => services,
    }
}

static COUNTED: AtomicU64 = AtomicU64::new(0);

/// Its state is how much it has counted.
fn counter(services: Router) -> Router {
    services
        .method(COUNT, |call: IncomingCall| call.reply(&(COUNTED.fetch_add(1, SeqCst) + 1).to_le_bytes()))
        .method(EXPORT_STATE, |call: IncomingCall| call.reply(&COUNTED.load(SeqCst).to_le_bytes()))
}

fn endless() -> ! {
    loop {
        std::thread::park();
    }
}
