//! A unary call between two processes, beside the physical limits of the same run.
//!
//! `cargo bench -p rapace-benches --bench call`
//!
//! Times are round trips as the caller sees them. The table at the end interleaves the rows, run by run, so that whatever
//! else the machine does falls on all of them; it shows medians, and ratios to the cache line of the same runs.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use rapace_benches::neighbour::Neighbour;
use rapace_benches::{CacheLine, ECHO, Error, EventFds, TYPED, UnixSocket, play_role, session};
use rapace_session::tokio::AsyncSession;
use rapace_session::{CallOptions, PeerA, Session};

fn main() -> Result<(), Error> {
    if play_role()? {
        return Ok(());
    }
    let mut criterion = Criterion::default().configure_from_args();
    limits(&mut criterion)?;
    calls(&mut criterion)?;
    criterion.final_summary();
    // `cargo test --benches` only wants to see that it runs.
    let runs = if std::env::args().any(|arg| arg == "--test") { 1 } else { RUNS };
    table(runs)
}

fn limits(criterion: &mut Criterion) -> Result<(), Error> {
    let mut group = criterion.benchmark_group("limit");
    // A peer that spins takes a core for as long as it lives.
    let mut line = CacheLine::new()?;
    group.bench_function("cache line", |bencher| bencher.iter_custom(|count| line.round_trips(count)));
    drop(line);
    let mut events = EventFds::new()?;
    group.bench_function("eventfd", |bencher| bencher.iter_custom(|count| events.round_trips(count).unwrap()));
    let mut socket = UnixSocket::new()?;
    group.bench_function("Unix socket", |bencher| bencher.iter_custom(|count| socket.round_trips(count).unwrap()));
    group.finish();
    Ok(())
}

fn calls(criterion: &mut Criterion) -> Result<(), Error> {
    let mut group = criterion.benchmark_group("call");
    for strategy in ["spin", "adaptive", "park"] {
        let session = session(strategy)?;
        group.bench_function(BenchmarkId::new("typed, 8 bytes", strategy), |bencher| {
            bencher.iter_custom(|count| typed_calls(&session, count));
        });
    }
    let session = session("adaptive")?;
    for bytes in [0usize, 8, 64, 1 << 10, 4 << 10, 64 << 10, 1 << 20] {
        let body = vec![7; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::new("echo, adaptive", bytes), &body, |bencher, body| {
            bencher.iter(|| session.call(ECHO, body, &CallOptions::new()).unwrap());
        });
    }
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 in flight, 64 bytes", |bencher| {
        bencher.iter(|| {
            let calls: Vec<_> = (0..64).map(|_| session.start(ECHO, &[7; 64], &CallOptions::new()).unwrap()).collect();
            calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
        });
    });
    group.finish();
    Ok(())
}

/// The time of so many calls that carry a number each way, encoded and decoded on both sides.
fn typed_calls(session: &Session<PeerA>, count: u64) -> Duration {
    let options = CallOptions::new();
    let mut buffer = [0; 10];
    let start = Instant::now();
    for number in 0..count {
        let body = postcard::to_slice(black_box(&number), &mut buffer).unwrap();
        let reply = session.call(TYPED, body, &options).unwrap();
        assert_eq!(postcard::from_bytes::<u64>(&reply.body), Ok(number.wrapping_add(1)));
    }
    start.elapsed()
}

fn tokio_calls(runtime: &tokio::runtime::Runtime, session: &AsyncSession<PeerA>, count: u64) -> Duration {
    let options = CallOptions::new();
    runtime.block_on(async {
        let mut buffer = [0; 10];
        let start = Instant::now();
        for number in 0..count {
            let body = postcard::to_slice(black_box(&number), &mut buffer).unwrap();
            let reply = session.call(TYPED, body, &options).await.unwrap();
            assert_eq!(postcard::from_bytes::<u64>(&reply.body), Ok(number.wrapping_add(1)));
        }
        start.elapsed()
    })
}

/// How often each row is measured for the table.
const RUNS: usize = 15;

/// A row: its name, round trips in a run, and how to time them.
type Row = (&'static str, u64, fn(u64) -> Result<Duration, Error>);

/// Each run has a peer of its own, for one that spins takes a core for as long as it lives; it is warmed up first.
const ROWS: [Row; 15] = [
    ("cache line", 20_000, |count| {
        let mut line = CacheLine::new()?;
        line.round_trips(count / 10);
        Ok(line.round_trips(count))
    }),
    ("typed call, spin", 20_000, |count| run_session("spin", count)),
    ("typed call, adaptive", 20_000, |count| run_session("adaptive", count)),
    ("typed call, tokio", 20_000, run_tokio),
    ("typed call, park", 300, |count| run_session("park", count)),
    ("eventfd", 300, |count| {
        let mut events = EventFds::new()?;
        events.round_trips(count / 10)?;
        events.round_trips(count)
    }),
    ("Unix socket", 300, |count| {
        let mut socket = UnixSocket::new()?;
        socket.round_trips(count / 10)?;
        socket.round_trips(count)
    }),
    ("after 1 ms, eventfd", 100, |count| {
        let mut events = EventFds::new()?;
        events.round_trips(100)?;
        after_silences(count, || events.round_trips(1).map(drop))
    }),
    ("after 1 ms, adaptive", 100, |count| {
        let session = session("adaptive")?;
        typed_calls(&session, 100);
        after_silences(count, || {
            typed_calls(&session, 1);
            Ok(())
        })
    }),
    ("after 1 ms, tokio", 100, |count| {
        let (runtime, session) = tokio_session()?;
        tokio_calls(&runtime, &session, 100);
        after_silences(count, || {
            tokio_calls(&runtime, &session, 1);
            Ok(())
        })
    }),
    ("busy: Unix socket", 10_000, |count| {
        let _neighbour = Neighbour::new()?;
        let mut socket = UnixSocket::new()?;
        socket.round_trips(count / 2)?;
        socket.round_trips(count)
    }),
    ("busy: adaptive", 10_000, |count| {
        let _neighbour = Neighbour::new()?;
        run_session("adaptive", count)
    }),
    ("busy: park", 10_000, |count| {
        let _neighbour = Neighbour::new()?;
        run_session("park", count)
    }),
    ("busy: tokio", 10_000, |count| {
        let _neighbour = Neighbour::new()?;
        run_tokio(count)
    }),
    ("busy: 64 in flight", 20_000, |count| {
        let _neighbour = Neighbour::new()?;
        let session = session("adaptive")?;
        in_flight(&session, count / 2);
        Ok(in_flight(&session, count))
    }),
];

/// Calls, each of them behind a millisecond in which nothing happens: their median, as often as there are calls.
fn after_silences(count: u64, mut call: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let mut times = Vec::new();
    for _ in 0..count {
        std::thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        call()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2] * u32::try_from(count)?)
}

fn tokio_session() -> Result<(tokio::runtime::Runtime, AsyncSession<PeerA>), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let inside = runtime.enter();
    let session = AsyncSession::new(session("adaptive")?)?;
    drop(inside);
    Ok((runtime, session))
}

fn run_tokio(count: u64) -> Result<Duration, Error> {
    let (runtime, session) = tokio_session()?;
    tokio_calls(&runtime, &session, count / 10);
    Ok(tokio_calls(&runtime, &session, count))
}

/// So many calls, 64 at a time.
fn in_flight(session: &Session<PeerA>, count: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..count / 64 {
        let calls: Vec<_> = (0..64).map(|_| session.start(ECHO, &[7; 64], &CallOptions::new()).unwrap()).collect();
        calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
    }
    start.elapsed()
}

fn run_session(strategy: &str, count: u64) -> Result<Duration, Error> {
    let session = session(strategy)?;
    typed_calls(&session, count / 10);
    Ok(typed_calls(&session, count))
}

fn table(runs: usize) -> Result<(), Error> {
    let mut times = [const { Vec::new() }; ROWS.len()];
    for _ in 0..runs {
        for ((_, count, run), times) in ROWS.iter().zip(&mut times) {
            times.push(run(*count)?.as_secs_f64() * 1e9 / *count as f64);
        }
    }
    println!("\n{:<22} {:>10} {:>10} {:>10} {:>8}", "round trip", "median ns", "min", "max", "ratio");
    let mut limit = None;
    for ((name, ..), mut times) in ROWS.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let (median, min, max) = (times[times.len() / 2], times[0], times[times.len() - 1]);
        let limit = *limit.get_or_insert(median);
        println!("{name:<22} {median:>10.0} {min:>10.0} {max:>10.0} {:>7.2}x", median / limit);
    }
    Ok(())
}
