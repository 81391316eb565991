//! The plugins of the tests: each wants more than it may, and none more than a machine has.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use rapace_plugin::{Plugin, run};
use rapace_session::{Config, IncomingCall, Router};

pub(crate) const ROLE: &str = "RAPACE_TEST_ROLE";
/// Answers with the body.
pub(crate) const ECHO: u32 = 1;
/// Starts processes until there are so many, or no more; answers how many there are.
pub(crate) const FORK: u32 = 2;
/// Takes so many MiB of memory, or as many as there are; answers how many.
pub(crate) const ALLOCATE: u32 = 3;
/// Keeps a processor busy for so many seconds.
pub(crate) const SPIN: u32 = 4;
/// Opens so many files, or as many as it can; answers how many.
pub(crate) const OPEN: u32 = 5;
/// Starts a shell with the script in the body, and answers with the first line that it prints.
pub(crate) const RUN: u32 = 6;
/// Ends the process.
pub(crate) const EXIT: u32 = 7;

/// Whatever it is told, it takes no more than that.
const AT_MOST: u64 = 256;

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let code = run(|| {
        let plugin = Plugin::attach_with(Config::new(role.as_str(), "1.0.0"), "a test", |_| services())?;
        plugin.serve()?;
        Ok(())
    });
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// What it has started.
static CHILDREN: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn services() -> Router {
    Router::new()
        .method(ECHO, |mut call: IncomingCall| {
            let body = call.take_body();
            call.reply(&body);
        })
        .method(FORK, |call| answer(call, fork))
        .method(ALLOCATE, |call| answer(call, allocate))
        .method(SPIN, |call| answer(call, spin))
        .method(OPEN, |call| answer(call, open))
        .method(RUN, |call: IncomingCall| {
            let script = String::from_utf8_lossy(call.body()).into_owned();
            let mut shell = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
            CHILDREN.lock().unwrap().push(shell);
            call.reply(line.as_bytes());
        })
        .method(EXIT, |_| std::process::exit(7))
}

fn answer(call: IncomingCall, act: impl FnOnce(u64) -> u64) {
    let number = u64::from_le_bytes(call.body().try_into().unwrap());
    call.reply(&act(number.min(AT_MOST)).to_le_bytes());
}

fn fork(count: u64) -> u64 {
    let mut children = CHILDREN.lock().unwrap();
    let started = (0..count).map_while(|_| Command::new("sleep").arg("1000").spawn().ok());
    children.extend(started);
    children.len() as u64
}

fn allocate(mebibytes: u64) -> u64 {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mebibytes {
        let mut one = Vec::new();
        if one.try_reserve_exact(1 << 20).is_err() {
            break;
        }
        // Memory is only there once it is written to.
        one.resize(1 << 20, 7);
        taken.push(std::hint::black_box(one));
    }
    taken.len() as u64
}

fn spin(seconds: u64) -> u64 {
    let start = Instant::now();
    while start.elapsed().as_secs() < seconds {
        std::hint::spin_loop();
    }
    seconds
}

fn open(count: u64) -> u64 {
    (0..count).map_while(|_| File::open("/dev/null").ok()).collect::<Vec<_>>().len() as u64
}
