//! What each thing that one can choose gains or costs: a table of rows that differ in one of them.
//!
//! `cargo bench -p rapace-benches --bench tune`; with `-- NAME` only the rows whose names contain that.
//!
//! Rows are interleaved, run by run, each with a session of its own, so that whatever else the machine does falls on all
//! of them. Unless a row says otherwise both sides spin, and all else is the default.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rapace_benches::typed::TypedClient;
use rapace_benches::{ECHO, Error, play_role, session_with};
use rapace_session::{CallOptions, Config, PeerA, Prefault, ReadInPlace, Session, WaitStrategy};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const RUNS: usize = 9;
const MIB: usize = 1 << 20;

/// A row: its name, the operations of a run, and how to time them.
type Row = (&'static str, u32, fn(u32) -> Result<Duration, Error>);

const ROWS: [Row; 24] = [
    ("wait: Spin", 20_000, |count| typed("spin", WaitStrategy::Spin, count)),
    ("wait: Adaptive", 20_000, |count| typed("adaptive", WaitStrategy::Adaptive, count)),
    ("wait: Park", 1000, |count| typed("park", WaitStrategy::Park, count)),
    ("pinned, two cores: Spin", 20_000, |count| pinned("spin", WaitStrategy::Spin, 1, count)),
    ("pinned, two cores: Park", 1000, |count| pinned("park", WaitStrategy::Park, 1, count)),
    ("pinned, one core: Park", 1000, |count| pinned("park", WaitStrategy::Park, 0, count)),
    ("1 MiB: call", 100, |count| echo(config(), |session| calls(session, MIB, count))),
    ("1 MiB: call, OfAnyPeer", 100, |count| echo(trusting(4 * MIB), |session| calls(session, MIB, count))),
    ("1 MiB: in place, OfAnyPeer", 100, |count| echo(trusting(4 * MIB), |session| in_place(session, 1, count))),
    ("1 MiB: 4 under way, 4 MiB", 100, |count| echo(trusting(4 * MIB), |session| in_place(session, 4, count))),
    ("1 MiB: 4 under way, 16 MiB", 100, |count| echo(trusting(16 * MIB), |session| in_place(session, 4, count))),
    ("1 MiB: 4 under way, 32 MiB", 100, |count| echo(trusting(32 * MIB), |session| in_place(session, 4, count))),
    ("64 B: slots of 4 KiB", 20_000, |count| echo(config(), |session| calls(session, 64, count))),
    ("64 B: slots of 256 B", 20_000, |count| echo(slots(256), |session| calls(session, 64, count))),
    ("flight: 1 call", 20_000, |count| flight(64, 1, count)),
    ("flight: 8 calls", 64_000, |count| flight(64, 8, count)),
    ("flight: 64 calls", 64_000, |count| flight(64, 64, count)),
    ("flight: 64 calls, ring of 512", 64_000, |count| flight(512, 64, count)),
    ("start: Prefault::Lazy", 10, |count| starts(Prefault::Lazy, count)),
    ("start: Prefault::Now", 10, |count| starts(Prefault::Now, count)),
    ("first 1 MiB: Prefault::Lazy", 1, |count| first(Prefault::Lazy, count)),
    ("first 1 MiB: Prefault::Now", 1, |count| first(Prefault::Now, count)),
    ("items of 1 KiB: window of 256 KiB", 20_000, |count| items(256 << 10, count)),
    ("items of 1 KiB: window of 16 KiB", 20_000, |count| items(16 << 10, count)),
];

fn main() -> Result<(), Error> {
    if play_role()? {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to see that it runs.
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let (runs, part) = if is_test { (1, 100) } else { (RUNS, 1) };
    let wanted = arguments.iter().find(|argument| !argument.starts_with("--"));
    let rows: Vec<&Row> = ROWS.iter().filter(|(name, ..)| wanted.is_none_or(|part| name.contains(&**part))).collect();
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..runs {
        for ((_, count, run), times) in rows.iter().zip(&mut times) {
            let count = count.div_ceil(part);
            times.push(run(count)?.as_secs_f64() * 1e6 / f64::from(count));
        }
    }
    println!("{:<34} {:>10} {:>10} {:>10}", "one of them takes", "median us", "min", "max");
    for ((name, ..), mut times) in rows.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        println!("{name:<34} {:>10.3} {:>10.3} {:>10.3}", times[times.len() / 2], times[0], times[times.len() - 1]);
    }
    Ok(())
}

fn config() -> Config {
    let config = Config::new("tune", env!("CARGO_PKG_VERSION"));
    Config { wait: WaitStrategy::Spin, prefault: Prefault::Now, ..config }
}

fn trusting(segment_bytes: usize) -> Config {
    let mut config = Config { read_in_place: ReadInPlace::OfAnyPeer, ..config() };
    config.geometry.segment_bytes = segment_bytes;
    config
}

fn slots(slot_bytes: u32) -> Config {
    let mut config = config();
    config.geometry.slot_bytes = slot_bytes;
    config
}

fn typed(role: &str, wait: WaitStrategy, count: u32) -> Result<Duration, Error> {
    let session = session_with(&format!("typed-{role}"), Config { wait, ..config() })?;
    typed_calls(&session, count / 10);
    Ok(typed_calls(&session, count))
}

fn typed_calls(session: &Session<PeerA>, count: u32) -> Duration {
    let client = TypedClient::new(session).blocking();
    let start = Instant::now();
    for number in 0..u64::from(count) {
        assert_eq!(client.next(black_box(number)).unwrap(), number + 1);
    }
    start.elapsed()
}

/// This thread on one core, the peer on the next or so many further.
fn pinned(role: &str, wait: WaitStrategy, apart: usize, count: u32) -> Result<Duration, Error> {
    let before = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core)).collect();
    let keep_to = |core: usize| {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only)
    };
    // A process has its parent's cores.
    keep_to(*cores.get(apart).unwrap_or(&cores[0]))?;
    let session = session_with(&format!("typed-{role}"), Config { wait, ..config() })?;
    keep_to(cores[0])?;
    typed_calls(&session, count / 10);
    let time = typed_calls(&session, count);
    sched_setaffinity(None, &before)?;
    Ok(time)
}

/// Times it a second time, behind a warm-up.
fn echo(config: Config, run: impl Fn(&Session<PeerA>)) -> Result<Duration, Error> {
    let session = session_with("spin", config)?;
    run(&session);
    let start = Instant::now();
    run(&session);
    Ok(start.elapsed())
}

fn calls(session: &Session<PeerA>, bytes: usize, count: u32) {
    let mut body = vec![0; bytes];
    for number in 0..count {
        body.fill(number.to_le_bytes()[0]);
        let reply = session.call(ECHO, &body, &CallOptions::new()).unwrap();
        black_box(sum(&reply.body));
    }
}

/// Calls of 1 MiB, so many of them under way.
fn in_place(session: &Session<PeerA>, under_way: usize, count: u32) {
    let mut pending = VecDeque::new();
    let take = |pending: &mut VecDeque<rapace_session::PendingCall>| {
        let reply = pending.pop_front().unwrap().wait().unwrap();
        black_box(sum(&reply.body));
    };
    let caller = session.caller();
    for number in 0..count {
        let fill = |body: &mut [u8]| body.fill(number.to_le_bytes()[0]);
        pending.push_back(caller.start_in_place(ECHO, MIB, fill, &CallOptions::new()).unwrap());
        if pending.len() == under_way {
            take(&mut pending);
        }
    }
    while !pending.is_empty() {
        take(&mut pending);
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// Typed calls, so many of them in flight.
fn flight(ring_capacity: u32, under_way: u64, count: u32) -> Result<Duration, Error> {
    let mut config = config();
    config.geometry.ring_capacity = ring_capacity;
    let session = session_with("typed-spin", config)?;
    let client = TypedClient::new(&session);
    let run = |count: u64| {
        for batch in 0..count / under_way {
            let calls = (0..under_way).map(|number| client.next(batch + number));
            let replies = session.caller().block_on(join_all(calls)).unwrap();
            assert!(replies.into_iter().all(|reply| reply.is_ok()));
        }
    };
    run(u64::from(count / 10));
    let start = Instant::now();
    run(count.into());
    Ok(start.elapsed())
}

/// Sessions with a process that is there already costs less; this is all of it, from its start to the first reply.
fn starts(prefault: Prefault, count: u32) -> Result<Duration, Error> {
    let start = Instant::now();
    for _ in 0..count {
        let session = session_with("adaptive", Config { prefault, ..config() })?;
        session.call(ECHO, b"", &CallOptions::new())?;
    }
    Ok(start.elapsed())
}

fn first(prefault: Prefault, count: u32) -> Result<Duration, Error> {
    let session = session_with("spin", Config { prefault, ..config() })?;
    session.call(ECHO, b"", &CallOptions::new())?;
    let body = vec![7; MIB];
    let start = Instant::now();
    for _ in 0..count {
        black_box(session.call(ECHO, &body, &CallOptions::new())?);
    }
    Ok(start.elapsed())
}

/// Items of 1 KiB from the plugin.
fn items(window: u32, count: u32) -> Result<Duration, Error> {
    let mut config = config();
    config.limits.stream_window_bytes = window;
    let session = session_with("typed-spin", config)?;
    let client = TypedClient::new(&session);
    let run = |count: u64| {
        let all = async {
            let mut items = client.count(count, 1024).await.unwrap();
            while let Some(item) = items.next().await {
                black_box(item.unwrap());
            }
        };
        session.caller().block_on(all).unwrap();
    };
    run(u64::from(count / 10));
    let start = Instant::now();
    run(count.into());
    Ok(start.elapsed())
}
