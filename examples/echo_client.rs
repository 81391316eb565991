//! Calls an `echo_server` with arguments of many sizes, and says how long the round trips take.
//!
//! ```text
//! cargo run --example echo_client -- /tmp/echo.sock
//! ```

use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Instant;

use rapace::prelude::*;
use rapace::socket::Socket;

/// The server has one method, and does not look at its id.
const ECHO: u32 = 1;
/// Within a descriptor, within a slot, within several, and more than the memory has at once.
const SIZES: [usize; 8] = [0, 8, 24, 25, 4096, 64 << 10, 1 << 20, 16 << 20];

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [path] = &args[..] else {
        eprintln!("usage: echo_client PATH");
        return ExitCode::from(2);
    };
    match run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &OsStr) -> Result<(), Box<dyn Error>> {
    let nobody = |error| format!("no server at {}: {error}", path.display());
    let socket = Socket::connect(path).map_err(nobody)?;
    let config = Config::new("echo_client", env!("CARGO_PKG_VERSION"));
    let session = Handshake::<PeerB>::accept(socket, config)?.finish(NoService)?;
    println!("[Client] Connected to {} {}", session.peer().name, session.peer().version);
    for size in SIZES {
        let body: Vec<u8> = (0_u8..=250).cycle().take(size).collect();
        let start = Instant::now();
        let reply = session.call(ECHO, &body, &CallOptions::new())?;
        let time = start.elapsed();
        if *reply.body != *body {
            return Err(format!("the reply to {size} bytes has {} bytes, or other ones", reply.body.len()).into());
        }
        println!("[Client] {size:>8} bytes there and back in {time:.1?}");
    }
    session.close(&Status::new(Code::Cancelled, "the client is done"));
    Ok(())
}
