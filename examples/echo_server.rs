//! Answers each call with its own argument, for peers that were not started by this program.
//!
//! ```text
//! cargo run --example echo_server -- /tmp/echo.sock
//! ```
//!
//! The other half is `echo_client`. Who accepts is peer A and makes the memory; who connects is peer B. A client that
//! breaks off, or breaks a rule, ends its own session and no other. The server runs until it is killed.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use rapace::prelude::*;
use rapace::socket::{Listener, Socket, SocketError};

/// Clients that are served at once; others wait in the socket's queue.
const WORKERS: usize = 8;
/// How long a worker waits for a client before it waits again.
const ROUND: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [path] = &args[..] else {
        eprintln!("usage: echo_server PATH");
        return ExitCode::from(2);
    };
    let listener = match Listener::bind(path) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("echo_server: cannot listen at {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    println!("[Server] Listening at {}", listener.path().display());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(&listener));
        }
    });
    // The workers only return when they cannot accept any more, and they have said why.
    ExitCode::FAILURE
}

fn work(listener: &Listener) {
    loop {
        match listener.accept(Instant::now() + ROUND) {
            Ok(client) => match serve(client) {
                Ok(ending) => println!("[Server] {ending}"),
                Err(error) => println!("[Server] No session with a client: {error}"),
            },
            Err(SocketError::DeadlinePassed) => {}
            Err(error) => {
                eprintln!("echo_server: {error}");
                return;
            }
        }
    }
}

/// Serves one client until it is done.
fn serve(client: Socket) -> Result<String, Box<dyn std::error::Error>> {
    let config = Config::new("echo_server", env!("CARGO_PKG_VERSION"));
    let echo = |mut call: IncomingCall| {
        let body = call.take_body();
        call.reply(&body);
    };
    let session = Handshake::<PeerA>::offer(client, None, config)?.finish(echo)?;
    println!("[Server] {} {} has connected", session.peer().name, session.peer().version);
    Ok(session.serve().to_string())
}
