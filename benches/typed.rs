//! Typed calls and streams between two processes, beside the cache line of the same run.
//!
//! `cargo bench -p rapace-benches --bench typed`; with `-- zzz` it prints only the table.
//!
//! Times are as the caller sees them, encoding and decoding on both sides included. The table interleaves its rows, run by
//! run, and shows medians and ratios to the cache line.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use rapace_benches::typed::{TypedBlockingClient, TypedClient};
use rapace_benches::{CacheLine, Error, play_role, typed_session};
use rapace_session::tokio::AsyncSession;
use rapace_session::{PeerA, Session};
use tokio::runtime::{Builder, Runtime};

fn main() -> Result<(), Error> {
    if play_role()? {
        return Ok(());
    }
    let mut criterion = Criterion::default().configure_from_args();
    calls(&mut criterion)?;
    streams(&mut criterion)?;
    criterion.final_summary();
    // `cargo test --benches` only wants to see that it runs.
    let runs = if std::env::args().any(|arg| arg == "--test") { 1 } else { RUNS };
    table(runs)
}

/// A client whose session outlives it.
struct Blocking {
    client: TypedBlockingClient,
    _session: Session<PeerA>,
}

fn blocking(wait: &str) -> Result<Blocking, Error> {
    let session = typed_session(wait)?;
    Ok(Blocking { client: TypedClient::new(&session).blocking(), _session: session })
}

struct Tokio {
    client: TypedClient,
    _session: AsyncSession<PeerA>,
    runtime: Runtime,
}

fn tokio() -> Result<Tokio, Error> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let session = {
        let _inside = runtime.enter();
        AsyncSession::new(typed_session("adaptive")?)?
    };
    Ok(Tokio { client: TypedClient::new(&session), _session: session, runtime })
}

fn calls(criterion: &mut Criterion) -> Result<(), Error> {
    let mut group = criterion.benchmark_group("typed");
    for bytes in [8usize, 64, 1 << 10, 4 << 10, 64 << 10] {
        let body = vec![7; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        let peer = blocking("adaptive")?;
        group.bench_with_input(BenchmarkId::new("echo, blocking", bytes), &body, |bencher, body| {
            bencher.iter(|| peer.client.echo(body).unwrap());
        });
        let peer = tokio()?;
        group.bench_with_input(BenchmarkId::new("echo, tokio", bytes), &body, |bencher, body| {
            bencher.iter(|| peer.runtime.block_on(peer.client.echo(body)).unwrap());
        });
    }
    group.finish();
    Ok(())
}

fn streams(criterion: &mut Criterion) -> Result<(), Error> {
    let mut group = criterion.benchmark_group("stream");
    let peer = blocking("adaptive")?;
    for bytes in [8u32, 1 << 10, 64 << 10] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("items from the plugin", bytes), |bencher| {
            bencher.iter_custom(|count| items_in(&peer.client, count, bytes));
        });
    }
    group.bench_function("items to the plugin, 8 bytes", |bencher| {
        bencher.iter_custom(|count| items_out(&peer.client, count));
    });
    group.finish();
    Ok(())
}

fn items_in(client: &TypedBlockingClient, count: u64, bytes: u32) -> Duration {
    let start = Instant::now();
    let items = client.count(count, bytes).unwrap().map(Result::unwrap).filter(|item| item.len() == bytes as usize);
    assert_eq!(items.count() as u64, count);
    start.elapsed()
}

fn items_out(client: &TypedBlockingClient, count: u64) -> Duration {
    let start = Instant::now();
    assert_eq!(client.sum(0..count).unwrap(), (0..count).fold(0, u64::wrapping_add));
    start.elapsed()
}

fn numbers(client: &TypedBlockingClient, count: u64) -> Duration {
    let start = Instant::now();
    for number in 0..count {
        assert_eq!(client.next(black_box(number)).unwrap(), number + 1);
    }
    start.elapsed()
}

fn numbers_tokio(peer: &Tokio, count: u64) -> Duration {
    peer.runtime.block_on(async {
        let start = Instant::now();
        for number in 0..count {
            assert_eq!(peer.client.next(black_box(number)).await.unwrap(), number + 1);
        }
        start.elapsed()
    })
}

/// So many calls, of which 64 are in flight at any time.
fn in_flight(peer: &Tokio, count: u64) -> Duration {
    peer.runtime.block_on(async {
        let start = Instant::now();
        let mut numbers = 0..count;
        let mut calls: FuturesUnordered<_> = numbers.by_ref().take(64).map(|n| peer.client.next(n)).collect();
        while let Some(next) = calls.next().await {
            black_box(next.unwrap());
            calls.extend(numbers.next().map(|n| peer.client.next(n)));
        }
        start.elapsed()
    })
}

fn in_flight_blocking(peer: &Blocking, count: u64) -> Duration {
    let client = TypedClient::new(&peer._session);
    let start = Instant::now();
    peer._session.block_on(async {
        let mut replies = stream::iter(0..count).map(|n| client.next(n)).buffer_unordered(64);
        while let Some(next) = replies.next().await {
            black_box(next.unwrap());
        }
    });
    start.elapsed()
}

/// How often each row is measured for the table.
const RUNS: usize = 15;

/// A row: its name, what is counted in a run, and how to time it.
type Row = (&'static str, u64, fn(u64) -> Result<Duration, Error>);

/// Each run has a peer of its own, for one that spins takes a core for as long as it lives; it is warmed up first.
const ROWS: [Row; 9] = [
    ("cache line", 20_000, |count| {
        let mut line = CacheLine::new()?;
        line.round_trips(count / 10);
        Ok(line.round_trips(count))
    }),
    ("blocking, spin", 20_000, |count| run(&blocking("spin")?.client, numbers, count)),
    ("blocking, adaptive", 20_000, |count| run(&blocking("adaptive")?.client, numbers, count)),
    ("tokio", 20_000, |count| run(&tokio()?, numbers_tokio, count)),
    ("tokio, 64 in flight", 100_000, |count| run(&tokio()?, in_flight, count)),
    ("block_on, 64 in flight", 100_000, |count| run(&blocking("adaptive")?, in_flight_blocking, count)),
    ("item in, 8 bytes", 100_000, |count| run(&blocking("adaptive")?.client, |c, n| items_in(c, n, 8), count)),
    ("item in, 64 KiB", 5_000, |count| run(&blocking("adaptive")?.client, |c, n| items_in(c, n, 64 << 10), count)),
    ("item out, 8 bytes", 100_000, |count| run(&blocking("adaptive")?.client, items_out, count)),
];

fn run<P>(peer: &P, time: impl Fn(&P, u64) -> Duration, count: u64) -> Result<Duration, Error> {
    time(peer, count / 10);
    Ok(time(peer, count))
}

fn table(runs: usize) -> Result<(), Error> {
    let mut times = [const { Vec::new() }; ROWS.len()];
    for _ in 0..runs {
        for ((_, count, run), times) in ROWS.iter().zip(&mut times) {
            times.push(run(*count)?.as_secs_f64() * 1e9 / *count as f64);
        }
    }
    println!("\n{:<24} {:>10} {:>10} {:>10} {:>8} {:>12}", "each", "median ns", "min", "max", "ratio", "a second");
    let mut limit = None;
    for ((name, ..), mut times) in ROWS.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let ratio = median / *limit.get_or_insert(median);
        let (min, max) = (times[0], times[times.len() - 1]);
        println!("{name:<24} {median:>10.0} {min:>10.0} {max:>10.0} {ratio:>8.2} {:>12.0}", 1e9 / median);
    }
    Ok(())
}
