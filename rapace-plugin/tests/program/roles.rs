//! What this test program is when it is started again.

use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rapace_core::socket::{Listener, Socket};
use rapace_plugin::PluginMain;
use rapace_service::Services;
use rapace_session::{AsCaller, Config, Handshake, PeerA, Process};

use crate::PATIENCE;
use crate::contract::{Oracle, OracleServer, WorkerClient, manners, polite};
use crate::process::{ARGUMENTS, ROLE, test_program};

/// The role itself, in the processes that the tests start; nothing in the test program.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let arguments: Vec<String> = std::env::var(ARGUMENTS).unwrap_or_default().lines().map(str::to_owned).collect();
    let arguments = arguments.into_iter().map(Into::into);
    let code = match role.as_str() {
        "polite" => polite().contract("greeter", "in-words").hint("host polite").run_with(arguments),
        "spinning" => polite().stop_limit(Duration::from_millis(50)).run_with(arguments),
        "spinning beside" => polite().threads(2.try_into().unwrap()).run_with(arguments),
        "deaf" => deaf().run_with(arguments),
        "fragile" => fragile().run_with(arguments),
        "idle" => polite().idle_timeout(Duration::from_millis(50)).run_with(arguments),
        "patient" => polite().grace(Duration::MAX).run_with(arguments),
        "host" => host("spinning"),
        "host to join" => host_to_join(),
        #[cfg(feature = "tokio")]
        "host of tasks" => host("spinning task"),
        #[cfg(feature = "tokio")]
        "spinning task" => polite().tokio().run_with(arguments),
        #[cfg(feature = "tokio")]
        "blocked runtime" => crate::tokio::blocked().run_with(arguments),
        "leaves_no_thread" => {
            crate::harness::leaves_no_thread();
            ExitCode::SUCCESS
        }
        other => panic!("there is no role {other:?}"),
    };
    let known = [0, 1, 2].into_iter().find(|known| ExitCode::from(*known) == code);
    std::process::exit(known.unwrap_or(100).into());
}

fn deaf() -> PluginMain {
    PluginMain::new("deaf", "1").on_shutdown(|_| {
        eprintln!("asked to stop");
        loop {
            std::thread::park();
        }
    })
}

fn fragile() -> PluginMain {
    // By a panic without a message of the runtime's.
    PluginMain::new("fragile", "1").background(|_| async { std::panic::resume_unwind(Box::new("no message")) })
}

/// A host that is in a call of its plugin until it is killed.
fn host(plugin: &str) -> ExitCode {
    let (socket, theirs) = Socket::pair().unwrap();
    let mut command = test_program(plugin);
    let child = command.env("RAPACE_PROTOCOL", "1").stdin(theirs.into_fd()).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    call(socket, child)
}

/// The same, of one that joins it.
fn host_to_join() -> ExitCode {
    let path = std::env::temp_dir().join(format!("rapace-joined-{}", std::process::id()));
    let listener = Listener::bind(&path).unwrap();
    let mut command = test_program("spinning");
    let child = command.env("RAPACE_ATTACH", &path).stdout(Stdio::null()).spawn().unwrap();
    let socket = listener.accept(Instant::now() + PATIENCE).unwrap();
    // Nobody does it behind a kill.
    drop(listener);
    call(socket, child)
}

fn call(socket: Socket, plugin: Child) -> ExitCode {
    /// Says of a plugin's process that it has begun.
    struct Witness(u32);
    impl Oracle for Witness {
        async fn answer(&self, _: &str) -> String {
            eprintln!("{}", self.0);
            String::new()
        }
    }
    let process = Process::new(plugin).unwrap();
    let services = Services::new().add(OracleServer::new(Witness(process.id())));
    let session =
        Handshake::<PeerA>::offer(socket, Some(process), Config::new("host", "1")).unwrap().finish(services).unwrap();
    let configuration = serde_json::to_vec(&manners("Hello")).unwrap();
    session.as_caller().call_blocking(2000, &configuration, &Default::default()).unwrap();
    let patient = rapace_session::CallOptions::new().deadline(PATIENCE);
    let _ = WorkerClient::new(&session).with_options(patient).blocking().spin();
    ExitCode::FAILURE
}
